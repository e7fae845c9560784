"""An actor on the cluster that owns the trials' tasks, so that they outlive the driver."""

import asyncio
import os
import time
from collections.abc import Generator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import ray
from ray import exceptions

from autodropout.engine.executors import remote
from autodropout.engine.executors.base import Done, Job, Lost, Outcome, Raised, TimedOut
from autodropout.engine.executors.cluster import Cluster

Key = tuple[int, int]
Ended = list[tuple[Key, Outcome | str]]

_LOOK_SECONDS = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Setup:
    """How a launcher runs trials.

    Attributes:
        evaluate: The evaluation, as cloudpickle's bytes.
        place: What the workers are told.
        cluster: What a trial takes.
        timeout: Seconds after which a trial that has begun is killed.
        forgotten: Seconds without trials and without a driver after which the launcher ends itself.
    """

    evaluate: bytes
    place: remote.Place
    cluster: Cluster
    timeout: float | None
    forgotten: float


@dataclass(slots=True, kw_only=True)
class _Run:
    """An attempt; a later attempt at the same trial may take it over."""

    job: Job
    task: "asyncio.Task[None] | None" = None
    outcome: Outcome | str | None = None


class Launcher:
    """Starts attempts, keeps how they ended until the driver has heard of it, and ends when forgotten.

    Its methods run in one event loop on the cluster. Keys are (trial, attempt).
    """

    def __init__(self, setup: Setup) -> None:
        self._setup = setup
        self._evaluate = ray.put(setup.evaluate)
        share = setup.cluster
        # With GPUs a worker ends after its trial: Ray's rule, since CUDA cannot change its device.
        self._stream = ray.remote(
            num_cpus=share.cpus, num_gpus=share.gpus, max_retries=0, num_returns="streaming"
        )(_stream)
        self._runs: dict[Key, _Run] = {}
        self._wanted: set[Key] = set()
        self._blind: set[str] = set()
        self._news = asyncio.Event()
        self._heard = time.monotonic()
        self._end: asyncio.Task[None] | None = None

    async def attach(self) -> int:
        """Begin to serve a driver, which has asked for nothing yet; return the process."""
        self._heard = time.monotonic()
        self._wanted.clear()
        self._end = self._end or asyncio.create_task(self._end_when_forgotten())
        return os.getpid()

    async def submit(self, job: Job) -> None:
        """Start an attempt, or let it take over an earlier one at the same trial."""
        self._heard = time.monotonic()
        key = job.trial, job.attempt
        self._wanted.add(key)
        if (earlier := self._earlier(job)) is not None:
            run = self._runs.pop(earlier)
            run.job = job
            self._news.set()
        else:
            run = _Run(job=job)
            run.task = asyncio.create_task(self._follow(run))
        self._runs[key] = run

    async def poll(self, timeout: float, heard: Sequence[Key]) -> tuple[Ended, list[str]]:
        """Return how attempts ended, waiting at most ``timeout`` seconds for the first of them.

        Args:
            timeout: Seconds.
            heard: Those of earlier polls, which are now forgotten.

        Returns:
            What ended, and hosts that do not see the driver's folders.
        """
        for key in heard:
            self._runs.pop(key, None)
            self._wanted.discard(key)
        if not self._endings():
            self._news.clear()
            with suppress(TimeoutError):
                await asyncio.wait_for(self._news.wait(), timeout)
        self._heard = time.monotonic()
        blind, self._blind = sorted(self._blind), set()
        return self._endings(), blind

    async def cancel(self, key: Key) -> None:
        """Kill an attempt."""
        self._wanted.discard(key)
        run = self._runs.pop(key, None)
        if run is not None and run.task is not None:
            run.task.cancel()

    async def stop(self) -> None:
        """Kill all attempts."""
        tasks = [run.task for run in self._runs.values() if run.task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self._runs.clear()

    def _endings(self) -> Ended:
        return [
            (key, run.outcome)
            for key, run in self._runs.items()
            if run.outcome is not None and key in self._wanted
        ]

    def _earlier(self, job: Job) -> Key | None:
        """Return the latest earlier attempt that does what this one would: same trial, policy and seed."""
        return max(
            (
                (trial, attempt)
                for (trial, attempt), run in self._runs.items()
                if trial == job.trial
                and attempt < job.attempt
                and (run.job.policy, run.job.seed, run.job.budget) == (job.policy, job.seed, job.budget)
                and (run.outcome is None or isinstance(run.outcome, Done))
            ),
            default=None,
        )

    async def _follow(self, run: _Run) -> None:
        run.outcome = await self._outcome(run.job)
        self._news.set()

    async def _outcome(self, job: Job) -> Outcome | str:
        stream: Any = self._stream.remote(self._evaluate, job, self._setup.place)
        worker, began = "its worker", time.monotonic()
        try:
            (host, process), sees = await (await anext(stream))
            worker, began = f"process {process} on {host}", time.monotonic()
            self._note(host, sees)
            async with asyncio.timeout(self._setup.timeout):
                outcome: Outcome | str = await (await anext(stream))
                return outcome
        except TimeoutError:
            ray.cancel(stream, force=True)
            return TimedOut(seconds=time.monotonic() - began)
        except asyncio.CancelledError:
            ray.cancel(stream, force=True)
            raise
        except exceptions.RayTaskError as error:  # our function could not be loaded there
            return Raised(error=f"{worker} cannot run trials: {_last_line(error)}", traceback=str(error))
        except exceptions.RayError as error:
            return Lost(reason=f"{worker} was lost ({type(error).__name__})")

    def _note(self, host: str, sees: bool) -> None:
        if not sees:
            self._blind.add(host)
            self._news.set()

    async def _end_when_forgotten(self) -> None:
        patience = self._setup.forgotten
        while self._running() or time.monotonic() - self._heard < patience:
            await asyncio.sleep(min(_LOOK_SECONDS, patience))
        ray.kill(ray.get_runtime_context().current_actor)

    def _running(self) -> bool:
        return any(run.outcome is None for run in self._runs.values())


def _stream(
    evaluate: bytes, job: Job, place: remote.Place
) -> Generator[tuple[remote.Here, bool] | Done | Raised | str, None, None]:
    """Be the task of one attempt: say that it begins, then how it ended."""
    yield remote.here(), remote.sees(place)
    yield remote.run(evaluate, job, place)


def _last_line(error: Exception) -> str:
    return str(error).strip().splitlines()[-1]
