"""Run all searches of a comparison, in several processes."""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from contextlib import contextmanager
from functools import lru_cache
from multiprocessing import get_context
from typing import Protocol

import numpy as np

from autodropout.benchmark.canonical import Canonical
from autodropout.benchmark.landscapes import Benchmark
from autodropout.benchmark.plan import Job, Plan
from autodropout.benchmark.released import read_release
from autodropout.benchmark.simulating import Simulated, simulate
from autodropout.benchmark.variants import Variant
from autodropout.errors import DataError, UsageError
from autodropout.space import Space
from autodropout.space_json import space_from_json

Runs = Mapping[int, Simulated]
"""What a variant's runs came to, by their number of trials."""

Races = Mapping[str, Runs]
"""The runs of each variant, by its name."""

Notify = Callable[[str, int, int], None]
"""Called as notify(variant, jobs done, jobs in all)."""


class Keeping(Protocol):
    """Where variants that are done are kept, so that a race that is stopped goes on."""

    def read(self) -> Races:
        """Return those that are kept."""
        ...

    def write(self, variant: Variant, runs: Runs) -> None:
        """Keep one that is done."""
        ...


def unheard(variant: str, done: int, total: int) -> None:
    """Tell nobody."""


def race(
    benchmark: Benchmark,
    plan: Plan,
    *,
    space: Space | None = None,
    workers: int = 2,
    notify: Notify = unheard,
    keeping: Keeping | None = None,
) -> Races:
    """Simulate every search of a plan; the outcome does not depend on workers, nor on where it was stopped.

    Args:
        benchmark: The landscape that stands for training.
        plan: Who searches, how often, how long.
        space: What they search; its sites and values were all in the landscape. None for the landscape's.
        workers: Processes, each with one thread. 1 stays in this one.
        notify: Told of progress.
        keeping: Where variants that are done are kept and not run again; None for nowhere.

    Raises:
        UsageError: A searcher does not take its settings, or ``workers`` is below 1.
        SpaceError: A value of the space was not in the landscape.
        DataError: The landscape is too small for a surrogate or has no repeats; or a search is to have one
            seed for all trials, and no policies of the landscape share theirs.
    """
    if workers < 1:
        raise UsageError(f"workers is {workers}; expected at least 1")
    searched = space or benchmark.space
    kept = {} if keeping is None else keeping.read()
    left = [variant for variant in plan.variants if variant.name not in kept]
    jobs = [job for variant in left for job in plan.jobs(variant, searched, workers)]
    if any(job.setup.common_seed for job in jobs) and benchmark.noise.own is None:
        raise DataError(
            f"{benchmark.name} has no two policies that were confirmed on the same seeds, so that the noise "
            "among trials of one seed is unknown; leave common_seed out"
        )
    benchmark.surrogate.check(searched)
    races = dict(kept)
    for variant, runs in _raced(benchmark, searched, jobs, workers, notify):
        races[variant.name] = runs
        if keeping is not None:
            keeping.write(variant, runs)
    return {variant.name: races[variant.name] for variant in plan.variants}


def _raced(
    benchmark: Benchmark, space: Space, jobs: Sequence[Job], workers: int, notify: Notify
) -> Iterator[tuple[Variant, Runs]]:
    """Yield each variant as soon as its last job is done."""
    done: dict[int, Simulated] = {}
    left = Counter(job.variant.name for job in jobs)
    for number, simulated in _ran(benchmark, space, jobs, workers):
        done[number], variant = simulated, jobs[number].variant
        notify(variant.name, len(done), len(jobs))
        left[variant.name] -= 1
        if not left[variant.name]:
            yield variant, _joined([(job, done[n]) for n, job in enumerate(jobs) if job.variant is variant])


def _ran(
    benchmark: Benchmark, space: Space, jobs: Sequence[Job], workers: int
) -> Iterator[tuple[int, Simulated]]:
    if workers == 1:
        with _one_thread():
            for number, job in enumerate(jobs):
                yield number, _simulated(benchmark, space, job)
        return
    text, searched = benchmark.release.to_text(), space.to_json()
    pool = ProcessPoolExecutor(workers, mp_context=get_context("spawn"))
    try:
        futures: dict[Future[Simulated], int] = {
            pool.submit(_remote, text, searched, job): number for number, job in enumerate(jobs)
        }
        for future in as_completed(futures):
            yield futures[future], future.result()
    finally:
        pool.shutdown(cancel_futures=True)


def _remote(text: str, space: str, job: Job) -> Simulated:
    with _one_thread():
        return _simulated(_opened(text), space_from_json(space), job)


@lru_cache(maxsize=1)
def _opened(text: str) -> Benchmark:
    """Keep the fitted surrogate from job to job."""
    return Benchmark(read_release(text, "the landscape"), "the landscape")


def _simulated(benchmark: Benchmark, space: Space, job: Job) -> Simulated:
    return simulate(
        lambda seed: job.variant.make(space, seed=seed, trials=job.setup.trials),
        lambda tokens: benchmark.surrogate.predict(tokens, space),
        benchmark.noise,
        job.setup,
        job.repetitions,
        Canonical(space),
    )


def _joined(parts: Sequence[tuple[Job, Simulated]]) -> dict[int, Simulated]:
    """Put the repetitions of each run together, in their order."""
    runs: dict[int, list[Simulated]] = {}
    for job, simulated in sorted(parts, key=lambda part: part[0].repetitions):
        runs.setdefault(job.setup.trials, []).append(simulated)
    return {
        trials: Simulated(
            looks=run[0].looks,
            budgets=run[0].budgets,
            ended=np.concatenate([part.ended for part in run]),
            unconfirmed=np.concatenate([part.unconfirmed for part in run]),
            proposed=np.concatenate([part.proposed for part in run]),
        )
        for trials, run in sorted(runs.items())
    }


@contextmanager
def _one_thread() -> Iterator[None]:
    """Compute in one thread: processes that each use all cores slow one another down many times."""
    from threadpoolctl import threadpool_limits  # comes with scikit-learn

    with threadpool_limits(1):
        yield
