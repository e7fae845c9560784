"""Fractions of a GPU on a real Ray cluster. The GPU is made up: Ray counts it, nothing computes on it."""

import os
import time

import pytest
from clusters import closing_all, cluster_of, ray

from autodropout.engine.executors.base import Done
from autodropout.engine.executors.cluster import Cluster
from contracts.executor import PATIENCE, collect, job

pytestmark = pytest.mark.slow


@pytest.fixture
def make():
    with cluster_of(4, num_gpus=1) as cluster, closing_all() as make:
        ray.init(cluster.address, log_to_driver=False, logging_level="ERROR")
        yield make


def together(folder, number):
    """An evaluation that waits for as many to have begun, and returns which GPU it sees."""

    def evaluate(policy, seed):
        (folder / f"{seed}").write_text(os.environ.get("CUDA_VISIBLE_DEVICES", "none"))
        limit = time.monotonic() + PATIENCE
        while len(list(folder.iterdir())) < number and time.monotonic() < limit:
            time.sleep(0.02)
        return float(len(list(folder.iterdir())))

    return evaluate


def test_four_trials_of_a_quarter_share_the_only_gpu(make, tmp_path):
    executor = make(together(tmp_path, 4), cluster=Cluster(cpus=0.5, gpus=0.25))
    assert executor.capacity == 4, "eight would find cores, four find a GPU"
    for trial in range(4):
        executor.submit(job(trial, seed=trial))
    outcomes = collect(executor, 4).values()
    assert all(isinstance(outcome, Done) and outcome.result.reward == 4.0 for outcome in outcomes)
    assert {path.read_text() for path in tmp_path.iterdir()} == {"0"}


def test_a_trial_that_takes_the_whole_gpu_is_alone(make):
    assert make(lambda policy, seed: 1.0, cluster=Cluster(cpus=0.5, gpus=1)).capacity == 1
