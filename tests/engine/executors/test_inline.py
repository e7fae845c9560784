# ruff: noqa: T201  (trials print)
import os

import pytest

from autodropout.engine.executors.inline import InlineExecutor
from autodropout.errors import UsageError
from contracts.executor import ExecutorContract, finish, job


class TestInline(ExecutorContract):
    @pytest.fixture
    def make(self):
        return InlineExecutor


def test_it_runs_in_the_calling_process_and_inside_poll():
    seen = []
    executor = InlineExecutor(lambda policy, seed: seen.append(os.getpid()) or 1.0)
    executor.submit(job(1))
    assert seen == []
    executor.poll(0.0)
    assert seen == [os.getpid()]


def test_ctrl_c_goes_on_to_the_caller_and_the_job_is_forgotten():
    def evaluate(policy, seed):
        if seed:
            raise KeyboardInterrupt
        return 1.0

    executor = InlineExecutor(evaluate)
    with pytest.raises(KeyboardInterrupt):
        finish(executor, job(1, seed=1))
    assert finish(executor, job(2)).result.reward == 1.0


def test_output_stays_on_the_streams_without_a_log_dir(capsys):
    finish(InlineExecutor(lambda policy, seed: print("hello") or 1.0), job(1))
    assert capsys.readouterr().out == "hello\n"


def test_a_timeout_is_refused():
    with pytest.raises(UsageError, match=r"timeout is 5; trials in this process cannot be killed, use work"):
        InlineExecutor(lambda policy, seed: 1.0, timeout=5)
