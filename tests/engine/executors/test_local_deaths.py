# ruff: noqa: T201  (trials print)
import os
import signal
import subprocess
import threading
import time
from multiprocessing.connection import wait
from pathlib import Path

import pytest
from processes import assert_gone, numbers

from autodropout.engine.executors.base import Done, Lost, Raised, TimedOut
from contracts.executor import PATIENCE, collect, finish, job


def test_an_interrupt_inside_the_evaluation_is_raised(make_local):
    def evaluate(policy, seed):
        raise KeyboardInterrupt

    assert finish(make_local(evaluate), job(1)).error == "KeyboardInterrupt"


@pytest.mark.parametrize("start", ["forkserver", "spawn"])
@pytest.mark.parametrize(
    ("end", "reason"),
    [
        ("os.kill(os.getpid(), 9)", "the worker was killed by SIGKILL (by hand, or because memory ran out)"),
        ("os.kill(os.getpid(), 15)", "the worker was killed by SIGTERM"),
        ("os._exit(3)", "the worker ended itself with exit code 3"),
        ("os._exit(0)", "the worker ended itself with exit code 0"),
        ("__import__('ctypes').string_at(0)", "the worker was killed by SIGSEGV"),
    ],
)
def test_a_worker_that_goes_away_is_lost_and_replaced(make_local, start, end, reason):
    executor = make_local(lambda policy, seed: eval(end) if seed else os.getpid(), workers=1, start=start)
    before = finish(executor, job(1)).result.reward
    assert finish(executor, job(2, seed=1)) == Lost(reason=reason)
    after = finish(executor, job(2, attempt=2)).result.reward
    assert before != after


def test_a_worker_killed_while_it_sends_its_result_is_lost(make_local):
    def evaluate(policy, seed):
        def send_half(self, data):
            os.write(self.fileno(), bytes(data[: len(data) // 2]))
            os.kill(os.getpid(), signal.SIGKILL)

        if seed:
            __import__("multiprocessing.connection").connection.Connection._send = send_half
        return seed

    executor = make_local(evaluate, workers=1)
    assert isinstance(finish(executor, job(1, seed=1)), Lost)
    assert finish(executor, job(1, attempt=2)).result.reward == 0


def test_a_crash_leaves_its_stack_in_the_log(make_local, tmp_path):
    def crash_here(policy, seed):
        print("before the crash")
        __import__("ctypes").string_at(0)

    finish(make_local(crash_here, log_dir=tmp_path), job(1))
    log = (tmp_path / "trial-000001-1.log").read_text()
    assert log.startswith("before the crash\nFatal Python error: Segmentation fault")
    assert "crash_here" in log


def test_a_worker_killed_from_outside_takes_no_other_along(make_local, tmp_path):
    def evaluate(policy, seed):
        Path(tmp_path / f"{seed}").write_text(f"{os.getpid()}\n")
        while seed and not Path(tmp_path / "go").exists():
            time.sleep(0.01)
        return seed

    executor = make_local(evaluate, workers=2)
    executor.submit(job(1, seed=1))
    executor.submit(job(2, seed=2))
    [victim], _ = numbers(tmp_path / "1", 1), numbers(tmp_path / "2", 1)
    os.kill(victim, signal.SIGKILL)
    assert isinstance(collect(executor, 1)[1, 1], Lost)
    assert finish(executor, job(3, seed=0)).result.reward == 0.0
    (tmp_path / "go").touch()
    assert collect(executor, 1)[2, 1].result.reward == 2.0


def test_the_last_word_of_a_worker_counts_though_its_death_is_known_first(make_local):
    def evaluate(policy, seed):
        if seed:
            threading.Timer(0.3, os._exit, [1]).start()
        return os.getpid()

    executor = make_local(evaluate, workers=1)
    pid = finish(executor, job(1)).result.reward
    executor.submit(job(2, seed=1))
    assert wait([executor._server.exits], PATIENCE), "the death was not reported"
    executor._bury()
    assert collect(executor, 1)[2, 1].result.reward == pid


def test_what_a_worker_started_dies_with_it(make_local, tmp_path):
    def evaluate(policy, seed):
        child = subprocess.Popen(["sleep", "1000"])
        (tmp_path / "pid").write_text(f"{child.pid}\n")
        os._exit(1)

    assert isinstance(finish(make_local(evaluate), job(1)), Lost)
    assert_gone(numbers(tmp_path / "pid", 1))


def test_a_worker_killed_while_idle_costs_no_attempt(make_local):
    executor = make_local(lambda policy, seed: os.getpid(), workers=1)
    for trial in range(3):
        pid = int(finish(executor, job(trial)).result.reward)
        os.kill(pid, signal.SIGKILL)
        assert wait([executor._server.exits], PATIENCE), "the death was not reported"


def test_a_trial_past_its_time_is_killed_with_its_children(make_local, tmp_path):
    def evaluate(policy, seed):
        if seed:
            child = subprocess.Popen(["sleep", "1000"])
            Path(tmp_path / "pids").write_text(f"{os.getpid()} {child.pid}\n")
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
            time.sleep(1000)
        return 1.0

    executor = make_local(evaluate, workers=1, timeout=1.5, log_dir=tmp_path)
    outcome = finish(executor, job(1, seed=1))
    assert isinstance(outcome, TimedOut)
    assert 1.5 <= outcome.seconds < PATIENCE
    assert_gone(numbers(tmp_path / "pids", 2))
    assert finish(executor, job(1, attempt=2)).result.reward == 1.0


def test_the_time_limit_is_each_trials_own(make_local):
    executor = make_local(lambda policy, seed: time.sleep(0.4 if seed else 1000) or 1.0, timeout=2.0)
    executor.submit(job(1))
    rewards = [finish(executor, job(trial, seed=1)).result.reward for trial in (2, 3)]
    assert rewards == [1.0, 1.0]
    assert isinstance(collect(executor, 1)[1, 1], TimedOut)


def test_starting_a_worker_does_not_count_against_the_time_limit(make_local):
    class SlowToLoad:
        def __call__(self, policy, seed):
            time.sleep(0.1)
            return 1.0

        def __setstate__(self, state):
            time.sleep(1.5)

        def __getstate__(self):
            return {"some": "state"}

    assert isinstance(finish(make_local(SlowToLoad(), timeout=1.0), job(1)), Done)


def test_an_evaluation_that_closes_its_descriptors_is_lost_and_killed(make_local, tmp_path):
    def evaluate(policy, seed):
        if seed:
            (tmp_path / "pid").write_text(f"{os.getpid()}\n")
            os.closerange(3, 1000)
            time.sleep(1000)
        return 1.0

    executor = make_local(evaluate, workers=1)
    assert isinstance(finish(executor, job(1, seed=1)), Lost)
    assert_gone(numbers(tmp_path / "pid", 1))
    assert finish(executor, job(2)).result.reward == 1.0


class Unloadable:
    """Arrives in a worker as a call of ``end``."""

    def __init__(self, end: str):
        self.end = end

    def __call__(self, policy, seed):
        return 1.0

    def __reduce__(self):
        return eval, (self.end,)


@pytest.mark.parametrize(
    ("end", "error"),
    [
        ("__import__('no_such_module')", "ModuleNotFoundError: No module named 'no_such_module'"),
        ("__import__('sys').exit(2)", "SystemExit: 2"),
    ],
)
def test_an_evaluation_that_cannot_be_loaded_is_raised_for_every_job(make_local, end, error):
    executor = make_local(Unloadable(end), workers=1)
    for trial in (1, 2):
        outcome = finish(executor, job(trial))
        assert isinstance(outcome, Raised)
        assert outcome.error == f"evaluate cannot be loaded in a worker: {error}"
        assert "Traceback" in outcome.traceback


def test_an_evaluation_that_kills_every_worker_on_loading_is_raised(make_local, tmp_path):
    executor = make_local(Unloadable("__import__('os')._exit(4)"), workers=1, log_dir=tmp_path)
    for trial in (1, 2):
        assert finish(executor, job(trial)) == Raised(
            error="the worker ended itself with exit code 4 while it was starting, 3 times in a row; "
            f"what it printed is in {tmp_path / 'workers.log'}",
            traceback="",
        )


def test_workers_killed_while_starting_are_lost(make_local):
    executor = make_local(Unloadable("__import__('os').kill(__import__('os').getpid(), 9)"), workers=1)
    outcome = finish(executor, job(1))
    assert isinstance(outcome, Lost)
    assert outcome.reason.startswith("the worker was killed by SIGKILL")
    assert outcome.reason.endswith("while it was starting, 3 times in a row")
