"""Throw everything at a search, then check that it has lost, invented and mixed up nothing.

    python benchmarks/chaos.py                          # 100 kills of driver and workers, some minutes
    python benchmarks/chaos.py --executor ray --kills 20

One trial in four misbehaves: it raises, hangs past its time limit, returns NaN or garbage, exhausts its
memory, kills itself. Meanwhile drivers, workers and nodes are killed at random, the disk fills up, the ledger
becomes read-only, a second search is started on it, and every driver's clock jumps. Whenever a driver has
ended, what the ledger had acknowledged before is compared with what it holds now and with the log of an
independent witness, to which the trials write. The figures go to results/chaos-EXECUTOR.json.
"""

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")

import argparse
import multiprocessing
import random
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any, get_args

import record
from chaos_checks import Known, check_clock, check_end, ended_as_told
from chaos_driver import NO_STUDY, Config, ExecutorName
from chaos_events import PATIENCE, NodeKiller, Start, Victim, errors, small_disk
from chaos_processes import left_over
from chaos_trials import KINDS, mend

KILLS = ("kill the driver", "kill a worker", "kill the server of the workers", "kill a Ray node")
CLOCK = "set the clock back"
MORE_TRIALS = 24
_MOST_RESTARTS = 30
_SMALL_NODE = {"num_cpus": 2, "object_store_memory": 80 * 2**20}

Event = Callable[[], bool]


def events(victim: Victim, kills: int, disk: bool, nodes: NodeKiller | None) -> list[tuple[str, Event]]:
    """Return what is to be thrown, in random order: so many kills, and everything else beside them.

    Args:
        victim: The driver.
        kills: Number of kills.
        disk: Whether the search lies on a small disk that may be filled.
        nodes: Kills nodes, where there are any.
    """
    rare = max(kills // 20, 1)
    last: tuple[str, Event] = (KILLS[3], nodes) if nodes else (KILLS[2], victim.kill_server)
    few = max(kills // 10, 1)
    thrown = [(KILLS[0], victim.kill)] * max(3 * kills // 10, 1) + [last] * few
    thrown += [(KILLS[1], victim.kill_worker)] * (kills - len(thrown))
    thrown += [("stop the driver", victim.stop), ("freeze the driver", victim.freeze)] * rare
    thrown += [("start a second search", victim.second_loop), ("read-only ledger", victim.read_only)] * rare
    thrown += [("no file may grow", victim.no_more_bytes)] * rare
    thrown += [("full disk", victim.fill_disk)] * (rare if disk else 0)
    random.Random(victim.config.seed).shuffle(thrown)
    return thrown


def torment(
    config: Config, kills: int, start: Start, *, disk: bool = False, nodes: NodeKiller | None = None
) -> dict[str, Any]:
    """Run a search to its end while things are thrown at it; return what was thrown and what came out.

    Args:
        config: The search.
        kills: Processes and nodes to kill.
        start: Starts processes.
        disk: Whether to put the search on a small file system of its own, which root can, and fill it.
        nodes: Kills nodes, where there are any.

    Raises:
        AssertionError: Something was lost, invented, counted or taught twice, a kind of misbehaviour never
            ended as it must, the clock was never set back, or the search does not end.
    """
    rng, thrown, known, began = random.Random(config.seed), Counter[str](), Known(), time.monotonic()
    with small_disk(config.out, disk) as small:
        victim = Victim(config, start, rng)
        try:
            for name, event in events(victim, kills, small, nodes):
                _throw(event, victim, known, rng)
                thrown[name] += 1
            _finish(victim, known)
        finally:
            victim.abandon()
        found = check_end(victim.config)
        thrown[CLOCK] = check_clock(victim.config)
    return found | {
        "kills": sum(thrown[name] for name in KILLS),
        "thrown": dict(thrown),
        "drivers": victim.exits,
        "checks_of_the_ledger": known.stops,
        "errors": dict(Counter(text.replace(str(config.folder), "") for text in errors(config))),
        "seconds": time.monotonic() - began,
    }


def _throw(event: Event, victim: Victim, known: Known, rng: random.Random) -> None:
    for _ in range(_MOST_RESTARTS):
        if _thrown(event, victim, known, rng):
            return
    raise AssertionError(f"no driver lives long enough: {victim.exits}, {errors(victim.config)[-3:]}")


def _thrown(event: Event, victim: Victim, known: Known, rng: random.Random) -> bool:
    """Let the search go on a little and throw one thing; return whether it could be thrown."""
    if not victim.alive:
        _again(victim, known)
    if rng.random() < 0.8:  # else the driver may still be starting
        victim.await_progress()
    time.sleep(rng.uniform(0.0, 0.2))
    return victim.alive and event()


def _again(victim: Victim, known: Known) -> None:
    """Look at what the last driver left, do what a user would do, and start the next one."""
    code = victim.end()
    if victim.config.executor == "local":
        assert not (left := left_over(victim.config.folder, PATIENCE)), (
            f"workers outlived their driver: {left}"
        )
    known.check(victim.config)
    if code == 0:
        victim.config = replace(victim.config, trials=victim.config.trials + MORE_TRIALS)
    if code == NO_STUDY:
        mend(victim.config.folder)
    victim.begin()


def _finish(victim: Victim, known: Known) -> None:
    """Let the search come to its end, and go on until of every kind one has ended as it must."""
    for _ in range(_MOST_RESTARTS):
        if victim.end() == 0 and not missing(victim.config):
            known.check(victim.config)
            return
        _again(victim, known)
    raise AssertionError(
        f"the search does not end, or these never as they must, {missing(victim.config)}: "
        f"{victim.exits}, {errors(victim.config)[-3:]}"
    )


def missing(config: Config) -> list[str]:
    """Return the kinds of misbehaviour of which no trial has ended as the table of kinds says."""
    seen = ended_as_told(config)
    return [kind for kind in KINDS if not seen[kind]]


def launched(function: Callable[[Config], None], config: Config) -> BaseProcess:
    """Start a function in a copy of a process that has everything loaded but Ray, which this one may have."""
    context = multiprocessing.get_context("forkserver")
    # The last is loaded at an optimiser's first use, and looks for a folder that may be written to.
    context.set_forkserver_preload(["autodropout.engine.run", "autodropout.token_space", "torch._dynamo"])
    process = context.Process(target=function, args=(config,))
    process.start()
    return process


def spawned(function: Callable[[Config], None], config: Config) -> BaseProcess:
    """Start a function in a new interpreter: one that is connected to Ray must not be copied."""
    process = multiprocessing.get_context("spawn").Process(target=function, args=(config,))
    process.start()
    return process


@contextmanager
def ray_cluster(nodes: int = 2) -> Iterator[tuple[str, NodeKiller]]:
    """Start a Ray cluster of several nodes on this machine; the head runs no trials."""
    from ray.cluster_utils import Cluster as RayCluster

    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    head = _SMALL_NODE | {"num_cpus": 0, "include_dashboard": False}
    cluster = RayCluster(initialize_head=True, head_node_args=head)
    try:
        others = [cluster.add_node(**_SMALL_NODE) for _ in range(nodes)]
        yield cluster.address, NodeKiller(cluster, _SMALL_NODE, others)
    finally:
        cluster.shutdown()


def main(arguments: Sequence[str] | None = None) -> None:
    """Torment a search and write what came out."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--executor", choices=get_args(ExecutorName), default="local", help="what runs trials"
    )
    parser.add_argument("--kills", type=int, default=100, help="processes and nodes to kill")
    parser.add_argument("--seed", type=int, default=7, help="of everything")
    given = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        config = Config(folder=Path(folder), trials=MORE_TRIALS, executor=given.executor, seed=given.seed)
        if given.executor == "local":
            found = torment(config, given.kills, launched, disk=True)
        else:
            address, nodes = stack.enter_context(ray_cluster())
            config = replace(config, address=address, seconds=0.2, timeout=4.0)
            found = torment(config, given.kills, spawned, nodes=nodes)
    record.write(f"chaos-{given.executor}", found)


if __name__ == "__main__":
    main()
