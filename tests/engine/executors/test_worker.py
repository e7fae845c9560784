# ruff: noqa: T201  (trials print)
import functools
import multiprocessing
import os
import subprocess
import sys
import time

import pytest
from processes import SCRIPT, numbers

from contracts.executor import PATIENCE, collect, finish, job


def test_functions_of_every_kind_travel(make_local):
    factor = 3

    def closure(policy, seed):
        return factor * seed

    class Model:
        def __call__(self, policy, seed):
            return factor + seed

    for evaluate in (closure, lambda policy, seed: factor * seed, functools.partial(closure)):
        assert finish(make_local(evaluate, workers=1), job(1, seed=2)).result.reward == 6.0
    assert finish(make_local(Model(), workers=1), job(1, seed=2)).result.reward == 5.0


def test_a_large_evaluation_travels(make_local):
    data = bytes(range(256)) * 40_000
    executor = make_local(lambda policy, seed: sum(data[:256]) + len(data))
    assert finish(executor, job(1)).result.reward == 32640 + 10_240_000


SCRIPT_BODY = """
with open("executions", "a") as file:
    file.write(f"{__name__}\\n")

class Scale:
    factor = 3.0

def evaluate(policy, seed):
    return Scale.factor * seed

executor = LocalExecutor(evaluate, workers=2, preload=(), start=START)
print(finish(executor, 1, seed=2).result.reward)
executor.close()
"""


@pytest.mark.parametrize("start", ["forkserver", "spawn"])
@pytest.mark.parametrize("how", ["script", "stdin", "module"])
def test_a_script_without_a_main_guard_runs_once(tmp_path, how, start):
    text = SCRIPT + SCRIPT_BODY.replace("START", repr(start))
    (tmp_path / "driver.py").write_text(text)
    arguments = {"script": ["driver.py"], "stdin": ["-"], "module": ["-m", "driver"]}[how]
    done = subprocess.run(
        [sys.executable, *arguments],
        cwd=tmp_path,
        input=text,
        text=True,
        capture_output=True,
        timeout=PATIENCE,
    )
    assert (done.stdout, done.stderr, done.returncode) == ("6.0\n", "", 0)
    assert (tmp_path / "executions").read_text() == "__main__\n"


def test_the_output_of_child_processes_is_in_the_log(make_local, tmp_path):
    def evaluate(policy, seed):
        print("first")
        subprocess.run(["sh", "-c", "echo second; echo third >&2"], check=True)
        os.write(1, b"fourth\n")
        return 1.0

    finish(make_local(evaluate, log_dir=tmp_path), job(1))
    assert (tmp_path / "trial-000001-1.log").read_text() == "first\nsecond\nthird\nfourth\n"


def test_what_is_printed_between_trials_is_kept_apart(make_local, tmp_path):
    class Chatty:
        def __call__(self, policy, seed):
            print("during")
            return 1.0

        def __getstate__(self):
            return {"some": "state"}

        def __setstate__(self, state):
            print("before")

    finish(make_local(Chatty(), workers=1, log_dir=tmp_path), job(1))
    assert (tmp_path / "trial-000001-1.log").read_text() == "during\n"
    assert (tmp_path / "workers.log").read_text() == "before\n"


def test_a_line_is_in_the_log_at_once(make_local, tmp_path):
    def evaluate(policy, seed):
        print(os.getpid())
        time.sleep(1000)

    make_local(evaluate, log_dir=tmp_path).submit(job(1))
    numbers(tmp_path / "trial-000001-1.log", 1)


def test_workers_may_have_children_by_multiprocessing(make_local):
    def evaluate(policy, seed):
        context = multiprocessing.get_context("fork")
        queue = context.SimpleQueue()
        child = context.Process(target=queue.put, args=(seed + 1,))
        child.start()
        child.join()
        return queue.get()

    assert finish(make_local(evaluate), job(1, seed=4)).result.reward == 5.0


def test_torch_is_loaded_single_threaded_and_its_loaders_may_have_workers(make_local, monkeypatch):
    def evaluate(policy, seed):
        assert "torch" in sys.modules
        import torch
        from torch.utils.data import DataLoader

        loader = DataLoader(torch.arange(10.0), batch_size=5, num_workers=2)
        return sum(batch.sum() for batch in loader) * 10 + torch.get_num_threads()

    monkeypatch.setenv("OMP_NUM_THREADS", "7")
    executor = make_local(evaluate, workers=1, preload=("torch",))
    assert finish(executor, job(1)).result.reward == 451.0  # a 0-dim tensor
    assert os.environ["OMP_NUM_THREADS"] == "7"


def test_workers_have_one_thread_by_their_environment(make_local, monkeypatch):
    monkeypatch.setenv("MKL_NUM_THREADS", "7")

    def evaluate(policy, seed):
        return int(os.environ["OMP_NUM_THREADS"] + os.environ["MKL_NUM_THREADS"])

    for start in ("forkserver", "spawn"):
        assert finish(make_local(evaluate, start=start), job(1)).result.reward == 11.0
    assert os.environ["MKL_NUM_THREADS"] == "7"


def test_slots_get_their_devices_in_turn(make_local, tmp_path, monkeypatch):
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)

    class Evaluate:
        def __init__(self):
            self.seen_on_loading = None

        def __setstate__(self, state):
            self.seen_on_loading = os.environ["CUDA_VISIBLE_DEVICES"]

        def __call__(self, policy, seed):
            (tmp_path / f"{seed}").touch()
            while len(list(tmp_path.iterdir())) < 3:
                time.sleep(0.01)
            return 100 * int(self.seen_on_loading) + int(os.environ["CUDA_VISIBLE_DEVICES"])

    executor = make_local(Evaluate(), workers=3, devices=(4, "7"))
    for seed in range(3):
        executor.submit(job(seed, seed=seed))
    rewards = [outcome.result.reward for outcome in collect(executor, 3).values()]
    assert sorted(rewards) == [404.0, 404.0, 707.0]
    assert "CUDA_VISIBLE_DEVICES" not in os.environ
