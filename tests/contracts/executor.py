"""What every executor must do. A test class inherits this suite and offers the fixture ``make``."""
# ruff: noqa: T201  (trials print)

import errno
import math
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace

import numpy as np
import pytest

from autodropout.engine.executors.base import Done, Evaluate, Executor, Job, Outcome, Raised
from autodropout.errors import LedgerError, UsageError
from autodropout.pattern import ConvPattern
from autodropout.policy import Policy
from autodropout.result import Result

PATIENCE = 60.0  # seconds: a bound for a broken executor, not a measure of a good one
POLICY = Policy({"layer1.*.bn2": ConvPattern(height=2, width=2, stride=1, repeat=2)}, "ramp")

Make = Callable[..., Executor]


def job(trial: int, attempt: int = 1, seed: int = 0, policy: Policy = POLICY) -> Job:
    return Job(trial=trial, attempt=attempt, policy=policy, seed=seed)


def collect(executor: Executor, count: int) -> dict[tuple[int, int], Outcome]:
    """Poll until ``count`` jobs have ended."""
    ended: dict[tuple[int, int], Outcome] = {}
    limit = time.monotonic() + PATIENCE
    while len(ended) < count:
        assert time.monotonic() < limit, f"only {sorted(ended)} of {count} jobs ended"
        for done, outcome in executor.poll(1.0):
            assert (done.trial, done.attempt) not in ended
            ended[done.trial, done.attempt] = outcome
    return ended


def finish(executor: Executor, one: Job) -> Outcome:
    """Submit a job and wait for its outcome, which must be the only one."""
    executor.submit(one)
    return collect(executor, 1)[one.trial, one.attempt]


class ExecutorContract:
    """The suite. ``make(evaluate, **settings)`` builds an executor that is closed after the test."""

    @pytest.fixture
    def make(self) -> Iterator[Make]:
        raise NotImplementedError

    def test_policy_and_seed_arrive_and_the_reward_comes_back(self, make):
        def evaluate(policy, seed):
            return seed + len(policy.sites) + (policy.schedule == "ramp")

        outcome = finish(make(evaluate), job(7, seed=40))
        assert isinstance(outcome, Done)
        assert outcome.result.reward == 42.0
        assert type(outcome.result.reward) is float

    def test_the_job_comes_back_as_it_was_given(self, make):
        executor = make(lambda policy, seed: 0.0)
        given = job(3, attempt=2, seed=9)
        executor.submit(given)
        limit = time.monotonic() + PATIENCE
        while not (ended := executor.poll(1.0)):
            assert time.monotonic() < limit
        assert [done for done, _ in ended] == [given]

    def test_a_budget_is_the_third_argument(self, make):
        executor = make(lambda policy, seed, budget=0.0: 100 * seed + budget)
        whole, part = job(1, seed=2), replace(job(2, seed=3), budget=0.25)
        assert [finish(executor, given).result.reward for given in (whole, part)] == [200.0, 300.25]

    def test_seconds_are_measured_unless_they_are_given(self, make):
        def evaluate(policy, seed):
            time.sleep(0.05)
            return Result(reward=1.0, seconds=123.0) if seed else Result(reward=1.0)

        executor = make(evaluate)
        measured, given = finish(executor, job(1, seed=0)), finish(executor, job(2, seed=1))
        assert 0.05 <= measured.result.seconds < PATIENCE
        assert given.result.seconds == 123.0

    def test_a_result_comes_back_whole(self, make):
        def evaluate(policy, seed):
            return Result(reward=0.5, metrics={"loss": 2}, test={"accuracy": 0.25}, curve=(0.1, 0.5))

        result = finish(make(evaluate), job(1)).result
        assert (result.reward, result.curve) == (0.5, (0.1, 0.5))
        assert (result.metrics, result.test) == ({"loss": 2.0}, {"accuracy": 0.25})

    def test_a_subclass_of_result_comes_back_as_plain_data(self, make):
        class Mine(Result):
            def __reduce__(self):
                raise TypeError("this cannot be pickled")

        result = finish(make(lambda policy, seed: Mine(reward=3.0, seconds=1.0)), job(1)).result
        assert type(result) is Result
        assert result.reward == 3.0

    @pytest.mark.parametrize("value", [3, True, np.float32(3.0), np.float64(3.0), np.array(3)])
    def test_whatever_float_takes_is_a_reward(self, make, value):
        result = finish(make(lambda policy, seed: value), job(1)).result
        assert type(result.reward) is float
        assert result.reward == float(value)

    def test_nan_and_infinity_are_done(self, make):
        executor = make(lambda policy, seed: float(["nan", "inf", "-inf"][seed]))
        rewards = [finish(executor, job(seed + 1, seed=seed)).result.reward for seed in range(3)]
        assert math.isnan(rewards[0])
        assert rewards[1:] == [math.inf, -math.inf]

    def test_another_return_value_is_raised_and_names_its_type(self, make):
        executor = make(lambda policy, seed: [None, "0.5", [0.5], {"reward": 1}, np.zeros(2), 10**400][seed])
        for seed, name in enumerate(["NoneType", "str", "list", "dict", "ndarray", "int"]):
            outcome = finish(executor, job(seed + 1, seed=seed))
            assert isinstance(outcome, Raised)
            assert outcome.error == (
                f"UsageError: evaluate returned a {name}; expected one number or an autodropout.Result"
            )

    def test_an_exception_is_raised_with_its_last_line_and_traceback(self, make):
        def deep_inside(seed):
            raise ValueError(f"seed {seed} is bad\nand more")

        outcome = finish(make(lambda policy, seed: deep_inside(seed)), job(1, seed=5))
        assert isinstance(outcome, Raised)
        assert outcome.error == "ValueError: seed 5 is bad"
        assert outcome.traceback.startswith("Traceback (most recent call last):\n")
        assert "deep_inside" in outcome.traceback
        assert outcome.traceback.endswith("ValueError: seed 5 is bad\nand more\n")
        assert "attempt.py" not in outcome.traceback

    @pytest.mark.parametrize("give_up", [sys.exit, SystemExit, GeneratorExit])
    def test_leaving_the_program_is_raised(self, make, give_up):
        def evaluate(policy, seed):
            if seed:
                if give_up is sys.exit:
                    sys.exit(3)
                raise give_up
            return 1.0

        executor = make(evaluate)
        outcome = finish(executor, job(1, seed=1))
        assert isinstance(outcome, Raised)
        assert outcome.error == ("SystemExit: 3" if give_up is sys.exit else give_up.__name__)
        assert finish(executor, job(2, seed=0)).result.reward == 1.0

    def test_an_exception_that_cannot_be_printed_is_raised(self, make):
        class SilentError(Exception):
            def __str__(self):
                raise RuntimeError("no words")

        def evaluate(policy, seed):
            raise SilentError

        assert finish(make(evaluate), job(1)).error.startswith("SilentError: ")

    def test_each_attempt_has_its_own_log(self, make, tmp_path):
        def evaluate(policy, seed):
            print(f"out {seed}")
            print(f"error {seed} \udcff", file=sys.stderr)
            if seed == 3:
                raise ValueError("gone wrong")
            return 0.0

        executor = make(evaluate, log_dir=tmp_path / "new" / "logs")
        for number, (trial, attempt) in enumerate([(17, 1), (17, 2), (1234567, 1)], start=1):
            finish(executor, job(trial, attempt, seed=number))
        logs = {path.name: path.read_text() for path in (tmp_path / "new" / "logs").glob("trial-*")}
        assert logs["trial-000017-1.log"] == "out 1\nerror 1 \\udcff\n"
        assert logs["trial-000017-2.log"] == "out 2\nerror 2 \\udcff\n"
        assert logs["trial-1234567-1.log"].startswith("out 3\nerror 3 \\udcff\nTraceback (most recent")
        assert logs["trial-1234567-1.log"].endswith("ValueError: gone wrong\n")
        assert len(logs) == 3

    def test_a_log_dir_that_cannot_be_made_is_refused(self, make, tmp_path):
        (tmp_path / "file").touch()
        with pytest.raises(
            LedgerError, match=r"logs cannot be written \(Not a directory\); make room or choose"
        ):
            make(lambda policy, seed: 0.0, log_dir=tmp_path / "file" / "logs")

    def test_a_log_that_cannot_be_written_stops_the_search_with_a_clear_error(self, make, tmp_path):
        executor = make(lambda policy, seed: 1.0, log_dir=tmp_path)
        (tmp_path / "trial-000001-1.log").mkdir()
        with pytest.raises(LedgerError, match=r"trial-000001-1.log cannot be written \(Is a directory\)"):
            finish(executor, job(1))
        assert finish(executor, job(2)).result.reward == 1.0

    @pytest.mark.parametrize("logged", [True, False])
    def test_a_full_disk_is_not_the_policys_fault(self, make, tmp_path, logged):
        def evaluate(policy, seed):
            if seed:
                raise OSError(errno.ENOSPC, "No space left on device", "weights.pt")
            return 1.0

        executor = make(evaluate, log_dir=tmp_path if logged else None)
        with pytest.raises(LedgerError, match=r"weights.pt cannot be written \(No space left on device\)"):
            finish(executor, job(1, seed=1))
        assert finish(executor, job(2)).result.reward == 1.0

    def test_capacity_is_a_limit(self, make):
        executor = make(lambda policy, seed: 0.0)
        assert executor.capacity >= 1
        for trial in range(executor.capacity):
            executor.submit(job(trial))
        with pytest.raises(UsageError, match="busy; poll until"):
            executor.submit(job(99))
        ended = collect(executor, executor.capacity)
        assert sorted(ended) == [(trial, 1) for trial in range(executor.capacity)]
        finish(executor, job(99))

    def test_poll_without_jobs_returns_nothing_in_time(self, make):
        executor = make(lambda policy, seed: 0.0)
        began = time.monotonic()
        assert not executor.poll(0.05)
        assert not executor.poll(-1.0)
        assert time.monotonic() - began < PATIENCE

    def test_a_cancelled_job_never_shows_up(self, make):
        executor = make(lambda policy, seed: float(seed))
        executor.submit(job(1, seed=1))
        executor.cancel(job(1, attempt=2))
        executor.cancel(job(5))
        executor.cancel(job(1))
        assert finish(executor, job(2, seed=2)).result.reward == 2.0
        assert not executor.poll(0.0)

    def test_close_may_be_called_twice_and_is_final(self, make):
        executor = make(lambda policy, seed: 0.0)
        executor.submit(job(1))
        executor.close()
        executor.close()
        for use in (lambda: executor.submit(job(2)), lambda: executor.poll(0.0)):
            with pytest.raises(UsageError, match="the executor is closed; build a new one"):
                use()

    def test_an_evaluation_that_cannot_be_called_is_refused(self, make):
        broken: Evaluate = "evaluate"  # type: ignore[assignment]
        with pytest.raises(
            UsageError, match=r"evaluate is 'evaluate'; expected a function of \(policy, seed"
        ):
            make(broken)
