"""Ray clusters for tests: several nodes on this machine, as small as they can be."""

import os
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

ray = pytest.importorskip("ray")

from ray.cluster_utils import Cluster  # noqa: E402

from autodropout.engine.executors.ray.executor import RayExecutor  # noqa: E402

SMALL = {"object_store_memory": 80 * 2**20}


@contextmanager
def cluster_of(*cpus: int, num_gpus: int = 0) -> Iterator[Cluster]:
    """A cluster whose head and other nodes have so many CPUs each; this process is not connected.

    The head says that it has so many GPUs, too.
    """
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    head, *others = cpus
    settings = SMALL | {"num_cpus": head, "num_gpus": num_gpus, "include_dashboard": False}
    cluster = Cluster(initialize_head=True, head_node_args=settings)
    try:
        for number in others:
            cluster.add_node(num_cpus=number, **SMALL)
        yield cluster
    finally:
        ray.shutdown()
        cluster.shutdown()


@contextmanager
def closing_all() -> Iterator:
    """A maker of executors that are closed in the end."""
    built: list[RayExecutor] = []

    def make(evaluate, **settings):
        built.append(RayExecutor(evaluate, **settings))
        return built[-1]

    try:
        yield make
    finally:
        for executor in built:
            executor.close()
