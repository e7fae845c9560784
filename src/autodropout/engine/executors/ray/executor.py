"""The executor: what a search asks of a Ray cluster."""

import hashlib
import json
import os
import time
import warnings
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Any

import ray
from ray import exceptions

from autodropout.engine.executors import attempt, kept, remote
from autodropout.engine.executors.base import Done, Evaluate, Job, Lost, Outcome
from autodropout.engine.executors.cluster import Cluster
from autodropout.engine.executors.ray.connecting import NAMESPACE, connect, nodes
from autodropout.engine.executors.ray.launcher import Ended, Key, Launcher, Setup
from autodropout.errors import LedgerError, StudyError, UsageError
from autodropout.result import Result

FORGOTTEN_SECONDS = 600.0
"""A launcher without trials that no driver asks for so long ends itself."""

_PATIENCE = 120.0  # seconds for an answer of the launcher: a crowded cluster starts processes slowly
_LOOK_SECONDS = 2.0  # how often the size of the cluster is looked at
_TRIES = 3
_ON_HEAD = {"node:__internal_head__": 0.001}


class RayExecutor:
    """Runs trials as Ray tasks, each attempt once: running them again is the search's business.

    The tasks belong to an actor of ours on the cluster's head node, the launcher. When the driver is
    killed, what runs on a cluster of its own goes on; a driver that is resumed on the same
    ``results_dir`` with the same ``evaluate`` takes those trials over, and takes in what has ended. A
    launcher without trials that no driver asks for ten minutes ends itself; ``close`` ends it at once, and
    with it everything that runs.

    Nodes may join, leave and be killed: ``capacity`` follows, and what ran on a lost node is ``Lost``.
    autodropout, and what ``evaluate`` imports, must be installed on every node.

    Args:
        evaluate: evaluate(policy, seed), the reward or a Result; judged as by the local executor.
        cluster: Which cluster, and what a trial takes of it. If this process is connected to a cluster
            already, that one is used, and stays connected in the end.
        timeout: Seconds after which a trial that has begun is killed; None for no limit.
        log_dir: Folder for ``trial-000017-1.log`` (trial, attempt), which holds what the attempt printed.
            Nodes that do not see it leave that to Ray's own logs; a warning says so.
        results_dir: Folder where results wait until the search has recorded them, and what launchers are
            known by. None for neither: trials end with the driver.

    Raises:
        UsageError: An argument is wrong, there is no such cluster, or no trial will ever fit on it.
        LedgerError: A folder cannot be written to.

    Example:
        >>> how = Cluster(address="auto", cpus=4, gpus=0.5)
        >>> executor = RayExecutor(evaluate, cluster=how, timeout=3600)  # doctest: +SKIP
    """

    def __init__(
        self,
        evaluate: Evaluate,
        *,
        cluster: Cluster = Cluster(),  # noqa: B008  it is frozen
        timeout: float | None = None,
        log_dir: str | os.PathLike[str] | None = None,
        results_dir: str | os.PathLike[str] | None = None,
    ) -> None:
        data, limit = attempt.pickled(evaluate), attempt.checked_timeout(timeout)
        self._cluster = cluster
        self._jobs: dict[Key, Job] = {}
        self._ended: Ended = []
        self._heard: list[Job] = []
        self._faults: list[str] = []
        self._blind: set[str] = set()
        self._launcher: Any = None
        self._closed = False
        self._connection = connect(cluster)
        try:
            self._look()
            self._check_room()
            logs = None if log_dir is None else attempt.make_log_dir(log_dir)
            self._results = None if results_dir is None else attempt.make_folder(results_dir)
            self._setup = Setup(
                evaluate=data,
                place=remote.place(logs, self._results, threads=max(1, int(cluster.cpus))),
                cluster=cluster,
                timeout=limit,
                forgotten=FORGOTTEN_SECONDS,
            )
            self._launch()
        except BaseException:
            self.close()
            raise

    @property
    def capacity(self) -> int:
        """Trials that fit on the cluster at a time, at least 1, as of the last ``poll``."""
        return self._capacity

    def submit(self, job: Job) -> None:
        """Start a job as soon as the cluster has room for it.

        An earlier attempt at the trial that still runs, or that left its result, takes its place.

        Raises:
            StudyError: The cluster is gone.
            UsageError: No slot is free, the same attempt is running, or the executor is closed.
        """
        self._check_open()
        key = job.trial, job.attempt
        if key in self._jobs:
            raise UsageError(f"trial {job.trial}, attempt {job.attempt} is running already")
        if len(self._jobs) >= self._capacity:
            raise UsageError(f"all {self._capacity} slots are busy; poll until a job has ended")
        if result := self._left(job):
            self._ended.append((key, Done(result=result)))
        else:
            self._ask("submit", job)
        self._jobs[key] = job

    def poll(self, timeout: float) -> Sequence[tuple[Job, Outcome]]:
        """Return the jobs that ended, waiting at most ``timeout`` seconds for the first of them.

        Raises:
            LedgerError: The output of a job cannot be kept. The job is forgotten, others go on.
            StudyError: The cluster is gone.
            UsageError: The executor is closed.
        """
        self._check_open()
        if time.monotonic() - self._looked > _LOOK_SECONDS:
            self._look()
        heard, self._heard = self._heard, []
        for job in heard:  # by now they stand in the ledger
            if self._results is not None:
                kept.forget(self._results, job)
        wait = 0.0 if self._ended else max(timeout, 0.0)
        ended, blind = self._ask("poll", wait, [(job.trial, job.attempt) for job in heard], wait=wait)
        self._ended += ended
        for host in sorted(set(blind) - self._blind):
            self._blind.add(host)
            self._warn_of(host)
        return self._news()

    def cancel(self, job: Job) -> None:
        """Kill the job's worker; the job never shows up in ``poll``. Unknown jobs are ignored."""
        key = job.trial, job.attempt
        if self._jobs.pop(key, None):
            self._ended = [(other, outcome) for other, outcome in self._ended if other != key]
            self._ask("cancel", key)

    def close(self) -> None:
        """End what runs, and the cluster if it was started here. May be called twice."""
        if self._closed:
            return
        self._closed = True
        if self._launcher is not None:
            with suppress(exceptions.RayError):  # it is gone already
                ray.get(self._launcher.stop.remote(), timeout=_PATIENCE)
            ray.kill(self._launcher)
        if self._connection != "found":
            ray.shutdown()

    def _check_open(self) -> None:
        if self._closed:
            raise UsageError("the executor is closed; build a new one")

    def _look(self) -> None:
        self._looked = time.monotonic()
        self._capacity = self._cluster.slots or max(1, self._cluster.room(nodes()))

    def _check_room(self) -> None:
        if self._cluster.room(nodes()):
            return
        text = f"no node of the cluster has the {self._cluster.demand()} that a trial takes"
        if self._connection == "started":
            raise UsageError(f"{text}; ask for less, or name a larger cluster's address")
        warnings.warn(f"{text}; trials wait until one joins", stacklevel=4)

    def _warn_of(self, host: str) -> None:
        warnings.warn(
            f"{host} does not see {self._results or self._setup.place.log_dir}: what trials print there "
            "stays in Ray's logs, and they run again if the cluster stops before their results are taken in; "
            "a directory that all nodes share avoids both",
            stacklevel=4,
        )

    def _left(self, job: Job) -> Result | None:
        """Return what an earlier attempt returned that nobody was there to hear."""
        if self._results is None:
            return None
        if job.attempt == 1:  # then what lies there is another study's, which is gone
            kept.forget(self._results, job)
            return None
        return kept.find(self._results, replace(job, attempt=job.attempt - 1))

    def _news(self) -> Sequence[tuple[Job, Outcome]]:
        news: list[tuple[Job, Outcome]] = []
        ended, self._ended = self._ended, []
        for key, outcome in ended:
            job = self._jobs.pop(key)
            self._heard.append(job)
            if isinstance(outcome, str):
                self._faults.append(outcome)
                continue
            if isinstance(outcome, Lost) and self._results and (result := kept.find(self._results, job)):
                outcome = Done(result=result)  # it was lost on its way
            news.append((job, outcome))
        if self._faults and not news:
            raise LedgerError(self._faults.pop(0))
        return news

    def _launch(self) -> None:
        """Find our launcher on the cluster, or start one."""
        study, name = self._names()
        options = {"num_cpus": 0, "resources": _ON_HEAD, "max_restarts": 0, "max_task_retries": 0}
        if study:
            _end_others(study, name)
            named = {"name": name, "namespace": NAMESPACE, "get_if_exists": True, "lifetime": "detached"}
            options |= named
        for _ in range(_TRIES):
            self._launcher = ray.remote(Launcher).options(**options).remote(self._setup)
            try:
                ray.get(self._launcher.attach.remote(), timeout=_PATIENCE)
                return
            except exceptions.RayActorError:
                time.sleep(1.0)  # one of that name was just ending
            except exceptions.RayError as error:
                raise _gone(error) from error
        raise StudyError("no launcher can be started on the cluster's head node; see Ray's logs there")

    def _names(self) -> tuple[str, str]:
        """Return what this study's launchers are called, and the one that does just what we ask for."""
        if self._results is None:
            return "", ""
        how = [self._cluster.cpus, self._cluster.gpus, self._setup.timeout, str(self._setup.place.log_dir)]
        study = _digest(str(self._results).encode())
        return study, f"{study}-{_digest(json.dumps(how).encode() + self._setup.evaluate)}"

    def _ask(self, verb: str, *arguments: object, wait: float = 0.0) -> Any:
        """Call the launcher; if it died, what it ran is lost and another one answers."""
        for _ in range(_TRIES):
            try:
                answer = getattr(self._launcher, verb).remote(*arguments)
                return ray.get(answer, timeout=wait + _PATIENCE)
            except exceptions.RayActorError:
                known = {key for key, _ in self._ended}
                lost = Lost(reason="the launcher on the cluster's head node was lost")
                self._ended += [(key, lost) for key in self._jobs if key not in known]
                self._launch()
            except exceptions.RayError as error:
                raise _gone(error) from error
        raise StudyError("the launcher on the cluster's head node dies again and again; see Ray's logs there")


def _end_others(study: str, name: str) -> None:
    """End launchers that run this study's trials in another way than they are asked for now."""
    for actor in ray.util.list_named_actors(all_namespaces=True):
        other = actor["name"]
        if actor["namespace"] == NAMESPACE and other.startswith(f"{study}-") and other != name:
            with suppress(ValueError):  # it has just ended
                ray.kill(ray.get_actor(other, namespace=NAMESPACE))


def _gone(error: Exception) -> StudyError:
    text = " ".join(str(error).split())[:200]
    return StudyError(
        f"the Ray cluster does not answer ({type(error).__name__}: {text}); restart it and resume"
    )


def _digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()[:16]
