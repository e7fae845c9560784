"""The torment of benchmarks/chaos.py, small: whatever is thrown at a search, it loses and invents nothing."""

import os
import sqlite3
import sys
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

sys.path.append(str(Path(__file__).parents[2] / "benchmarks"))

import chaos_table
from autodropout.engine.study import Study
from autodropout.report.html import page
from autodropout.report.record import read_record
from chaos import KILLS, forked, ray_cluster, spawned, torment
from chaos_checks import Known, check_end
from chaos_driver import Config, drive
from chaos_trials import KINDS, Trials, exhaust_memory, schedule, witnessed, worth

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="forks a process that has loaded torch")


@pytest.mark.parametrize("kills", [4, pytest.param(100, marks=pytest.mark.slow)])
def test_a_tormented_search_loses_and_invents_nothing(memory_path, kills):
    config = Config(folder=memory_path, trials=36, every=2, seconds=0.02)
    found = torment(config, kills, forked)
    assert found["kills"] == kills
    assert set(found["thrown"]) >= {
        *KILLS[:3],
        "start a second search",
        "read-only ledger",
        "no file may grow",
    }
    assert len(found["misbehaved"]) >= 15
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
    """A search without misbehaviour that has come to its end, and what is known of it."""
    config = Config(folder=tmp_path_factory.mktemp("ended"), trials=8, every=5_000, seconds=0.0, workers=1)
    process = forked(drive, config)
    process.join(120)
    assert process.exitcode == 0
    return config


@pytest.fixture
def altered(ended, tmp_path):
    """Runs a statement on a copy of the ended study's ledger and returns the copy's configuration."""

    def alter(statement=None):
        config = replace(ended, folder=tmp_path)
        (tmp_path / "study").mkdir()
        (tmp_path / "witness.jsonl").write_bytes((ended.folder / "witness.jsonl").read_bytes())
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
    misbehaved, came_out = check_end(config)
    assert (misbehaved, came_out["fates"]) == ({}, {"done": 8})


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
