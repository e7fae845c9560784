import functools
import os
import subprocess
import sys
import threading
import time

import pytest
from processes import alive, assert_gone, numbers

from autodropout.errors import UsageError
from contracts.executor import PATIENCE, ExecutorContract, collect, finish, job


class TestForked(ExecutorContract):
    @pytest.fixture
    def make(self, make_local):
        return make_local


@pytest.mark.slow
class TestSpawned(ExecutorContract):
    @pytest.fixture
    def make(self, make_local):
        return functools.partial(make_local, start="spawn")


def test_attempts_of_one_trial_are_told_apart(make_local, tmp_path):
    def evaluate(policy, seed):
        while seed == 1 and not (tmp_path / "go").exists():
            time.sleep(0.01)
        return seed

    executor = make_local(evaluate, workers=2)
    executor.submit(job(1, attempt=1, seed=1))
    with pytest.raises(UsageError, match="trial 1, attempt 1 is running already"):
        executor.submit(job(1, attempt=1, seed=2))
    assert finish(executor, job(1, attempt=2, seed=2)).result.reward == 2.0
    (tmp_path / "go").touch()
    assert collect(executor, 1)[1, 1].result.reward == 1.0


def test_cancelling_kills_the_trial(make_local, tmp_path):
    def evaluate(policy, seed):
        if seed:
            (tmp_path / "pid").write_text(f"{os.getpid()}\n")
            time.sleep(1000)
        return 1.0

    executor = make_local(evaluate, workers=1)
    executor.submit(job(1, seed=1))
    pids = numbers(tmp_path / "pid", 1)
    executor.cancel(job(1))
    assert_gone(pids)
    assert finish(executor, job(1, attempt=2)).result.reward == 1.0


def test_a_result_that_waits_unread_can_be_cancelled(make_local):
    executor = make_local(lambda policy, seed: os.getpid(), workers=2)
    finish(executor, job(1))
    executor.submit(job(2))
    time.sleep(0.3)
    executor.submit(job(3))  # takes in the result of trial 2
    executor.cancel(job(2))
    assert list(collect(executor, 1)) == [(3, 1)]
    assert not executor.poll(0.1)


def test_two_executors_work_side_by_side(make_local):
    doubler = make_local(lambda policy, seed: 2 * seed)
    tripler = make_local(lambda policy, seed: 3 * seed)
    doubler.submit(job(1, seed=5))
    tripler.submit(job(1, seed=5))
    assert collect(tripler, 1)[1, 1].result.reward == 15.0
    doubler_outcomes = collect(doubler, 1)
    tripler.close()
    assert doubler_outcomes[1, 1].result.reward == 10.0
    assert finish(doubler, job(2, seed=1)).result.reward == 2.0


def test_many_jobs_through_few_workers(make_local):
    executor = make_local(lambda policy, seed: seed, workers=3)
    waiting, running, rewards = list(range(300)), 0, {}
    while waiting or running:
        while waiting and running < executor.capacity:
            trial = waiting.pop()
            executor.submit(job(trial, seed=trial))
            running += 1
        for done, outcome in executor.poll(PATIENCE):
            rewards[done.trial] = outcome.result.reward
            running -= 1
    assert rewards == {trial: float(trial) for trial in range(300)}


@pytest.mark.parametrize("start", ["forkserver", "spawn"])
def test_after_close_no_process_is_left(make_local, tmp_path, start):
    def evaluate(policy, seed):
        child = subprocess.Popen(["sleep", "1000"])
        (tmp_path / "pids").write_text(f"{os.getppid()} {os.getpid()} {child.pid}\n")
        return 1.0 if seed else time.sleep(1000)

    executor = make_local(evaluate, workers=2, start=start)
    finish(executor, job(1, seed=1))  # leaves its child behind
    left = numbers(tmp_path / "pids", 3)
    (tmp_path / "pids").unlink()
    executor.submit(job(2))
    running = numbers(tmp_path / "pids", 3)
    assert all(alive(pid) for pid in {*left, *running})
    executor.close()
    assert_gone([*left, *running])


def test_it_leaves_no_thread_and_no_descriptor_in_the_driver(make_local):
    make_local(lambda policy, seed: 1.0).close()
    threads, descriptors = threading.active_count(), len(os.listdir("/dev/fd"))
    for _ in range(3):
        executor = make_local(lambda policy, seed: 1.0)
        finish(executor, job(1))
        assert threading.active_count() == threads
        executor.close()
    assert len(os.listdir("/dev/fd")) == descriptors


def test_wrong_arguments_are_refused(make_local, tmp_path):
    lock = threading.Lock()

    def locked(policy, seed):
        return lock.locked()

    for settings, message in [
        ({"workers": 0}, "workers is 0; expected at least 1"),
        ({"workers": 1.5}, "workers is 1.5; expected at least 1"),
        ({"timeout": "1h"}, "timeout is '1h'; expected seconds above 0, or None for no limit"),
        ({"timeout": 0}, "timeout is 0; expected seconds above 0, or None for no limit"),
        ({"timeout": float("nan")}, "timeout is nan; expected seconds above 0, or None for no limit"),
        ({"devices": ()}, r"devices is \(\); expected at least one"),
        ({"start": "fork"}, "start is 'fork'; expected 'forkserver', 'spawn' or None"),
        ({"preload": ["nix_da"]}, "preload names 'nix_da', which cannot be imported; leave it out"),
        ({"preload": ["nix.da"]}, "preload names 'nix.da', which cannot be imported; leave it out"),
        (
            {"evaluate": locked},
            r"evaluate cannot be sent to a worker \(.*lock.*\); create what cannot be pic",
        ),
    ]:
        with pytest.raises(UsageError, match=message):
            make_local(**{"evaluate": lambda policy, seed: 1.0} | settings)


def test_importing_it_does_not_load_torch():
    stub = (
        "import sys, types, importlib.util as u; package = types.ModuleType('autodropout');"
        "package.__path__ = list(u.find_spec('autodropout').submodule_search_locations);"
        "sys.modules['autodropout'] = package;"
        "import autodropout.engine.executors.local, autodropout.engine.executors.inline;"
        "sys.exit('torch' in sys.modules)"
    )
    subprocess.run([sys.executable, "-c", stub], check=True, timeout=PATIENCE)
