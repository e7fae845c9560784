"""The torment of benchmarks/chaos.py, small: whatever is thrown at a search, it loses and invents nothing."""

import os
import sqlite3
import sys
from contextlib import closing, suppress
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pytest

sys.path.append(str(Path(__file__).parents[2] / "benchmarks"))

import chaos_table
from autodropout.engine.study import Study
from autodropout.policy import Policy
from autodropout.report.html import page
from autodropout.report.record import read_record
from chaos import CLOCK, KILLS, launched, missing, ray_cluster, spawned, torment
from chaos_checks import Known, check_clock, check_end
from chaos_driver import Config, JumpingClock, drive, jumps, set_back
from chaos_trials import KINDS, Trials, exhaust_memory, mend, schedule, witnessed, worth

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="forks a process that has loaded torch")


@pytest.mark.parametrize("kills", [4, pytest.param(100, marks=pytest.mark.slow)])
def test_a_tormented_search_loses_and_invents_nothing(memory_path, kills):
    config = Config(folder=memory_path, trials=36, every=2, seconds=0.02)
    found = torment(config, kills, launched)
    assert found["kills"] == kills
    assert set(found["thrown"]) >= {
        *KILLS[:3],
        "start a second search",
        "read-only ledger",
        "no file may grow",
    }
    assert found["thrown"][CLOCK] > 0
    assert set(found["ended_as_told"]) == set(found["misbehaved"]) == set(KINDS)
    assert found["came_out"]["updates"] >= 8
    assert found["came_out"]["best_confirmed"] >= 2, (
        "more if the search came to its end before all was thrown"
    )
    assert "price of 1%" in page(read_record(config.out)), "whatever the clock said, the report can be made"


@pytest.mark.slow
def test_on_ray_nodes_are_killed_too(tmp_path):
    pytest.importorskip("ray")
    with ray_cluster() as (address, nodes):
        config = Config(folder=tmp_path, trials=24, executor="ray", address=address, timeout=6.0)
        found = torment(config, 6, spawned, nodes=nodes)
    assert found["thrown"][KILLS[3]] == 1


@pytest.fixture(scope="module")
def ended(tmp_path_factory):
    """A search without misbehaviour that has come to its end, and what is known of it.

    How the clock jumps is left to each process; until one has set it back, another is started.
    """
    for _ in range(9):
        folder = tmp_path_factory.mktemp("ended")
        config = Config(folder=folder, trials=8, every=5_000, seconds=0.0, workers=1)
        process = launched(drive, config)
        process.join(120)
        assert process.exitcode == 0
        with suppress(AssertionError):
            check_clock(config)
            return config
    raise AssertionError("the clock was never set back")


@pytest.fixture
def altered(ended, tmp_path):
    """Runs a statement on a copy of the ended study's ledger and returns the copy's configuration."""

    def alter(statement=None):
        config = replace(ended, folder=tmp_path)
        (tmp_path / "study").mkdir()
        for name in ("witness.jsonl", "clock"):
            (tmp_path / name).write_bytes((ended.folder / name).read_bytes())
        with (
            closing(sqlite3.connect(ended.out / "study.db")) as source,
            closing(sqlite3.connect(config.out / "study.db", isolation_level=None)) as copy,
        ):
            source.backup(copy)
            if statement:
                assert copy.execute(statement).rowcount > 0
        return config

    return alter


def test_the_checks_pass_a_search_that_is_whole(altered):
    config = altered()
    found = check_end(config)
    assert (found["misbehaved"], found["came_out"]["fates"]) == ({}, {"done": 8})
    assert check_clock(config) > 0


@pytest.mark.parametrize(
    ("statement", "complaint"),
    [
        ("UPDATE trials SET reward = 0.123 WHERE id = 3", "trial 3 returned another reward"),
        ("UPDATE trials SET seed = seed + 1 WHERE id = 3", "trial 3 returned another reward"),
        ("UPDATE trials SET seed = (SELECT seed FROM trials WHERE id = 1) WHERE id = 2", "counted twice"),
        ("UPDATE updates SET trials = '[1, 2, 3, 4]' WHERE number = 2", "taught twice"),
        ("UPDATE trials SET taught = 1 WHERE id = 8", "disagree about what was taught"),
        ("DELETE FROM trials WHERE id = 8 AND kind = 'search'", "disagree about what was taught"),
        ("UPDATE trials SET reward = NULL, state = 'queued' WHERE id = 8", "trials to be run"),
        ("UPDATE study SET phase = 'search'", "stopped in phase"),
        ("UPDATE updates SET snapshot = (SELECT snapshot FROM updates WHERE number = 0) WHERE number = 2",
         "not what a replay gives"),
    ],
)  # fmt: skip
def test_the_checks_see_what_is_wrong_at_the_end(altered, statement, complaint):
    with pytest.raises(AssertionError, match=complaint):
        check_end(altered(statement))


@pytest.mark.parametrize(
    ("statement", "complaint"),
    [
        ("UPDATE trials SET reward = 0.123 WHERE id = 3", "trial 3 ended as"),
        ("UPDATE trials SET state = 'queued' WHERE id = 3", "trial 3 ended as"),
        ("DELETE FROM updates WHERE number = 2", "an update was lost or changed"),
    ],
)
def test_what_was_acknowledged_may_not_change(ended, altered, statement, complaint):
    known = Known()
    known.check(ended)
    with pytest.raises(AssertionError, match=complaint):
        known.check(altered(statement))


def test_a_recorded_trial_that_runs_again_is_noticed(ended, altered):
    known = Known()
    known.check(ended)
    config = altered()
    (first, *_) = witnessed(config.folder)
    trials = Trials(folder=config.folder, kinds={}, seconds=0.0)
    policy = next(t.policy for t in Study(config.out).trials if t.policy.key == first["policy"])
    assert trials(policy, first["seed"]) == worth(first["seed"])
    with pytest.raises(AssertionError, match="ran again after it had been recorded"):
        known.check(config)


def test_a_result_that_nobody_has_seen_is_noticed(altered):
    config = altered()
    log = config.folder / "witness.jsonl"
    told = [line for line in log.read_text().splitlines() if '"end"' not in line]
    log.write_text("\n".join(told) + "\n")
    with pytest.raises(AssertionError, match="was made up"):
        check_end(config)


def test_a_kind_that_never_ended_as_it_must_is_missing(altered):
    # Were the eight trials to misbehave: raise, hang, nan, exit, kill once, memory, oom, text.
    config = replace(altered("UPDATE trials SET state = 'failed', reward = NULL WHERE id = 2"), every=1)
    assert config.kinds[next(t.seed for t in Study(config.out).trials if t.id == 2)] == "hang"
    assert set(missing(config)) == set(KINDS), "lost, as a worker's death leaves it, is no time limit"
    with closing(sqlite3.connect(config.out / "study.db")) as ledger, ledger:
        ledger.execute("UPDATE trials SET reward = 0, error = 'ran into its time limit' WHERE id = 2")
    assert set(missing(config)) == set(KINDS) - {"hang"}


def test_a_clock_that_was_never_set_back_is_noticed(altered):
    config = altered("UPDATE trials SET ended = finish")
    with pytest.raises(AssertionError, match="no trial ended before an earlier one"):
        check_clock(config)


def test_the_clock_jumps_and_tells(tmp_path):
    clock = JumpingClock(3, jumps(tmp_path))
    times = [clock() for _ in range(200)]
    backwards = sum(after < before - 1.0 for before, after in pairwise(times))
    assert backwards == set_back(tmp_path) > 3


def test_what_was_mended_misbehaves_no_more(tmp_path):
    trials = Trials(folder=tmp_path, kinds={1: "raise", 2: "raise"}, seconds=0.0)
    with pytest.raises(ValueError, match="a bug in the evaluation"):
        trials(Policy({}), 1)
    mend(tmp_path)
    assert trials(Policy({}), 1) == worth(1)
    with pytest.raises(ValueError, match="a bug in the evaluation"):
        trials(Policy({}), 2)


def test_every_kind_is_scheduled_and_trials_in_a_row_do_not_all_raise():
    kinds = schedule(7, 2 * len(KINDS), 2)
    assert list(kinds.values()) == list(KINDS)
    fates = [KINDS[kind] for kind in kinds.values()]
    assert all(set(fates[i : i + 3]) != {"raised"} for i in range(len(fates)))


def test_exhausting_memory_takes_none(tmp_path):
    before = _resident()
    with pytest.raises(MemoryError):
        exhaust_memory()
    assert _resident() - before < 2**27


def _resident():
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


def test_the_page_has_the_table_of_the_committed_figures():
    root = Path(__file__).parents[2]
    page_text = (root / "docs/faults.md").read_text(encoding="utf8")
    torments = [chaos_table.found(executor) for executor in chaos_table.EXECUTORS]
    assert chaos_table.table(torments) in page_text
    assert [torment["kills"] for torment in torments] == [100, 100]
    assert {kind for torment in torments for kind in torment["misbehaved"]} == set(KINDS)
