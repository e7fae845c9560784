"""kill -9 of the whole search at random moments: what was finished stays, what was not runs again."""

import multiprocessing
import os
import random
import signal
import sys
import time
from collections import Counter
from pathlib import Path

import pytest

from autodropout.engine.confirm import Confirmation
from autodropout.engine.history import replay
from autodropout.engine.run import search
from autodropout.engine.study import Study
from autodropout.errors import LedgerError
from autodropout.token_space import TokenSpace
from contracts.ledger import history

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="forks a process that has loaded torch")

SPACE = TokenSpace(sites=("query", "ffn"))
FORK = multiprocessing.get_context("fork")


def noted(side: Path, seconds: float):
    """An evaluation that notes each of its completed calls in a file."""

    def evaluate(policy, seed):
        time.sleep(seconds)
        with open(side, "a", encoding="utf8") as file:
            file.write(f"{policy.key}/{seed}\n")
        return float("nan") if seed % 11 == 0 else len(policy.sites) + seed % 97 / 97

    return evaluate


def run(out: Path, side: Path, executor: str, trials: int, seconds: float) -> None:
    os.setpgid(0, 0)
    search(
        noted(side, seconds),
        SPACE,
        trials=trials,
        searcher="reinforce",
        batch=3,
        out=out,
        seed=5,
        executor=executor,
        capacity=3,
        confirm=Confirmation(top=2, seeds=2),
    )


def evaluations(side: Path) -> Counter[str]:
    return Counter(side.read_text(encoding="utf8").split()) if side.exists() else Counter()


def recorded(out: Path) -> set[str]:
    """Finished trials as the ledger knows them at this moment."""
    try:
        return {f"{t.policy.key}/{t.seed}" for t in Study.open(out).trials if t.state == "done"}
    except LedgerError:
        assert not (out / "study.db").exists(), "a ledger that is there can be read"
        return set()


def killed_again_and_again(memory_path: Path, kills: int, **how) -> Study:
    """Run to the end with that many kills; what was recorded at a kill must never run after it."""
    out, side, rng = memory_path / "out", memory_path / "side", random.Random(1)
    known: dict[str, int] = {}
    for left in range(kills, -1, -1):
        process = FORK.Process(target=run, args=(out, side), kwargs=how)
        process.start()
        if left:
            kill_after(process, side, rng.choice((0, 0, 1, 2)), rng.uniform(0.0, 0.03))
        process.join(120)
        assert process.exitcode in ((0, -signal.SIGKILL) if left else (0,))
        finished, counts = recorded(out), evaluations(side)
        assert known.keys() <= finished, "a finished trial was lost"
        assert all(counts[trial] == times for trial, times in known.items()), "a finished trial ran again"
        known = {trial: counts[trial] for trial in finished}
    return Study.open(out)


def kill_after(process: multiprocessing.Process, side: Path, more: int, seconds: float) -> None:
    """Kill once that many more evaluations are complete, and a little later."""
    target = evaluations(side).total() + more
    while process.is_alive() and evaluations(side).total() < target:
        time.sleep(0.001)
    time.sleep(seconds)
    process.kill()


def check_whole(study: Study, trials: int) -> None:
    assert study.finished
    kinds = Counter(trial.kind for trial in study.trials)
    assert kinds == {"search": trials, "confirm": 4}
    assert {trial.state for trial in study.trials} == {"done"}
    taught = [number for update in study.updates for number in update.trials]
    assert len(taught) == len(set(taught)) == trials // 3 * 3
    last = history(study.out)[1][-1][3]
    assert replay(study.out).snapshot() == last


@pytest.mark.parametrize("kills", [12, pytest.param(100, marks=pytest.mark.slow)])
def test_killing_the_search_changes_nothing(memory_path, kills):
    how = {"executor": "inline", "trials": 24, "seconds": 0.002}
    study = killed_again_and_again(memory_path, kills, **how)
    check_whole(study, trials=24)
    run_whole = FORK.Process(target=run, args=(memory_path / "whole", memory_path / "side2"), kwargs=how)
    run_whole.start()
    run_whole.join(120)
    ours, theirs = history(study.out), history(memory_path / "whole")
    assert [without_seconds(row) for row in ours[0]] == [without_seconds(row) for row in theirs[0]]
    assert ours[1] == theirs[1], "the controller's parameters differ"


def without_seconds(row):
    return [str(value).split('"seconds"')[0] for value in row]


@pytest.mark.parametrize("kills", [3, pytest.param(30, marks=pytest.mark.slow)])
def test_killing_a_search_with_workers_loses_nothing(memory_path, kills):
    study = killed_again_and_again(memory_path, kills, executor="local", trials=9, seconds=0.05)
    check_whole(study, trials=9)
