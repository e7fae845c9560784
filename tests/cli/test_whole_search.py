"""The real thing: worker processes, real digits, a signal, a resume. One minute on free cores."""

import signal
import subprocess
import sys

import pytest

from autodropout.engine.study import Study
from autodropout.policy import Policy

pytest.importorskip("sklearn", reason="the digits come with scikit-learn")
pytestmark = pytest.mark.slow

COMMAND = [sys.executable, "-m", "autodropout"]
SMALL = [
    "search",
    "digits",
    "--trials",
    "6",
    "--workers",
    "2",
    "--confirm-top",
    "1",
    "--confirm-seeds",
    "2",
    "--out",
    "x",
]


def start(cwd, *arguments: str) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [*COMMAND, *arguments], cwd=cwd, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def read_until(run: "subprocess.Popen[str]", text: str) -> None:
    assert run.stdout is not None
    for line in run.stdout:
        if text in line:
            return
    raise AssertionError(f"it ended without saying {text!r}: {run.stderr and run.stderr.read()}")


@pytest.mark.parametrize(
    ("kill", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 130), (signal.SIGKILL, -9)]
)
def test_a_stopped_search_is_resumed(tmp_path, kill, code):
    first = start(tmp_path, *SMALL)
    read_until(first, "searching 2/6")
    first.send_signal(kill)
    out, err = first.communicate(timeout=60)
    assert first.returncode == code
    assert err == ""
    if kill != signal.SIGKILL:
        last = out.splitlines()[-1]
        assert last.startswith("Stopped; nothing is lost. Go on with: ")
        assert last.endswith("autodropout resume x")
    before = {trial.id: trial for trial in Study.open(tmp_path / "x").trials if trial.state == "done"}
    assert len(before) >= 2
    second = start(tmp_path, "resume", "x")
    out, err = second.communicate(timeout=300)
    assert (second.returncode, err) == (0, "")
    study = Study.open(tmp_path / "x")
    assert study.finished
    after = {trial.id: trial for trial in study.trials}
    assert [after[number] for number in before] == list(before.values())
    assert [trial.state for trial in study.trials] == ["done"] * 8
    assert 0.9 < study.best.reward < 1.0
    assert Policy.load(tmp_path / "x/best.json") == study.best.policy
    assert "autodropout compare digits --policy x/best.json" in out
