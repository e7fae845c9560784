"""What the ledger owes a search, whoever proposes: a crash at any moment changes nothing but timestamps."""

import sqlite3
from abc import ABC, abstractmethod
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from autodropout.engine import ledger as ledger_module
from autodropout.engine.base import Searcher
from autodropout.engine.confirm import Confirmation
from autodropout.engine.executors.base import Job, Outcome
from autodropout.engine.halving import Halving
from autodropout.engine.history import replay
from autodropout.engine.run import search
from autodropout.engine.study import Study
from autodropout.errors import StudyError
from autodropout.result import Result
from autodropout.token_space import TokenSpace
from scripted import ScriptedExecutor, lost, raised, worth

SPACE = TokenSpace(sites=("query", "ffn"))
TRIALS, SLOTS = 14, 4
TRIAL_COLUMNS = (
    "id, kind, tokens, log_prob, seed, updates_made, draw, place, source, state, lost, faults, reward, "
    "floored, result, cause, error, finish, taught, budget, carried, weight"
)


class CrashedError(BaseException):
    """Stands for a kill: nothing in the library catches it."""


def rows(out: Path, query: str) -> list[tuple[object, ...]]:
    with closing(sqlite3.connect(out / "study.db")) as connection:
        return connection.execute(query).fetchall()


def history(out: Path) -> tuple[list[tuple[object, ...]], list[tuple[object, ...]]]:
    """All that is not a timestamp, an attempt number or an option."""
    return (
        rows(out, f"SELECT {TRIAL_COLUMNS} FROM trials ORDER BY id"),
        rows(out, "SELECT number, trials, figures, snapshot FROM updates ORDER BY number"),
    )


class CrashContract(ABC):
    """Inherited once per searcher, with and without successive halving."""

    halving: Halving | None = None

    @abstractmethod
    def build(self) -> Searcher:
        """Make a searcher on SPACE with M = 3."""

    def moments(self, transactions: int) -> range:
        """Say after or in which transactions to crash."""
        return range(1, transactions + 1)

    def run(self, out: Path) -> Study:
        """Search to the end; whoever runs it mends the evaluation when three raising trials stop it."""
        try:
            return self._run(out)
        except StudyError:
            (out / "mended").touch()
            return self._run(out)

    def _run(self, out: Path) -> Study:
        def outcome(job: Job) -> Outcome:
            ((lost_before,),) = rows(out, f"SELECT lost FROM trials WHERE id = {job.trial}")
            match job.trial:
                case 1 | 6:
                    return raised()
                case 2 | 9:
                    done = worth(job)
                    return type(done)(result=Result(reward=float("nan"), seconds=1.0))
                case 4 if lost_before == 0:
                    return lost()
                case 7:
                    return lost()
                case 10 | 11 | 12 if not (out / "mended").exists():
                    return raised()
            return worth(job)

        # The three end one after the other. Queued again beside what had taken their place, they are more
        # than the capacity; a slot for each keeps the order of endings a function of what is unfinished.
        executor = ScriptedExecutor(
            outcome, slots=2 * SLOTS, rank=lambda trial: -1 if trial in (10, 11, 12) else trial * 7 % 6
        )
        confirm = Confirmation(top=2, seeds=2)
        return search(
            print, SPACE, trials=TRIALS, searcher=self.build(), out=out, executor=executor, capacity=SLOTS,
            confirm=confirm, max_attempts=2, halving=self.halving,
        )  # fmt: skip

    def crash(self, out: Path, moment: int, before_commit: bool, patch: pytest.MonkeyPatch) -> int:
        """Run until that transaction, counted from 1; return how many there were."""
        real, count = ledger_module.transaction, 0

        @contextmanager
        def crashing(connection):
            nonlocal count
            count += 1
            with real(connection):
                yield
                if count == moment and before_commit:
                    raise CrashedError
            if count == moment:
                raise CrashedError

        with patch.context() as patched:
            patched.setattr(ledger_module, "transaction", crashing)
            try:
                self.run(out)
            except CrashedError:
                assert count == moment
        return count

    def test_a_crash_at_any_event_changes_nothing(self, memory_path, monkeypatch):
        transactions = self.crash(memory_path / "whole", 0, False, monkeypatch)
        expected = history(memory_path / "whole")
        for moment in self.moments(transactions):
            for before_commit in (True, False):
                out = memory_path / f"{moment}-{before_commit}"
                assert self.crash(out, moment, before_commit, monkeypatch) == moment
                self.run(out)
                assert history(out) == expected, f"crash at transaction {moment}, {before_commit=}"

    def test_two_crashes_and_two_resumes_change_nothing(self, memory_path, monkeypatch):
        self.run(memory_path / "whole")
        for first, second in ((3, 2), (9, 8), (20, 14), (31, 1)):
            out = memory_path / f"{first}-{second}"
            self.crash(out, first, True, monkeypatch)
            self.crash(out, second, False, monkeypatch)
            self.run(out)
            assert history(out) == history(memory_path / "whole")

    def test_the_history_alone_gives_the_searchers_state(self, memory_path):
        out = self.run(memory_path).out
        last = rows(out, "SELECT snapshot FROM updates ORDER BY number DESC LIMIT 1")[0][0]
        assert replay(out, self.build()).snapshot() == last

    def test_the_script_holds_what_it_should(self, memory_path):
        out = memory_path
        study = self.run(out)
        assert study.finished
        states = {t.id: (t.state, t.reward) for t in study.trials}
        assert states[7] == ("failed", None)
        assert study.tally().proposed == TRIALS
        assert len(study.updates) == TRIALS // 3
        finished = [timing.finish for timing in study.timings]
        assert sorted(finished) == list(range(1, len(finished) + 1)) != finished
        taught = [number for update in study.updates for number in update.trials]
        assert len(set(taught)) == len(taught) == 3 * (TRIALS // 3)
        assert 7 not in taught
        assert (out / "mended").exists()
        assert [states[number][0] for number in (10, 11, 12)] == ["done"] * 3
        assert {1, 2, 6, 9} <= {t.id for t in study.trials if t.kind == "search"} & set(taught)
