import json
import subprocess
import sys
from dataclasses import replace
from itertools import count
from pathlib import Path

import numpy as np
import pytest

from autodropout.benchmark import finished
from autodropout.benchmark.finished import Finished
from autodropout.benchmark.landscapes import Benchmark
from autodropout.benchmark.plan import Plan
from autodropout.benchmark.simulating import Simulated
from autodropout.benchmark.variants import Variant
from autodropout.errors import DataError, UsageError

EVOLUTION = Variant.parse("evolution:batch=8")
SLASHED = Variant(name="either/or", searcher="tpe")
PLAN = Plan(variants=[EVOLUTION, SLASHED], budgets=(8, 16), repetitions=2)
RUNS = {
    16: Simulated(
        looks=(8, 16),
        budgets=(8, 16),
        ended=np.array([[0.1, 1 / 3], [0.2, 0.3]]),
        unconfirmed=np.array([[0.1, 0.2], [2 / 3, 0.3]]),
        proposed=np.arange(32.0).reshape(2, 16),
    )
}


@pytest.fixture(autouse=True)
def clock(monkeypatch):
    """The clock goes on by one whenever it is read."""
    monkeypatch.setattr(finished, "perf_counter", count(0.0).__next__)


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "found.unfinished"


@pytest.fixture
def keep(benchmark, folder):
    return lambda plan=PLAN, landscape=benchmark: Finished(folder, landscape, plan)


@pytest.fixture
def file(keep, folder):
    """The file of a searcher that is done."""
    keep().write(EVOLUTION, RUNS)
    return folder / "evolution%3Abatch%3D8.json"


def test_what_is_written_is_read(keep, folder):
    first = keep()
    assert (first.read(), first.names, first.seconds) == ({}, (), 0.0)
    first.write(EVOLUTION, RUNS)
    first.write(SLASHED, RUNS)
    assert (first.names, first.seconds) == (("evolution:batch=8", "either/or"), 2.0)
    again = keep()
    kept = again.read()
    assert set(kept) == set(again.names) == set(first.names)
    assert again.seconds == 2.0
    assert all(path.parent == folder for path in folder.rglob("*"))
    for runs in kept.values():
        assert list(runs) == [16]
        assert (runs[16].looks, runs[16].budgets) == ((8, 16), (8, 16))
        for name in ("ended", "unconfirmed", "proposed"):
            assert np.array_equal(getattr(runs[16], name), getattr(RUNS[16], name))


def test_searchers_that_are_not_of_the_plan_are_left_alone(keep, file):
    alone = keep(replace(PLAN, variants=[SLASHED]))
    assert (alone.read(), alone.names) == ({}, ())
    assert file.is_file()


@pytest.mark.parametrize("change", [{"seed": 1}, {"every": 8}, {"repetitions": 3}, {"budgets": (8,)}])
def test_another_plan_does_not_go_on(keep, file, change):
    name = "every" if "every" in change else "plan"
    with pytest.raises(UsageError, match=rf"batch%3D8.json was made with {name} .* move it away to begin"):
        keep(replace(PLAN, **change)).read()


def test_other_settings_of_a_searcher_do_not_go_on(keep, file):
    other = replace(EVOLUTION, settings={"batch": 4})
    with pytest.raises(UsageError, match=r"made with variant \{.*'batch': 8.*, not \{.*'batch': 4"):
        keep(replace(PLAN, variants=[other])).read()


def test_another_landscape_of_as_many_trials_does_not_go_on(keep, file, benchmark):
    first, *others = benchmark.trials
    changed = replace(first, result=replace(first.result, metrics={}))
    other = Benchmark(replace(benchmark.release, trials=(changed, *others)), benchmark.name)
    assert other.noise == benchmark.noise
    with pytest.raises(UsageError, match=r"made with landscape '[0-9a-f]{12}', not '[0-9a-f]{12}'; move it"):
        keep(landscape=other).read()


def test_other_versions_do_not_go_on(keep, file):
    facts = json.loads(file.read_text())
    file.write_text(json.dumps(facts | {"versions": facts["versions"] | {"numpy": "0.1"}}))
    with pytest.raises(UsageError, match="was made with versions"):
        keep().read()


@pytest.mark.parametrize(
    "damage",
    [{"runs": []}, {"runs": {"16": []}}, {"runs": {"16": {}}}, {"variant": 3}, {"seconds": None}],
)
def test_damaged_facts_are_said(keep, file, damage):
    file.write_text(json.dumps(json.loads(file.read_text()) | damage))
    with pytest.raises(DataError, match=r"8.json is damaged; remove it, and its searcher is run again"):
        keep().read()


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"{}", b"null", b"\xff"])
def test_damaged_files_are_said(keep, file, content):
    file.write_bytes(content)
    with pytest.raises(DataError, match=r"8.json is damaged; remove it, and its searcher is run again"):
        keep().read()


def test_a_file_that_cannot_be_read_is_said(keep, file):
    file.unlink()
    file.mkdir()
    with pytest.raises(DataError, match=r"8.json cannot be read \(Is a directory\); remove it, and its"):
        keep().read()


def test_what_is_stopped_while_it_is_written_does_not_count(keep, folder, monkeypatch):
    def stopped(path, text):
        raise KeyboardInterrupt

    kept = keep()
    with monkeypatch.context() as patch:
        patch.setattr(finished, "write_text", stopped)
        with pytest.raises(KeyboardInterrupt):
            kept.write(EVOLUTION, RUNS)
    assert (kept.names, kept.seconds) == ((), 0.0)
    assert keep().read() == {}


def test_a_folder_that_cannot_be_written_is_said_at_once(keep, folder):
    folder.write_text("a file")
    with pytest.raises(UsageError, match=r"found.unfinished cannot be written \(File exists\); name another"):
        keep().held().__enter__()
    with pytest.raises(UsageError, match=r"batch%3D8.json cannot be written \(.*\); name another file"):
        keep().write(EVOLUTION, RUNS)


def test_only_one_process_keeps_searchers_in_a_folder(keep, folder):
    code = "import sys; from filelock import FileLock; FileLock(sys.argv[1]).acquire(timeout=0)"
    words = [sys.executable, "-c", code, str(folder / "lock")]
    message = "another comparison is running that keeps its searchers in .*unfinished; wait for it, stop it"
    with keep().held():
        told = subprocess.run(words, capture_output=True, text=True, check=False)
        assert "Timeout" in told.stderr
        with pytest.raises(UsageError, match=message), keep().held():
            pass
        assert (folder / "lock").is_file()
    with keep().held():
        pass


def test_a_folder_with_nothing_in_it_does_not_stay(keep, folder):
    with pytest.raises(ZeroDivisionError), keep().held():
        1 / len([*folder.glob("*.json")])
    assert not folder.exists()
    with keep().held():
        keep().write(EVOLUTION, RUNS)
    assert [path.name for path in folder.iterdir()] == ["evolution%3Abatch%3D8.json"]
    with keep().held():
        keep().clear()
    assert not folder.exists()


def test_only_what_is_kept_is_cleared(keep, file, folder, monkeypatch):
    (folder / "notes.txt").write_text("mine")
    with keep().held():
        keep().clear()
    assert [path.name for path in folder.iterdir()] == ["notes.txt"]
    monkeypatch.setattr(Path, "glob", lambda path, pattern: [path / "gone.json"])
    keep().clear()
