"""Cores that a process may use, and the part of them that falls to one trial."""

import os

import pytest

from autodropout import cores
from autodropout.cores import AT_A_TIME, share_of_cores, usable_cores
from autodropout.data.reading import num_readers
from autodropout.engine.executors.base import Job
from autodropout.engine.executors.local import LocalExecutor
from autodropout.policy import Policy


@pytest.fixture
def machine(monkeypatch, tmp_path):
    """A machine with as many cores as asked for, which no container limits."""

    def made(number):
        monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(number)), raising=False)
        monkeypatch.setattr(cores, "usable_cores", lambda: usable_cores(tmp_path / "none"))
        monkeypatch.setattr("autodropout.data.reading.usable_cores", lambda: number)

    monkeypatch.delenv(AT_A_TIME, raising=False)
    return made


@pytest.mark.parametrize(
    ("text", "number"), [("max 100000", 8), ("250000 100000", 2), ("50000 100000", 1), ("nonsense", 8)]
)
def test_a_containers_share_of_the_cores(tmp_path, machine, text, number):
    machine(8)
    (tmp_path / "cpu.max").write_text(text)
    assert usable_cores(tmp_path) == number
    assert usable_cores(tmp_path / "nothing") == 8


@pytest.mark.parametrize(
    ("number", "workers", "share", "readers"),
    [
        (16, None, 16, 15),
        (16, "8", 2, 1),
        (16, "3", 5, 4),
        (64, None, 64, 16),
        (4, "8", 1, 1),
        (2, None, 2, 0),
        (2, "2", 1, 0),
        (8, "many", 8, 7),
        (8, "0", 8, 7),
    ],
)
def test_trials_that_run_beside_each_other_divide_the_cores(
    machine, monkeypatch, number, workers, share, readers
):
    machine(number)
    if workers is not None:
        monkeypatch.setenv(AT_A_TIME, workers)
    assert share_of_cores() == share
    assert num_readers() == readers


def test_workers_know_how_many_they_are():
    executor = LocalExecutor(lambda policy, seed: float(os.environ[AT_A_TIME]), workers=2, preload=())
    executor.submit(Job(trial=1, attempt=1, policy=Policy({}), seed=0))
    ((_, outcome),) = executor.poll(60.0)
    executor.close()
    assert outcome.result.reward == 2.0
