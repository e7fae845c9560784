"""One search on a virtual cluster: the real ledger, queues and controller, and rewards that were made up."""

import random
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cache
from itertools import pairwise
from pathlib import Path
from statistics import fmean
from typing import Literal
from unittest.mock import patch

import torch

from autodropout.conv_space import ConvSpace
from autodropout.engine.base import Scored
from autodropout.engine.events import unheard
from autodropout.engine.executors.base import Job
from autodropout.engine.learning import Goal, Learning
from autodropout.engine.ledger import Ledger
from autodropout.engine.ledger_records import StudyRecord
from autodropout.engine.loop import Loop
from autodropout.engine.provenance import command, machine, versions
from autodropout.engine.reinforce import Reinforce
from autodropout.engine.reinforce_settings import ReinforceSettings
from autodropout.engine.seeds import derived_seed
from autodropout.engine.settling import Rules
from autodropout.engine.study import Study
from synthetic import Synthetic
from virtual import HOUR, Clock, Machines, VirtualCluster

SPACE = ConvSpace(sites={f"layer{n}": (2 ** (3 + n % 3),) * 2 for n in range(12)})
"""96 decisions, as many as twelve sites of the paper have."""

TOP, FRESH = 8, 4
"""How a search ends: so many policies, on so many fresh seeds each."""

_POINTS = 48

Order = Literal["queues", "wait"]
Weights = Literal["truncated", "bare", "none"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """One simulated search.

    Attributes:
        trials: Search trials.
        workers: Machines.
        batch: M.
        order: ``"queues"``, the paper's two; ``"wait"``: M trials are proposed when all before them have
            ended and have been learned from.
        weights: Importance weights: truncated at 5, bare as in Eq. 3, or none.
        capacity: C; None for the library's own choice, which follows the machines that are there.
        preempted: Whether machines are taken away and come back.
        noise: Deviation of a reward from seed to seed, in deviations of random policies.
        seed: Of everything.
    """

    trials: int
    workers: int
    batch: int
    order: Order = "queues"
    weights: Weights = "truncated"
    capacity: int | None = None
    preempted: bool = True
    noise: float = 1.0
    seed: int = 0


class Unweighted(Reinforce):
    """REINFORCE that takes every trial for its own: all importance weights are 1."""

    def learn(self, trials: Sequence[Scored]) -> Mapping[str, float]:
        """Make one update as if the trials had been drawn from the controller as it is now."""
        tokens = torch.tensor([trial.tokens for trial in trials])
        with torch.no_grad():
            now = self.controller.log_prob(tokens).tolist()
        return super().learn([replace(t, log_prob=p) for t, p in zip(trials, now, strict=True)])


def simulate(plan: Plan, out: Path) -> dict[str, object]:
    """Run a search in an empty directory, under a virtual clock; return what came out as plain data."""
    clock, landscape = Clock(), landscape_of(plan.seed)
    machines = Machines(number=plan.workers, stay=12.0 if plan.preempted else None)
    cluster = VirtualCluster(lambda job: _reward(plan, landscape, job), machines, clock, plan.seed)
    searcher, began = _searcher(plan), time.process_time()
    with patch("time.time", clock), Ledger.create(out, _study(plan, searcher), searcher.snapshot()) as ledger:
        loop = Loop(ledger, cluster, SPACE, Rules(max_attempts=10, floor=None), unheard)
        learning = Learning(ledger, searcher, loop, cluster, _goal(plan), unheard)
        loop.run(learning.advance if plan.order == "queues" else _patiently(loop, learning))
    return asdict(plan) | _figures(plan, cluster, landscape, Study(out), time.process_time() - began)


def by_chance(plan: Plan) -> float:
    """Return what random search with as many trials would end with."""
    landscape, rng = landscape_of(plan.seed), random.Random(derived_seed(plan.seed, "chance"))
    drawn = landscape.drawn(plan.trials, derived_seed(plan.seed, "random search"))
    values = [landscape.value(tokens) for tokens in drawn]
    return _ended_with(plan, [value + rng.gauss(0.0, plan.noise) for value in values], values)


@cache
def landscape_of(seed: int) -> Synthetic:
    """Return the landscape of a seed."""
    return Synthetic(SPACE, seed)


def _reward(plan: Plan, landscape: Synthetic, job: Job) -> float:
    luck = random.Random(derived_seed(plan.seed, "luck", job.seed)).gauss(0.0, plan.noise)
    return landscape.value(SPACE.encode(job.policy)) + luck


def _searcher(plan: Plan) -> Reinforce:
    settings = ReinforceSettings.default(plan.trials, batch=plan.batch)
    if plan.weights == "bare":
        settings = replace(settings, bound=None)
    return (Unweighted if plan.weights == "none" else Reinforce)(SPACE, seed=plan.seed, settings=settings)


def _study(plan: Plan, searcher: Reinforce) -> StudyRecord:
    return StudyRecord(
        space=SPACE.to_json(), task="simulation", searcher=searcher.name, settings=dict(searcher.settings),
        seed=plan.seed, batch=plan.batch, planned=plan.trials, trials=plan.trials, options={}, phase="search",
        versions=versions(), machine=machine(), command=command(), created=time.time(),
    )  # fmt: skip


def _goal(plan: Plan) -> Goal:
    return Goal(trials=plan.trials, capacity=plan.capacity if plan.order == "queues" else plan.batch)


def _patiently(loop: Loop, learning: Learning) -> Callable[[], None]:
    """Return what learns and proposes only when nothing is queued or running."""

    def advance() -> None:
        if not loop.unfinished:
            learning.advance()

    return advance


def _figures(
    plan: Plan, cluster: VirtualCluster, landscape: Synthetic, study: Study, seconds: float
) -> dict[str, object]:
    ends = {timing.trial: timing for timing in study.timings}
    done = sorted((t for t in study.trials if t.reward is not None), key=lambda t: ends[t.id].finish)
    values = [landscape.value(SPACE.encode(trial.policy)) for trial in done]
    hours = [(ends[trial.id].ended - study.record.created) / HOUR for trial in done]
    usage, last = cluster.settle(), max(len(done) // 16, 1)
    return {
        "finished": len(done),
        "updates": len(study.updates),
        "hours": hours[-1],
        "utilisation": usage.trained / usage.present,
        "preemptions": usage.preemptions,
        "hours_lost": usage.lost / HOUR,
        **_learning(plan, study),
        "reward_of_last_sixteenth": fmean(values[-last:]),
        "reward_ended_with": _ended_with(plan, [t.reward for t in done], values),
        "reward_of_best_single": values[max(range(len(done)), key=lambda i: done[i].reward)],
        "curve": _curve(hours, values),
        "processor_ms_per_trial": 1e3 * seconds / len(done),
    }


def _learning(plan: Plan, study: Study) -> dict[str, float]:
    """Return staleness (updates between proposal and use) and what the importance weights were."""
    drawn = {trial.id: trial.update for trial in study.trials}
    stale = [update.number - 1 - drawn[n] for update in study.updates for n in update.trials]
    figures = [update.figures for update in study.updates]
    return {
        "staleness": fmean(stale),
        "staleness_most": float(max(stale)),
        "effective_share": fmean(f["ess"] for f in figures) / plan.batch,
        "truncated_share": fmean(f["truncated"] for f in figures) / plan.batch,
    }


def _ended_with(plan: Plan, rewards: Sequence[float], values: Sequence[float]) -> float:
    """Return the noise-free reward of the policy with the best mean over fresh seeds among the best ones."""
    rng = random.Random(derived_seed(plan.seed, "confirm"))
    best = sorted(range(len(rewards)), key=lambda i: -rewards[i])[:TOP]
    means = {i: values[i] + rng.gauss(0.0, plan.noise / FRESH**0.5) for i in best}
    return values[max(means, key=means.__getitem__)]


def _curve(hours: Sequence[float], values: Sequence[float]) -> list[list[float]]:
    """Return [hours, mean noise-free reward] of consecutive parts of the search."""
    edges = [round(i * len(hours) / _POINTS) for i in range(_POINTS + 1)]
    parts = [(a, b) for a, b in pairwise(edges) if b > a]
    return [[round(hours[b - 1], 2), round(fmean(values[a:b]), 3)] for a, b in parts]
