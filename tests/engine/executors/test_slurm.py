"""The job scripts of docs/scale.md, with stand-ins for SLURM's commands and for starting Ray on its nodes."""

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from clusters import cluster_of

from autodropout.engine.study import Study
from autodropout.errors import LedgerError
from contracts.executor import PATIENCE

pytestmark = pytest.mark.slow

PAGE = Path(__file__).parents[3] / "docs/scale.md"
SCRIPTS = [
    text
    for text in re.findall(r"^```bash\n(.*?)^```$", PAGE.read_text(encoding="utf8"), re.MULTILINE | re.DOTALL)
    if text.startswith("#!")
]
STAND_INS = {
    "srun": 'exec "$@"',
    # The cluster runs already; what stands after -- is the search.
    "ray": 'while [ "$1" != "--" ]; do shift; done; shift; exec "$@"',
    "scontrol": 'case "$1" in show) echo 127.0.0.1;; requeue) echo "$2" > "$HOME/requeued";; esac',
}


@pytest.fixture
def home(tmp_path):
    pytest.importorskip("sklearn")
    (tmp_path / "bin").mkdir()
    for name, text in STAND_INS.items():
        path = tmp_path / "bin" / name
        path.write_text(f"#!/bin/sh\n{text}\n")
        path.chmod(0o755)
    return tmp_path


def started(home: Path, script: str, **more: str) -> subprocess.Popen:
    (home / "job.sh").write_text(script.replace("--workers 16", "--workers 2"))
    path = f"{home / 'bin'}:{Path(sys.executable).parent}:{os.environ['PATH']}"
    slurm = {
        "SLURM_NNODES": "1",
        "SLURM_CPUS_PER_TASK": "2",
        "SLURM_JOB_ID": "77",
        "SLURM_JOB_NODELIST": "n1",
    }
    return subprocess.Popen(
        ["bash", str(home / "job.sh")],
        cwd=home,
        env=os.environ | slurm | {"PATH": path, "HOME": str(home)} | more,
        stdout=subprocess.DEVNULL,
    )


def token() -> dict[str, str]:
    """Return where Ray keeps its token, if it has one, for the jobs here have a home of their own."""
    path = Path.home() / ".ray" / "auth_token"
    return {"RAY_AUTH_TOKEN_PATH": str(path)} if path.exists() else {}


def ended(home: Path) -> int:
    try:
        return sum(trial.state == "done" for trial in Study.open(home / "runs/digits").trials)
    except LedgerError:
        return 0


def run_until(home: Path, number: int, script: str, **more: str) -> int:
    """Run a job until so many trials have ended, then signal it as SLURM does; return how many there are."""
    job = started(home, script, **more)
    limit = time.monotonic() + 3 * PATIENCE
    while ended(home) < number:
        assert time.monotonic() < limit
        assert job.poll() is None
        time.sleep(0.2)
    job.send_signal(signal.SIGUSR1)
    job.wait(2 * PATIENCE)
    return ended(home)


def test_there_are_two():
    assert len(SCRIPTS) == 2


def test_a_job_on_one_node_is_signalled_and_goes_on(home):
    first = run_until(home, 1, SCRIPTS[0])
    assert run_until(home, first + 1, SCRIPTS[0]) > first


def test_a_job_on_several_nodes_is_signalled_requeued_and_goes_on(home):
    with cluster_of(2) as cluster:
        address = {"RAY_ADDRESS": cluster.address, **token()}
        first = run_until(home, 1, SCRIPTS[1], **address)
        assert (home / "requeued").read_text() == "77\n"
        assert run_until(home, first + 1, SCRIPTS[1], **address) > first
