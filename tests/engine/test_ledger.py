import os
import sqlite3
import subprocess
import sys
import threading
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest
from filelock import FileLock

from autodropout.engine import ledger as ledger_module
from autodropout.engine import ledger_schema
from autodropout.engine.ledger import Ledger, Lesson
from autodropout.engine.ledger_reader import LedgerReader
from autodropout.engine.ledger_records import Ending, NewTrial, StudyRecord, Unfinished
from autodropout.engine.lock import LOCK_FILE
from autodropout.errors import LedgerError
from autodropout.result import Result
from autodropout.token_space import TokenSpace

SPACE = TokenSpace(sites=("ffn",))
STUDY = StudyRecord(
    space=SPACE.to_json(),
    task="toy",
    searcher="random",
    settings={"batch": 2, "biased": False},
    seed=7,
    batch=2,
    planned=10,
    trials=10,
    options={"workers": 2, "floor": None},
    phase="search",
    versions={"python": "3.11"},
    machine={"processors": 2},
    command="autodropout search toy",
    created=1.5,
)
NAN, INF = float("nan"), float("inf")


def new(number, **changes):
    trial = NewTrial(
        id=number,
        kind="search",
        tokens=(1, 0, 1, 0, 2),
        log_prob=-1e3 - 0.1,
        seed=number,
        updates_made=0,
        draw=0,
        place=number - 1,
    )
    return replace(trial, **changes)


def done(number, reward, attempt=1):
    result = Result(reward=reward, seconds=1.0)
    return Ending(trial=number, attempt=attempt, state="done", reward=reward, result=result)


def floored(number, reward=None):
    return Ending(
        trial=number, attempt=1, state="failed", reward=reward, floored=True, cause="raised", error="no"
    )


def trial(ledger, number):
    return ledger.read.trial(number, SPACE.decode)


def lesson(number, trials, snapshot=b"state"):
    return Lesson(
        number=number, trials=trials, figures={"mean": 0.5, "ess": NAN}, snapshot=snapshot, seconds=0.1
    )


@pytest.fixture
def ledger(tmp_path):
    with Ledger.create(tmp_path, STUDY, b"first") as ledger:
        yield ledger


@pytest.fixture
def running(ledger):
    """A ledger with five running trials."""
    ledger.enqueue([new(number) for number in range(1, 6)])
    for number in range(1, 6):
        ledger.start(number, 1)
    return ledger


class TestRecords:
    def test_a_study_comes_back_as_it_went_in(self, ledger, tmp_path):
        assert ledger.study == ledger.read.study() == STUDY
        ledger.close()
        with Ledger.open(tmp_path) as again:
            assert again.study == STUDY
            assert again.read.snapshot() == (0, b"first")

    def test_a_trial_comes_back_as_it_went_in(self, ledger):
        ledger.enqueue([new(1), new(2, log_prob=None, seed=2**31 - 1)])
        found = trial(ledger, 1)
        assert (found.id, found.kind, found.tokens, found.seed) == (1, "search", (1, 0, 1, 0, 2), 1)
        assert found.policy == SPACE.decode((1, 0, 1, 0, 2))
        assert found.log_prob == -1e3 - 0.1
        assert (found.state, found.attempt, found.update) == ("queued", 0, 0)
        assert (found.result, found.reward, found.error) == (None, None, None)
        assert (trial(ledger, 2).log_prob, trial(ledger, 2).seed) == (None, 2**31 - 1)

    def test_results_keep_nan_and_infinities(self, running):
        result = Result(
            reward=NAN, metrics={"loss": INF}, test={"acc": 0.1}, curve=(0.1, NAN, -INF), seconds=0.1 + 0.2
        )
        running.finish(
            Ending(trial=1, attempt=1, state="done", result=result, floored=True, cause="diverged")
        )
        found = trial(running, 1).result
        assert repr(found) == repr(result)

    def test_states_and_times_follow_a_trial(self, ledger):
        ledger.enqueue([new(1)])
        ledger.start(1, 1)
        assert (trial(ledger, 1).state, trial(ledger, 1).attempt) == ("running", 1)
        lost = Unfinished(id=1, kind="search", tokens=(), seed=1, attempt=1, lost=1)
        assert ledger.requeue(lost, "killed")
        assert (trial(ledger, 1).state, trial(ledger, 1).error) == ("queued", "killed")
        (unfinished,) = ledger.read.unfinished("search")
        assert (unfinished.attempt, unfinished.lost, unfinished.faults) == (1, 1, 0)
        ledger.start(1, 2)
        assert ledger.finish(done(1, 0.5, attempt=2))
        assert (trial(ledger, 1).state, trial(ledger, 1).reward, trial(ledger, 1).error) == (
            "done",
            0.5,
            None,
        )
        (timing,) = ledger.read.timings()
        assert timing.queued <= timing.started <= timing.ended
        assert (timing.trial, timing.finish, timing.taught) == (1, 1, None)

    def test_the_order_of_endings_is_recorded(self, running, tmp_path):
        for number in (3, 1):
            running.finish(done(number, 0.0))
        running.close()
        with Ledger.open(tmp_path) as again:
            again.start(5, 2)
            again.finish(done(5, 0.0, attempt=2))
            finish = {timing.trial: timing.finish for timing in again.read.timings()}
            assert finish == {3: 1, 1: 2, 5: 3, 2: None, 4: None}
            assert [scored.trial for scored in again.read.untaught(9)] == [3, 1, 5]

    def test_counts_by_state(self, running):
        running.enqueue([new(6)])
        running.finish(done(1, 0.0))
        running.finish(floored(2, 0.0))
        running.finish(Ending(trial=3, attempt=1, state="failed", cause="lost", error="gone"))
        tally = running.read.tally("search")
        assert (tally.queued, tally.running, tally.done, tally.failed, tally.replaced) == (1, 2, 1, 2, 1)
        assert tally.proposed == 5
        assert running.read.tally("confirm").proposed == 0

    def test_the_plan_and_the_phase_change(self, ledger):
        ledger.plan(99, {"workers": 3})
        ledger.enter("confirm")
        expected = replace(STUDY, trials=99, options={"workers": 3}, phase="confirm")
        assert ledger.study == ledger.read.study() == expected

    def test_an_unknown_trial_is_an_error(self, ledger):
        with pytest.raises(LedgerError, match=r"has no trial 3"):
            trial(ledger, 3)


class TestFencing:
    def test_a_late_ending_of_an_older_attempt_is_ignored(self, running):
        running.start(1, 2)
        assert not running.finish(done(1, 0.5, attempt=1))
        assert not running.requeue(Unfinished(id=1, kind="search", tokens=(), seed=1, attempt=1), "late")
        assert (trial(running, 1).state, trial(running, 1).reward) == ("running", None)
        assert running.finish(done(1, 0.7, attempt=2))
        assert not running.finish(done(1, 0.9, attempt=2)), "a second ending"
        assert trial(running, 1).reward == 0.7
        assert running.read.next_finish() == 2

    def test_interrupted_trials_are_queued_again(self, running, tmp_path):
        running.finish(done(2, 0.0))
        running.close()
        with Ledger.open(tmp_path) as again:
            assert [t.id for t in again.read.unfinished("search")] == [1, 3, 4, 5]
            assert {t.state for t in again.read.trials(SPACE.decode)} == {"queued", "done"}
            assert not again.finish(done(1, 0.0)), "nobody runs it any more"


class TestFloor:
    def test_who_looks_whether_a_search_runs_does_not_get_in_its_way(self, running):
        running.close()
        probe = FileLock(running.out / LOCK_FILE, thread_local=False)
        probe.acquire()
        threading.Timer(0.1, probe.release).start()
        Ledger.open(running.out).close()

    def test_only_the_reward_of_a_search_trial_settles_those_who_wait_and_only_search_trials(self, running):
        running.finish(floored(1))
        last = running.read.next_id()
        running.enqueue([new(last + n, kind="confirm", draw=None, place=n) for n in range(3)])
        for number in range(last, last + 3):
            running.start(number, 1)
        running.finish(floored(last))
        running.finish(done(last + 1, 5.0))
        assert running.read.untaught(9) == ()
        running.finish(done(2, 4.0))
        running.finish(done(last + 2, 5.0))
        rewards = {t.id: t.reward for t in running.read.trials(SPACE.decode)}
        assert [rewards[number] for number in (1, 2, last, last + 1)] == [4.0, 4.0, None, 5.0]

    def test_the_first_finite_reward_settles_those_who_wait(self, running):
        running.finish(floored(1))
        running.finish(floored(2))
        assert running.read.untaught(9) == ()
        running.finish(done(3, -5.0))
        running.finish(done(4, -9.0))
        assert [(s.trial, s.reward, s.floored) for s in running.read.untaught(9)] == [
            (1, -5.0, True),
            (2, -5.0, True),
            (3, -5.0, False),
            (4, -9.0, False),
        ]
        assert running.read.extremes() == (-9.0, -5.0)

    def test_failures_of_the_machine_wait_for_nothing(self, running):
        running.finish(Ending(trial=1, attempt=1, state="failed", cause="lost", error="gone"))
        running.finish(done(2, 1.0))
        assert trial(running, 1).reward is None
        assert [scored.trial for scored in running.read.untaught(9)] == [2]

    def test_forgiven_trials_are_as_new_unless_taught(self, running):
        running.finish(done(1, 1.0))
        running.finish(floored(2, 1.0))
        running.finish(floored(3, 1.0))
        running.teach(lesson(1, [1, 2]))
        running.forgive([2, 3])
        assert [(t.id, t.faults) for t in running.read.unfinished("search")] == [(3, 0), (4, 0), (5, 0)]
        assert (trial(running, 2).state, trial(running, 3).reward) == ("failed", None)


class TestUpdates:
    def finished(self, ledger):
        for number in (4, 2, 5, 1):
            ledger.finish(done(number, number / 10))

    def test_an_update_and_its_marks_are_one(self, running):
        self.finished(running)
        assert [scored.trial for scored in running.read.untaught(2)] == [4, 2]
        running.teach(lesson(1, [4, 2], b"one"))
        assert [scored.trial for scored in running.read.untaught(9)] == [5, 1]
        (update,) = running.read.updates()
        assert (update.number, update.trials, update.seconds) == (1, (4, 2), 0.1)
        assert repr(update.figures) == repr({"mean": 0.5, "ess": NAN})
        assert running.read.snapshot() == (1, b"one")
        assert running.read.last_update() == 1

    def test_no_trial_is_taught_twice(self, running):
        self.finished(running)
        running.teach(lesson(1, [4, 2]))
        with pytest.raises(LedgerError, match=r"update 2 would teach a trial twice; nothing is recorded"):
            running.teach(lesson(2, [5, 2]))
        assert running.read.last_update() == 1
        assert [scored.trial for scored in running.read.untaught(9)] == [5, 1]

    def test_lessons_come_back_in_order(self, running):
        self.finished(running)
        running.teach(lesson(1, [4, 2]))
        running.teach(lesson(2, [5, 1]))
        assert [[s.trial for s in batch] for batch in running.read.lessons(after=0)] == [[4, 2], [5, 1]]
        assert [[s.trial for s in batch] for batch in running.read.lessons(after=1)] == [[5, 1]]

    def test_only_the_newest_and_some_old_snapshots_are_kept(self, ledger, monkeypatch):
        monkeypatch.setattr(ledger_module, "SNAPSHOT_KEPT_EVERY", 3)
        for number in range(1, 9):
            ledger.teach(lesson(number, [], b"%d" % number))
        with closing(sqlite3.connect(ledger.out / "study.db")) as connection:
            kept = connection.execute("SELECT number FROM updates WHERE snapshot IS NOT NULL").fetchall()
        assert [number for (number,) in kept] == [0, 3, 6, 8]
        assert ledger.read.snapshot(first=True) == (0, b"first")

    def test_the_next_proposal_is_known(self, ledger):
        assert ledger.read.dealt(0) == (0, 0)
        ledger.enqueue([new(1), new(2, draw=1, place=0), new(3, draw=1, place=1)])
        ledger.enqueue([new(4, kind="confirm", draw=None, place=7, source=1)])
        assert ledger.read.dealt(0) == (1, 2)
        assert ledger.read.dealt(1) == (0, 0)

    def test_no_proposal_is_dealt_twice(self, ledger):
        ledger.enqueue([new(1)])
        with pytest.raises(LedgerError, match="UNIQUE"):
            ledger.enqueue([new(2), new(3, place=0)])
        assert len(ledger.read.unfinished("search")) == 1


class TestOneWriter:
    def test_a_second_one_is_refused(self, ledger, tmp_path):
        for attempt in (lambda: Ledger.open(tmp_path), lambda: Ledger.create(tmp_path, STUDY, b"")):
            with pytest.raises(LedgerError, match=r"another search is running in .*; wait for it, stop it"):
                attempt()
        ledger.enqueue([new(1)])

    def test_a_second_process_is_refused(self, ledger, tmp_path):
        code = (
            "import sys, pathlib; from autodropout.engine.ledger import Ledger\n"
            "try: Ledger.open(pathlib.Path(sys.argv[1]))\n"
            "except OSError as error: print(error)"
        )
        told = subprocess.run(
            [sys.executable, "-c", code, tmp_path], capture_output=True, text=True, check=True
        )
        assert "another search is running" in told.stdout

    def test_closing_frees_the_lock(self, ledger, tmp_path):
        ledger.close()
        ledger.close()
        Ledger.open(tmp_path).close()

    def test_a_failed_open_frees_the_lock(self, tmp_path):
        (tmp_path / "study.db").write_bytes(b"")
        with pytest.raises(LedgerError):
            Ledger.open(tmp_path)
        FileLock(tmp_path / "study.lock").acquire(timeout=0)

    def test_readers_read_while_it_is_written(self, running, tmp_path):
        with LedgerReader.open(tmp_path) as reader:
            assert reader.tally("search").running == 5
            running.finish(done(1, 0.0))
            assert reader.tally("search").done == 1
            with pytest.raises(sqlite3.OperationalError, match="readonly"):
                reader._connection.execute("DELETE FROM trials")


class TestBadFiles:
    def whole(self, tmp_path):
        with Ledger.create(tmp_path, STUDY, b"x" * 50_000) as ledger:
            ledger.enqueue([new(number) for number in range(1, 200)])
        return tmp_path / "study.db"

    def refused(self, out, text):
        for opened in (Ledger.open, LedgerReader.open):
            with pytest.raises(LedgerError, match=text) as caught:
                opened(out)
            assert "\n" not in str(caught.value)

    def test_no_directory(self, tmp_path):
        self.refused(tmp_path / "no", r"no holds no study: there is no study.db; check the directory's name")
        assert not (tmp_path / "no").exists()

    def test_an_empty_file(self, tmp_path):
        (tmp_path / "study.db").write_bytes(b"")
        self.refused(tmp_path, r"study.db is no ledger of autodropout, or was emptied; restore it")

    def test_something_else(self, tmp_path):
        (tmp_path / "study.db").write_bytes(os.urandom(5_000))
        self.refused(tmp_path, r"study.db: the ledger is damaged \(file is not a database\); restore it")

    def test_another_database(self, tmp_path):
        with closing(sqlite3.connect(tmp_path / "study.db")) as connection:
            connection.execute("CREATE TABLE trials (id)")
        self.refused(tmp_path, r"is no ledger of autodropout")

    @pytest.mark.parametrize(
        ("schema", "remedy"), [(99, "upgrade autodropout"), (0, "the version that wrote it")]
    )
    def test_another_schema(self, tmp_path, schema, remedy):
        with closing(sqlite3.connect(self.whole(tmp_path))) as connection:
            connection.execute(f"PRAGMA user_version = {schema}")
        self.refused(tmp_path, rf"study.db has schema {schema}, this autodropout reads 1 to 3; .*{remedy}")

    @pytest.mark.parametrize("share", [0.01, 0.3, 0.9])
    def test_a_truncated_file(self, tmp_path, share):
        path = self.whole(tmp_path)
        data = path.read_bytes()
        path.write_bytes(data[: int(len(data) * share)])
        with pytest.raises(LedgerError, match=r"the ledger is damaged .*; restore it from a copy") as caught:
            Ledger.open(tmp_path)
        assert "\n" not in str(caught.value)

    @pytest.mark.parametrize("kind", [0x0A, 0x0D], ids=["index", "table"])
    def test_an_overwritten_page(self, tmp_path, kind):
        path = self.whole(tmp_path)
        data = bytearray(path.read_bytes())
        starts = range(4096, len(data), 4096)
        page = max(s for s in starts if data[s] == kind and int.from_bytes(data[s + 3 : s + 5], "big") > 9)
        data[page + 8 : page + 4096] = b"\x55" * 4088
        path.write_bytes(data)
        with pytest.raises(LedgerError, match=r"the ledger is damaged"):
            Ledger.open(tmp_path)

    def test_a_creation_that_was_cut_short_leaves_nothing_in_the_way(self, tmp_path):
        (tmp_path / "study.db.new").write_bytes(b"half")
        Ledger.create(tmp_path, STUDY, b"").close()
        assert not (tmp_path / "study.db.new").exists()

    def test_a_study_that_is_there_is_not_overwritten(self, tmp_path):
        self.whole(tmp_path)
        with pytest.raises(LedgerError, match=r"already holds a study; resume it or name another directory"):
            Ledger.create(tmp_path, STUDY, b"")

    def test_a_place_that_cannot_be_written(self, tmp_path):
        (tmp_path / "file").touch()
        with pytest.raises(LedgerError, match=r"file/runs cannot be written .*; name a directory that can"):
            Ledger.create(tmp_path / "file" / "runs", STUDY, b"")

    @pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
    def test_a_directory_without_permission(self, tmp_path):
        self.whole(tmp_path)
        tmp_path.chmod(0o500)
        try:
            with LedgerReader.open(tmp_path) as reader:
                assert reader.study() == STUDY
            with pytest.raises(LedgerError, match=r"cannot be written"):
                Ledger.open(tmp_path)
        finally:
            tmp_path.chmod(0o700)

    def test_a_finished_study_is_read_from_where_nothing_can_be_written(self, tmp_path, monkeypatch):
        self.whole(tmp_path)
        before = sorted(path.name for path in tmp_path.iterdir())
        monkeypatch.setattr(ledger_schema.os, "access", lambda path, mode: False)
        with LedgerReader.open(tmp_path) as reader:
            assert reader.study() == STUDY
            assert sorted(path.name for path in tmp_path.iterdir()) == before


class TestFullDisk:
    def test_nothing_is_lost_and_the_error_says_so(self, running, tmp_path):
        pages = running._connection.execute("PRAGMA page_count").fetchone()[0]
        running._connection.execute(f"PRAGMA max_page_count = {pages}")
        running.finish(done(1, 0.5))
        with pytest.raises(
            LedgerError, match=r"study.db: the disk is full; nothing is lost: free some space"
        ):
            running.teach(lesson(1, [1], b"x" * 100_000))
        with pytest.raises(LedgerError, match=r"the disk is full"):
            running.teach(lesson(1, [1], b"x" * 100_000))
        running.close()
        with Ledger.open(tmp_path) as again:
            assert [scored.trial for scored in again.read.untaught(9)] == [1]
            again.teach(lesson(1, [1], b"x" * 100_000))


class TestNetwork:
    TABLE = (
        "/dev/vda / ext4 rw 0 0\nhost:/x {0} nfs4 rw 0 0\n"
        "host:/y {0}\\040b fuse.sshfs rw 0 0\n/dev/s {0}/local ext4 rw\n"
    )

    def mounts(self, tmp_path):
        table = tmp_path / "mounts"
        table.write_text(self.TABLE.format(tmp_path / "a"))
        for name in ("a/deep", "a b", "a/local", "c"):
            (tmp_path / name).mkdir(parents=True)
        return table

    def test_the_innermost_mount_decides(self, tmp_path):
        table = self.mounts(tmp_path)
        found = {
            name: ledger_schema.on_network(tmp_path / name, table)
            for name in ("a/deep", "a b", "a/local", "c")
        }
        assert found == {"a/deep": True, "a b": True, "a/local": False, "c": False}

    def test_without_a_table_nothing_is_known(self, tmp_path):
        assert not ledger_schema.on_network(tmp_path, Path("/nonexistent"))

    def test_there_the_journal_is_a_rollback_journal_and_it_warns(self, tmp_path, monkeypatch):
        monkeypatch.setattr(ledger_schema, "on_network", lambda path: True)
        with pytest.warns(UserWarning, match=r"lies on a network file system"):
            ledger = Ledger.create(tmp_path, STUDY, b"")
        with ledger, LedgerReader.open(tmp_path) as reader:
            ledger.enqueue([new(1)])
            assert reader.tally("search").queued == 1
            assert ledger._connection.execute("PRAGMA journal_mode").fetchone() == ("delete",)

    def test_elsewhere_it_is_the_write_ahead_log_fully_synchronised(self, ledger):
        assert ledger._connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)
        assert ledger._connection.execute("PRAGMA synchronous").fetchone() == (2,)
