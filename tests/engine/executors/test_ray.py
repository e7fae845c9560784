"""The executor on a real Ray cluster: a head and one more node, both on this machine."""

import os
import signal
import time
import warnings

import pytest
from clusters import SMALL, closing_all, cluster_of, ray
from processes import assert_gone, numbers

from autodropout.engine.executors import kept
from autodropout.engine.executors.base import Done, Lost, Raised, TimedOut
from autodropout.engine.executors.cluster import Cluster
from autodropout.engine.executors.ray import executor as ray_executor
from autodropout.errors import StudyError, UsageError
from autodropout.result import Result
from contracts.executor import PATIENCE, ExecutorContract, collect, finish, job

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def cluster():
    with cluster_of(1, 1) as cluster:
        ray.init(cluster.address, log_to_driver=False, logging_level="ERROR")
        yield cluster


@pytest.fixture
def make(cluster):
    with closing_all() as make:
        yield make


class TestRay(ExecutorContract):
    @pytest.fixture
    def make(self, cluster):
        with closing_all() as make:
            yield make


def until(condition):
    limit = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < limit
        time.sleep(0.05)


def waiting(folder):
    """An evaluation that notes its process, then waits for a file when its seed is not 0."""

    def evaluate(policy, seed):
        with open(folder / f"pid-{seed}", "a") as file:
            file.write(f"{os.getpid()}\n")
        while seed and not (folder / "go").exists():
            time.sleep(0.02)
        return seed

    return evaluate


def test_room_is_both_nodes_and_more_trials_share_a_core(make):
    assert make(lambda policy, seed: 1.0).capacity == 2
    assert make(lambda policy, seed: 1.0, cluster=Cluster(cpus=0.25)).capacity == 8
    assert make(lambda policy, seed: 1.0, cluster=Cluster(slots=5)).capacity == 5


def test_a_trial_that_fits_nowhere_waits_with_a_warning(make):
    with pytest.warns(
        UserWarning, match="no node of the cluster has the 1 CPUs and 1 GPUs that a trial take"
    ):
        executor = make(lambda policy, seed: 1.0, cluster=Cluster(gpus=1))
    assert executor.capacity == 1


@pytest.mark.parametrize(
    "end", ["os.kill(os.getpid(), 9)", "os._exit(3)", "__import__('ctypes').string_at(0)"]
)
def test_a_worker_that_goes_away_is_lost(make, end):
    executor = make(lambda policy, seed: eval(end, {"os": os}) if seed else 1.0)
    outcome = finish(executor, job(1, seed=1))
    assert isinstance(outcome, Lost)
    assert "was lost (WorkerCrashedError)" in outcome.reason
    assert finish(executor, job(1, attempt=2)).result.reward == 1.0


def test_a_trial_beyond_its_time_is_killed(make, tmp_path):
    def evaluate(policy, seed):
        with open(tmp_path / "pid", "a") as file:
            file.write(f"{os.getpid()}\n")
        while seed:
            pass
        return 1.0

    executor = make(evaluate, timeout=1.0)
    outcome = finish(executor, job(1, seed=1))
    assert isinstance(outcome, TimedOut)
    assert 1.0 <= outcome.seconds < PATIENCE
    assert_gone(numbers(tmp_path / "pid", 1))
    assert finish(executor, job(1, attempt=2)).result.reward == 1.0


def test_the_time_that_a_trial_waits_for_room_does_not_count(make):
    def evaluate(policy, seed):
        time.sleep(1.0)
        return 1.0

    executor = make(evaluate, timeout=1.8, cluster=Cluster(slots=5))
    for trial in range(5):
        executor.submit(job(trial))
    assert {type(outcome) for outcome in collect(executor, 5).values()} == {Done}


def test_cancelling_and_closing_kill_the_trial(make, tmp_path):
    executor = make(waiting(tmp_path))
    executor.submit(job(1, seed=1))
    executor.submit(job(2, seed=2))
    pids = [*numbers(tmp_path / "pid-1", 1), *numbers(tmp_path / "pid-2", 1)]
    executor.cancel(job(1))
    assert_gone(pids[:1])
    executor.close()
    assert_gone(pids)


def test_a_trial_has_as_many_threads_as_cpus(make):
    executor = make(lambda policy, seed: __import__("torch").get_num_threads(), cluster=Cluster(cpus=0.5))
    assert finish(executor, job(1)).result.reward == 1.0


def test_an_evaluation_that_cannot_be_loaded_over_there_is_raised(make):
    class Broken:
        def __call__(self, policy, seed):
            return 1.0

        def __reduce__(self):
            return int, ("no number",)

    outcome = finish(make(Broken()), job(1))
    assert isinstance(outcome, Raised)
    assert outcome.error.startswith("evaluate cannot be loaded in a worker: ValueError: invalid literal")


def test_results_wait_on_disk_until_the_next_poll(make, tmp_path):
    executor = make(lambda policy, seed: seed, results_dir=tmp_path / "results")
    assert finish(executor, job(1, seed=4)).result.reward == 4.0
    assert [path.name for path in (tmp_path / "results").iterdir()] == ["trial-000001-1.json"]
    executor.poll(0.0)
    assert list((tmp_path / "results").iterdir()) == []


def test_what_an_earlier_attempt_left_is_taken_in(make, tmp_path):
    executor = make(lambda policy, seed: 1.0, results_dir=tmp_path)
    kept.keep(tmp_path, job(1), Result(reward=42.0))
    kept.keep(tmp_path, job(2), Result(reward=43.0))
    assert finish(executor, job(1, attempt=2)).result.reward == 42.0
    assert finish(executor, job(2, attempt=1)).result.reward == 1.0, "a study that was here before"


def test_a_result_whose_bringer_died_is_on_disk(make, tmp_path):
    def evaluate(policy, seed):
        from autodropout.engine.executors import kept, remote

        def kept_and_lost(folder, job, result, keep=kept.keep):
            keep(folder, job, result)
            os.kill(os.getpid(), signal.SIGKILL)

        remote.kept.keep = kept_and_lost
        return 7.0

    outcome = finish(make(evaluate, results_dir=tmp_path), job(1))
    assert isinstance(outcome, Done)
    assert outcome.result.reward == 7.0


def test_the_next_driver_takes_over_what_runs(cluster, make, tmp_path):
    first = make(waiting(tmp_path), results_dir=tmp_path / "results")
    first.submit(job(1, seed=1))
    first.submit(job(2, seed=2))
    numbers(tmp_path / "pid-1", 1), numbers(tmp_path / "pid-2", 1)
    # The first driver is dead: it never asks again. (Killing one is in test_ray_search.)
    second = make(waiting(tmp_path), results_dir=tmp_path / "results")
    second.submit(job(1, attempt=2, seed=1))
    assert not second.poll(0.2)
    (tmp_path / "go").touch()
    second.submit(job(2, attempt=2, seed=2))
    outcomes = collect(second, 2)
    assert {key: outcome.result.reward for key, outcome in outcomes.items()} == {(1, 2): 1.0, (2, 2): 2.0}
    assert len((tmp_path / "pid-1").read_text().split()) == 1, "it ran once"
    assert not second.poll(0.1), "and is told of once"


def test_a_driver_with_another_evaluation_takes_nothing_over(cluster, make, tmp_path):
    first = make(waiting(tmp_path), results_dir=tmp_path / "results")
    first.submit(job(1, seed=1))
    pids = numbers(tmp_path / "pid-1", 1)
    second = make(lambda policy, seed: -1.0, results_dir=tmp_path / "results")
    assert_gone(pids)
    assert finish(second, job(1, attempt=2, seed=1)).result.reward == -1.0


def test_a_launcher_that_is_killed_loses_its_trials_and_is_replaced(make, tmp_path):
    executor = make(waiting(tmp_path))
    launcher = ray.get(executor._launcher.attach.remote())
    executor.submit(job(1, seed=1))
    pids = numbers(tmp_path / "pid-1", 1)
    os.kill(launcher, signal.SIGKILL)
    outcome = collect(executor, 1)[1, 1]
    assert outcome == Lost(reason="the launcher on the cluster's head node was lost")
    assert_gone(pids)
    assert finish(executor, job(1, attempt=2)).result.reward == 0.0


def test_a_forgotten_launcher_ends_itself_but_not_before_its_trials(make, tmp_path, monkeypatch):
    monkeypatch.setattr(ray_executor, "FORGOTTEN_SECONDS", 0.5)
    executor = make(waiting(tmp_path), results_dir=tmp_path / "results")
    executor.submit(job(1, seed=1))
    launcher = ray.get(executor._launcher.attach.remote())
    numbers(tmp_path / "pid-1", 1)
    time.sleep(2.0)
    os.kill(launcher, 0)
    (tmp_path / "go").touch()
    assert_gone([launcher])
    assert [path.name for path in (tmp_path / "results").iterdir()] == ["trial-000001-1.json"]


def test_a_node_joins_and_is_killed(cluster, make, tmp_path):
    executor = make(waiting(tmp_path))
    assert executor.capacity == 2
    node = cluster.add_node(num_cpus=2, **SMALL)
    until(lambda: executor.poll(0.1) or executor.capacity == 4)
    for trial in range(1, 5):
        executor.submit(job(trial, seed=trial))
    for trial in range(1, 5):
        numbers(tmp_path / f"pid-{trial}", 1)
    cluster.remove_node(node, allow_graceful=False)
    outcomes = collect(executor, 2)
    assert {type(outcome) for outcome in outcomes.values()} == {Lost}
    until(lambda: executor.poll(0.1) or executor.capacity == 2)
    (tmp_path / "go").touch()
    assert {type(outcome) for outcome in collect(executor, 2).values()} == {Done}


def test_a_folder_that_a_node_does_not_see_is_told_of_once(make, tmp_path, monkeypatch):
    executor = make(lambda policy, seed: 1.0, log_dir=tmp_path / "logs")
    for path in (tmp_path / "logs").iterdir():
        path.unlink()
    (tmp_path / "logs").rmdir()  # as it is for a node elsewhere
    with pytest.warns(UserWarning, match=r"does not see .*logs: what trials print there stays in Ray's logs"):
        assert finish(executor, job(1)).result.reward == 1.0
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        finish(executor, job(2))


def test_a_cluster_that_is_gone_is_an_error(make, monkeypatch):
    executor = make(lambda policy, seed: 1.0)

    def fail(*_, **__):
        raise ray.exceptions.RaySystemError("the control store is gone")

    monkeypatch.setattr(ray_executor.ray, "get", fail)
    with pytest.raises(
        StudyError, match=r"the Ray cluster does not answer \(RaySystemError: .*\); restart it"
    ):
        executor.poll(0.0)


@pytest.mark.parametrize("timeout", [0, -1.0, "10"])
def test_a_timeout_that_is_none_is_refused(make, timeout):
    with pytest.raises(UsageError, match=r"timeout is .*; expected seconds above 0, or None for no limit"):
        make(lambda policy, seed: 1.0, timeout=timeout)
