"""What a trial costs beside its training when it runs on Ray, and in worker processes on this machine.

    python benchmarks/cluster_overhead.py

Trials end at once, so all that is measured is ours and Ray's: from submitting a trial to its outcome with
one in flight, and the time per trial with every slot busy. The Ray cluster is started here. The two
executors take turns, so that what else the machine does falls on both.
"""

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")

import argparse
import statistics
import tempfile
import time
from collections.abc import Sequence
from contextlib import closing
from importlib.metadata import version
from pathlib import Path

import record
from autodropout.engine.executors.base import Done, Executor, Job
from autodropout.engine.executors.cluster import Cluster
from autodropout.engine.executors.local import LocalExecutor
from autodropout.engine.executors.ray.executor import RayExecutor
from autodropout.pattern import ConvPattern
from autodropout.policy import Policy

SLOTS = 2
POLICY = Policy(
    {f"layer{n}": ConvPattern(height=2, width=2, stride=1, repeat=2, rate=0.5) for n in range(12)}
)


def evaluate(policy: Policy, seed: int) -> float:
    """Train nothing."""
    return len(policy.sites) + seed % 97 / 97


class Stream:
    """Submits trials with rising numbers to an executor."""

    def __init__(self, executor: Executor) -> None:
        self._executor, self._number = executor, 0

    def alone(self) -> float:
        """Run one trial and return the seconds from submitting it to its outcome."""
        began = time.perf_counter()
        self._submit()
        assert self._ended() == 1
        return time.perf_counter() - began

    def together(self, trials: int) -> float:
        """Run trials with every slot busy and return the seconds that each of them took on average."""
        began, waiting, running = time.perf_counter(), trials, 0
        while waiting or running:
            while waiting and running < SLOTS:
                self._submit()
                waiting, running = waiting - 1, running + 1
            running -= self._ended()
        return (time.perf_counter() - began) / trials

    def _submit(self) -> None:
        self._number += 1
        self._executor.submit(Job(trial=self._number, attempt=1, policy=POLICY, seed=self._number))

    def _ended(self) -> int:
        ended = self._executor.poll(60.0)
        assert ended
        assert all(isinstance(outcome, Done) for _, outcome in ended)
        return len(ended)


def measure(executors: dict[str, Executor], rounds: int, trials: int) -> dict[str, object]:
    """Measure the executors in turns; the first round of each is not counted."""
    streams = {name: Stream(executor) for name, executor in executors.items()}
    alone: dict[str, list[float]] = {name: [] for name in streams}
    together: dict[str, list[float]] = {name: [] for name in streams}
    for number in range(rounds + 1):
        for name, stream in streams.items():
            once, many = [stream.alone() for _ in range(trials)], stream.together(trials)
            if number:
                alone[name].append(1000 * statistics.median(once))
                together[name].append(1000 * many)
    return {
        name: {
            "one trial in flight, submit to outcome": record.summary(alone[name], "ms"),
            f"{SLOTS} slots busy, per trial": record.summary(together[name], "ms"),
        }
        for name in streams
    }


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure and write results/cluster_overhead.json."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--trials", type=int, default=40, help="per round, executor and figure")
    asked = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder)
        began = time.perf_counter()
        share = Cluster(cpus=0.5, slots=SLOTS)
        ray = RayExecutor(evaluate, cluster=share, log_dir=out / "ray", results_dir=out / "results")
        start = time.perf_counter() - began
        with closing(ray), closing(LocalExecutor(evaluate, workers=SLOTS, log_dir=out / "local")) as local:
            figures = measure({"ray": ray, "local": local}, asked.rounds, asked.trials)
    start_figures = {
        "starting a cluster and the launcher, seconds": round(start, 2),
        "ray_version": version("ray"),
    }
    record.write("cluster_overhead", figures | start_figures)


if __name__ == "__main__":
    main()
