"""experiments/jobs.py and make evidence: the experiments behind the results as jobs of two hours at most."""

import json
import os
import shlex
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

import adaptive
import autodropout as ad
import demystifying
import images
import jobs
import landscape
from autodropout.errors import DataError, UsageError

ROOT = Path(__file__).parents[1]
STOPPED = """
import pathlib, sys, time
note = pathlib.Path(sys.argv[1])
try:
    note.write_text("begun")
    time.sleep(60)
except KeyboardInterrupt:
    note.write_text("stopped cleanly")
    sys.exit("Stopped")
"""
STUBBORN = "import signal, time; signal.signal(signal.SIGINT, signal.SIG_IGN); time.sleep(60)"


def ended(*words, seconds, grace=20.0):
    return jobs.ended([sys.executable, "-c", *words], seconds, environment=os.environ, grace=grace)


@pytest.fixture(autouse=True)
def handlers():
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


def test_every_job_is_a_script_with_arguments_that_it_knows():
    parsers = {"demystifying.py": demystifying, "adaptive.py": adaptive, "images.py": images}
    for job in jobs.JOBS.values():
        script, *given = shlex.split(job.command)
        text = (ROOT / "experiments" / script).read_text(encoding="utf8")
        assert [word for word in given if word.startswith("--") and f'"{word}"' not in text] == []
        assert [word for word in given if word.startswith("results/") and not (ROOT / word).exists()] == []
        if script in parsers:
            parsers[script].arguments().parse_args(given)


def test_every_script_is_a_job_or_says_why_not():
    scripts = {
        path.name
        for path in (ROOT / "experiments").glob("*.py")
        if '__name__ == "__main__"' in path.read_text(encoding="utf8")
    }
    run = {shlex.split(job.command)[0] for job in jobs.JOBS.values()}
    assert scripts == run | set(jobs.NO_JOBS)
    assert not run & set(jobs.NO_JOBS)
    assert all(jobs.NO_JOBS.values())


DEFAULTS = {"--workers", "--repetitions", "--seeds"}
"""What committed figures were asked for with, and is what the scripts do anyway."""


def test_the_jobs_are_the_commands_of_the_committed_results():
    run = [shlex.split(job.command) for job in jobs.JOBS.values()]
    for file in ROOT.glob("results/**/*.json"):
        facts = json.loads(file.read_text(encoding="utf8"))
        words = shlex.split(str(facts.get("command", ""))) if isinstance(facts, dict) else []
        if words[:1] and words[0].startswith("experiments/") and Path(words[0]).name not in jobs.NO_JOBS:
            script, *given = words
            flags = {word for word in given if word.startswith("--")} - DEFAULTS
            asked = flags | {word for word in given if word in landscape.TASKS}
            assert any(job[0] == Path(script).name and asked <= set(job) for job in run), f"{file}: {words}"


def test_every_released_landscape_has_its_jobs():
    for name in ad.benchmark.names():
        assert {f"searchers-{name}", f"calibrate-{name}", f"confirmed-{name}", f"landscape-{name}"} <= set(
            jobs.JOBS
        )


@pytest.mark.parametrize("task", ["ptb-small", "mnist-small", "cifar10-small"])
def test_the_parts_of_a_landscape_are_all_of_it(task):
    chosen = landscape.TASKS[task]
    every = [*landscape.by_hand_of(chosen), *landscape.searches_of(chosen)]
    parts = [
        part
        for name, job in jobs.JOBS.items()
        if name.startswith(f"landscape-{task}-")
        for part in job.command.split(" --parts ")[1].split()
    ]
    assert sorted(parts) == sorted([*(part.name for part in every), landscape.REPEATS])


def test_every_table_and_comparison_is_a_job():
    named = {name.removeprefix("demystifying-") for name in jobs.JOBS if name.startswith("demystifying-")}
    held = {"2", "5-cifar10"}  # by 2+5-cifar10
    assert named - {"3-at-0.3"} == set(demystifying.SETTINGS) - held
    named = {name.removeprefix("adaptive-") for name in jobs.JOBS if name.startswith("adaptive-")}
    assert named == set(adaptive.EXPERIMENTS)


def test_what_is_done_in_time_ends_with_its_own_status():
    assert ended("", seconds=20) == 0
    assert ended("import sys; sys.exit(3)", seconds=20) == 3


@pytest.mark.parametrize("inherited", [signal.default_int_handler, signal.SIG_IGN])
def test_what_is_not_done_in_time_is_asked_to_stop(tmp_path, inherited):
    """Also where a shell started us in the background, so that we were to ignore SIGINT."""
    signal.signal(signal.SIGINT, inherited)
    assert ended(STOPPED, str(tmp_path / "note"), seconds=3.0) is None
    assert (tmp_path / "note").read_text() == "stopped cleanly"


def test_what_does_not_stop_is_killed():
    began = time.monotonic()
    assert ended(STUBBORN, seconds=1.0, grace=0.2) is None
    assert time.monotonic() - began < 20


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_job_that_is_stopped_asks_its_command_to_stop(tmp_path, number):
    words = [sys.executable, "-c", STOPPED, str(tmp_path / "note")]
    code = f"import jobs, os; print(jobs.ended({words!r}, 60, environment=os.environ))"
    path = {**os.environ, "PYTHONPATH": str(ROOT / "experiments")}
    child = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True, env=path)
    for _ in range(400):
        if (tmp_path / "note").exists() and (tmp_path / "note").read_text():
            break
        time.sleep(0.05)
    child.send_signal(number)
    assert child.communicate(timeout=20)[0] == "None\n"
    assert (tmp_path / "note").read_text() == "stopped cleanly"


def test_a_job_runs_its_command_and_says_how_to_go_on(tmp_path, monkeypatch, capsys):
    asked = []
    statuses = iter((None, 0))

    def ended(words, seconds, *, environment):
        asked.append((words, seconds, environment[jobs.VARIABLE]))
        return next(statuses)

    monkeypatch.setattr(jobs, "ended", ended)
    monkeypatch.setenv(jobs.VARIABLE, os.path.relpath(tmp_path))
    assert jobs.run("images-mnist-small", ["--workers", "4"], hours=0.5) == 1
    out = capsys.readouterr().out
    assert (
        out == "images-mnist-small was asked to stop; what is finished is kept. The same command goes on.\n"
    )
    assert jobs.run("images-mnist-small") == 0
    command = [sys.executable, "experiments/images.py", "--tasks", "mnist-small"]
    assert asked == [([*command, "--workers", "4"], 1800, str(tmp_path)), (command, 7200, str(tmp_path))]


def test_missing_data_and_unknown_jobs_are_said(tmp_path, monkeypatch):
    monkeypatch.delenv(jobs.VARIABLE, raising=False)
    with pytest.raises(
        DataError, match="transfer reads WikiText-2 and Multi30k, but AUTODROPOUT_DATA is not"
    ):
        jobs.run("transfer")
    monkeypatch.setenv(jobs.VARIABLE, str(tmp_path / "none"))
    with pytest.raises(DataError, match="none', which is no folder; name the one that holds WikiText-2"):
        jobs.run("transfer")
    with pytest.raises(UsageError, match=r"no job 'transfr'; did you mean 'transfer'\? Choose one that make"):
        jobs.run("transfr")


def test_what_reads_no_data_needs_no_folder(monkeypatch):
    monkeypatch.delenv(jobs.VARIABLE, raising=False)
    monkeypatch.setattr(jobs, "ended", lambda words, seconds, *, environment: len(words))
    assert jobs.run("adaptive-recurrent") == 4


def test_the_list_names_every_job():
    lines = jobs.listing().splitlines()
    assert [line.split()[0] for line in lines[2:]] == list(jobs.JOBS)


@pytest.mark.skipif(shutil.which("make") is None, reason="needs make")
def test_make_evidence_runs_the_job_that_is_named():
    words = ["make", "--just-print", "--no-print-directory", "evidence", "JOB=transfer", "ARGS=--workers 4"]
    outside = {name: value for name, value in os.environ.items() if not name.startswith("MAKE")}
    printed = subprocess.run(words, cwd=ROOT, env=outside, capture_output=True, text=True, check=True).stdout
    assert printed.splitlines()[-1].endswith("/python experiments/jobs.py transfer --workers 4")
    shown = subprocess.run(
        ["make", "help"], cwd=ROOT, env=outside, capture_output=True, text=True, check=True
    ).stdout
    assert "make evidence " in shown
