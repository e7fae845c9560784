import os
import signal
import subprocess
import sys
import time

import pytest
from processes import alive, assert_gone, numbers, script

from autodropout.engine.executors.base import Lost
from autodropout.errors import StudyError
from contracts.executor import PATIENCE, finish, job

LONG_TRIAL = """
def evaluate(policy, seed):
    child = subprocess.Popen(["sleep", "1000"])
    Path("pids").write_text(f"{os.getppid()} {os.getpid()} {child.pid}\\n")
    SLEEP(1000)

executor = LocalExecutor(evaluate, workers=2, preload=(), start=START)
BEFORE
executor.submit(Job(trial=1, attempt=1, policy=Policy({}), seed=0))
THEN
"""

SLEEP = "time.sleep"
DEAF_SLEEP = "__import__('ctypes').PyDLL(None).sleep"  # keeps the interpreter lock: no thread can run


def long_trial(folder, then="executor.poll(1000)", *, before="", start="forkserver", sleep=SLEEP, **options):
    """Start a driver with a long trial; return it with the processes that it has caused."""
    body = LONG_TRIAL.replace("START", repr(start)).replace("SLEEP", sleep)
    body = body.replace("BEFORE", before).replace("THEN", then)
    driver = script(folder, body, **options)
    return driver, numbers(folder / "pids", 3)


@pytest.mark.parametrize("sleep", [SLEEP, DEAF_SLEEP])
@pytest.mark.parametrize("start", ["forkserver", "spawn"])
def test_nothing_outlives_a_killed_driver(tmp_path, start, sleep):
    driver, pids = long_trial(tmp_path, start=start, sleep=sleep)
    assert all(alive(pid) for pid in pids)
    driver.kill()
    driver.wait()
    assert_gone(pids)


def test_nothing_outlives_a_killed_driver_whose_children_live_on(tmp_path):
    """They have inherited the driver's end of every pipe."""
    fork = "if os.fork() == 0:\n    Path('child').write_text(f'{os.getpid()}\\n')\n    time.sleep(1000)"
    driver, pids = long_trial(tmp_path, before=fork)
    [child] = numbers(tmp_path / "child", 1)
    driver.kill()
    driver.wait()
    try:
        assert_gone(pids)
        assert alive(child)
    finally:
        os.kill(child, signal.SIGKILL)


def test_nothing_outlives_driver_and_server_killed_together(tmp_path):
    driver, pids = long_trial(tmp_path)
    os.kill(pids[0], signal.SIGSTOP)  # so that it cannot do anything in between
    driver.kill()
    os.kill(pids[0], signal.SIGKILL)
    driver.wait()
    assert_gone(pids)


BEGUN = "while not (Path('pids').exists() and Path('pids').read_text()):\n    executor.poll(0.01)\n"


@pytest.mark.parametrize(
    "then", ["executor.close()", "executor.poll(0.1)", "sys.exit(3)", "os._exit(3)", "raise ValueError"]
)
def test_a_driver_that_ends_leaves_nothing(tmp_path, then):
    driver, pids = long_trial(tmp_path, BEGUN + then, sleep=DEAF_SLEEP, stderr=subprocess.DEVNULL)
    driver.wait(PATIENCE)
    assert_gone(pids)


def test_ctrl_c_does_not_reach_the_workers(tmp_path):
    body = """
def evaluate(policy, seed):
    Path("began").write_text(f"{os.getpid()}\\n")
    while not Path("go").exists():
        time.sleep(0.01)
    return 1.0

executor = LocalExecutor(evaluate, workers=1, preload=())
executor.submit(Job(trial=1, attempt=1, policy=Policy({}), seed=0))
try:
    executor.poll(1000)
except KeyboardInterrupt:
    Path("go").touch()
    print(executor.poll(60.0)[0][1].result.reward)
executor.close()
"""
    driver = script(tmp_path, body, stdout=subprocess.PIPE, start_new_session=True)
    numbers(tmp_path / "began", 1)
    os.killpg(driver.pid, signal.SIGINT)
    assert driver.communicate(timeout=PATIENCE)[0] == "1.0\n"


def test_a_killed_server_is_replaced(make_local, tmp_path):
    def evaluate(policy, seed):
        (tmp_path / "pids").write_text(f"{os.getppid()} {os.getpid()}\n")
        return time.sleep(1000) if seed else 1.0

    executor = make_local(evaluate, workers=2)
    for attempt in range(1, 6):
        executor.submit(job(1, attempt, seed=1))
        pids = numbers(tmp_path / "pids", 2)
        os.kill(pids[0], signal.SIGKILL)
        assert executor.poll(PATIENCE)[0][1] == Lost(
            reason="the server of the workers was killed by SIGKILL (by hand, or because memory ran out)"
        )
        assert_gone(pids)
        assert finish(executor, job(2, attempt)).result.reward == 1.0
        (tmp_path / "pids").unlink()


def test_a_server_that_cannot_start_is_an_error(make_local, tmp_path, monkeypatch):
    (tmp_path / "broken_module.py").write_text("raise RuntimeError('broken by design')")
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    executor = make_local(lambda policy, seed: 1.0, preload=["broken_module"], log_dir=tmp_path)
    with pytest.raises(StudyError) as caught:
        finish(executor, job(1))
    log = tmp_path / "workers.log"
    assert str(caught.value) == (
        "no worker can be started: their server ended itself with exit code 1, 3 times in a row; "
        f"what it printed is in {log}"
    )
    assert log.read_text().count("RuntimeError: broken by design") == 3


def test_a_server_without_an_interpreter_is_an_error(make_local, monkeypatch):
    monkeypatch.setattr(sys, "executable", "/nowhere/python")
    with pytest.raises(StudyError, match=r"the server of the workers cannot be started: .*nowhere"):
        make_local(lambda policy, seed: 1.0)
