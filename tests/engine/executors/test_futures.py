import multiprocessing
import os
import threading
import time
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor

import pytest

from autodropout.engine.confirm import Confirmation
from autodropout.engine.executors.base import Lost, Raised
from autodropout.engine.executors.futures import FuturesExecutor
from autodropout.engine.run import search
from autodropout.errors import StudyError, UsageError
from autodropout.token_space import TokenSpace
from contracts.executor import ExecutorContract, collect, finish, job

FORKSERVER = multiprocessing.get_context("forkserver")
SPACE = TokenSpace(sites=("query", "ffn"))


@pytest.fixture(scope="module")
def processes():
    with ProcessPoolExecutor(2, mp_context=FORKSERVER) as pool:
        yield pool


class TestProcesses(ExecutorContract):
    @pytest.fixture
    def make(self, processes):
        return lambda evaluate, **settings: FuturesExecutor(processes, evaluate, slots=2, **settings)


@pytest.fixture
def threads():
    with ThreadPoolExecutor(2) as pool:
        yield pool


def searched(pool, out, evaluate=lambda policy, seed: -len(policy.sites)):
    study = search(
        evaluate,
        SPACE,
        trials=6,
        searcher="random",
        executor=FuturesExecutor(pool, evaluate, slots=2),
        out=out,
        confirm=Confirmation(top=1, seeds=2),
    )
    assert study.finished
    assert [trial.state for trial in study.trials] == ["done"] * 8
    assert study.best.reward == max(-len(trial.policy.sites) for trial in study.trials)
    return study


def test_a_search_on_threads(threads, tmp_path):
    searched(threads, tmp_path)


def test_a_search_on_loky(tmp_path):
    loky = pytest.importorskip("loky")
    pool = loky.get_reusable_executor(max_workers=1)
    study = searched(pool, tmp_path, lambda policy, seed: -len(policy.sites) + 0 * os.getpid())
    pool.shutdown(kill_workers=True)
    assert len(study.trials) == 8


def test_a_search_on_dask(tmp_path):
    distributed = pytest.importorskip("distributed")
    with (
        distributed.LocalCluster(
            n_workers=1, threads_per_worker=2, processes=False, dashboard_address=None
        ) as cluster,
        distributed.Client(cluster) as client,
    ):
        searched(client.get_executor(), tmp_path)


TOGETHER = threading.Barrier(2, timeout=30)


def noisy(policy, seed):
    TOGETHER.wait()
    print(f"trial {seed}")  # noqa: T201
    if seed == 2:
        raise ValueError("gone wrong")
    return seed


def test_threads_of_the_driver_run_side_by_side_and_leave_its_streams_alone(threads, tmp_path, capsys):
    executor = FuturesExecutor(threads, noisy, slots=2, log_dir=tmp_path)
    executor.submit(job(1, seed=1))
    executor.submit(job(2, seed=2))
    outcomes = collect(executor, 2)
    assert outcomes[1, 1].result.reward == 1.0
    assert outcomes[2, 1].error == "ValueError: gone wrong"
    assert sorted(capsys.readouterr().out.split()) == ["1", "2", "trial", "trial"]
    assert not (tmp_path / "trial-000001-1.log").exists()
    assert (tmp_path / "trial-000002-1.log").read_text().endswith("ValueError: gone wrong\n")


def test_what_cannot_be_pickled_is_refused(threads):
    with pytest.raises(UsageError, match=r"evaluate cannot be sent to a worker \(cannot pickle '_thread"):
        FuturesExecutor(threads, threading.Lock().acquire, slots=2)


def test_a_pool_that_breaks_loses_its_trials_and_takes_no_more(tmp_path):
    def evaluate(policy, seed):
        os._exit(1)

    with ProcessPoolExecutor(1, mp_context=FORKSERVER) as pool:
        executor = FuturesExecutor(pool, evaluate, slots=1)
        outcome = finish(executor, job(1))
        assert isinstance(outcome, Lost)
        assert outcome.reason.startswith("the pool lost it (BrokenProcessPool: A process in the process pool")
        with pytest.raises(
            StudyError, match=r"the pool takes no more trials \(.*\); build a new one and res"
        ):
            executor.submit(job(1, attempt=2))


def test_a_search_whose_pool_broke_goes_on_with_a_new_one(tmp_path):
    def evaluate(policy, seed):
        if not (tmp_path / "died").exists():
            (tmp_path / "died").touch()
            os._exit(1)
        return -len(policy.sites)

    with (
        ProcessPoolExecutor(1, mp_context=FORKSERVER) as pool,
        pytest.raises(StudyError, match="build a new"),
    ):
        searched(pool, tmp_path / "out", evaluate)
    with ProcessPoolExecutor(1, mp_context=FORKSERVER) as pool:
        searched(pool, tmp_path / "out", evaluate)


def test_a_pool_that_was_shut_down_takes_no_more():
    with ThreadPoolExecutor(1) as pool:
        executor = FuturesExecutor(pool, lambda policy, seed: 1.0, slots=1)
    with pytest.raises(StudyError, match="the pool takes no more trials"):
        executor.submit(job(1))


def test_a_growing_pool_is_asked_for_its_size(threads):
    size = [1]
    executor = FuturesExecutor(threads, lambda policy, seed: 1.0, slots=lambda: size[0])
    assert executor.capacity == 1
    size[0] = 7
    assert executor.capacity == 1  # it does not change between two polls: who saw a free slot may use it
    executor.poll(0.0)
    assert executor.capacity == 7
    size[0] = 0
    executor.poll(0.0)
    assert executor.capacity == 1


def test_a_failure_to_keep_output_waits_until_what_ended_is_heard(tmp_path):
    def evaluate(policy, seed):
        if seed:
            raise OSError(28, "No space left on device", "weights.pt")
        return 1.0

    with ProcessPoolExecutor(1, mp_context=FORKSERVER) as pool:
        executor = FuturesExecutor(pool, evaluate, slots=2)
        executor.submit(job(1))
        executor.submit(job(2, seed=1))
        time.sleep(0.5)
        assert collect(executor, 1)[1, 1].result.reward == 1.0
        with pytest.raises(OSError, match=r"weights.pt cannot be written \(No space left"):
            collect(executor, 1)
        assert isinstance(finish(executor, job(3)), type(finish(executor, job(4))))


@pytest.mark.parametrize("slots", [0, -1, True, 1.5, None, lambda: -1, lambda: "2"])
def test_a_number_of_slots_that_is_none_is_refused(threads, slots):
    with pytest.raises(UsageError, match=r"slots is .*; expected at least 1, or a function that returns"):
        FuturesExecutor(threads, lambda policy, seed: 1.0, slots=slots)


def test_a_timeout_is_refused(threads):
    with pytest.raises(UsageError, match=r"timeout is 5; a pool's trials cannot be killed, use the local ex"):
        FuturesExecutor(threads, lambda policy, seed: 1.0, slots=1, timeout=5)


def test_an_evaluation_that_cannot_be_loaded_over_there_is_raised(threads):
    class Broken:
        def __call__(self, policy, seed):
            return 1.0

        def __reduce__(self):
            return int, ("no number",)

    outcome = finish(FuturesExecutor(threads, Broken(), slots=1), job(1))
    assert isinstance(outcome, Raised)
    assert outcome.error.startswith("evaluate cannot be loaded in a worker: ValueError: invalid literal")
