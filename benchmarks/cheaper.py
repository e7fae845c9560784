"""Halving and warm starts against the plain search, at equal compute.

    python benchmarks/cheaper.py
    python benchmarks/cheaper.py --landscape ptb-small --early -0.30 -0.53

Compute is counted in full trainings. A training is replaced by a landscape: one that was made up, in which
values and pairs of values have random worths, or a released one (``autodropout.benchmark``). What a short
training shows is made up in both: its correlation with the worth of a full training, over policies from the
starting bias, is ``--early`` on the lowest rung and closer to 1 on the next. What misleads is structured,
too: a second landscape, which a controller can learn as well as the first. Searches are the library's own,
ledger and confirmation included; what counts is the worth, without noise, of the policy that it returns.
Landscapes from 100 on: some of the library's choices were made on those before.
"""

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")

import argparse
import math
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random
from statistics import fmean, pstdev

import record
from autodropout.benchmark import load
from autodropout.engine.confirm import Confirmation
from autodropout.engine.control import request
from autodropout.engine.events import Event, Notify, TrialFinished, TrialPromoted, unheard
from autodropout.engine.halving import Halving
from autodropout.engine.run import search
from autodropout.engine.seeds import derived_seed
from autodropout.engine.study import Study
from autodropout.policy import ROLES, Policy
from autodropout.result import Result
from autodropout.significance import paired_difference
from autodropout.space import Space
from autodropout.token_space import TokenSpace
from synthetic import Synthetic

SPACE = TokenSpace.wide(ROLES)
CONFIRM = Confirmation(top=8, seeds=4)
_SAMPLE = 400


@dataclass(frozen=True, slots=True, kw_only=True)
class Landscape:
    """Stands for training: the plug for any surrogate.

    Attributes:
        name: Word for it.
        space: What is searched.
        worth: Reward of a full training without noise, in deviations of policies from the starting bias.
        lead: What short trainings show besides; independent of the worth, of mean 0 and deviation 1.
        early: Correlations of trainings on the lower rungs with the worth, both without noise.
        noise: Deviation of a reward from seed to seed.
    """

    name: str
    space: Space
    worth: Callable[[Policy], float]
    lead: Callable[[Policy], float]
    early: tuple[float, float]
    noise: float

    def evaluate(self, policy: Policy, seed: int, budget: float = 1.0) -> Result:
        """Return what a training would: with less budget lower, and misled."""
        luck = Random(derived_seed(seed, policy.key, repr(budget))).gauss(0.0, self.noise)
        rung = round(math.log(1.0 / budget) / math.log(3.0))  # 0 in full, 2 on the lowest of three
        reward = self.worth(policy) + luck
        if rung:
            early = self.early[2 - rung]
            misled = math.sqrt(1.0 / early**2 - 1.0) * self.lead(policy)
            reward = math.copysign(1.0, early) * self.worth(policy) + misled - 1.5 * rung + luck
        return Result(reward=reward, seconds=budget)


def rungs(early: Sequence[float]) -> tuple[float, float]:
    """Return one correlation for each lower rung; of a single one, the second is half as misled."""
    if len(early) == 1:
        half = 1.0 / math.sqrt(1.0 + (1.0 / early[0] ** 2 - 1.0) / 4.0)
        return early[0], math.copysign(half, early[0])
    lowest, next_one = early
    return lowest, next_one


def made_up(seed: int, early: tuple[float, float], noise: float) -> Landscape:
    """Return a landscape that was made up."""
    worth, lead = Synthetic(SPACE, seed), Synthetic(SPACE, seed + 1_000_000)
    return Landscape(
        name="synthetic",
        space=SPACE,
        worth=lambda policy: worth.value(SPACE.encode(policy)),
        lead=lambda policy: lead.value(SPACE.encode(policy)),
        early=early,
        noise=noise,
    )


def related(landscape: Landscape, seed: int, correlation: float) -> Landscape:
    """Return a landscape that has this correlation with another: a task like the one searched."""
    other = Synthetic(SPACE, seed + 2_000_000)
    apart = math.sqrt(1.0 - correlation**2)
    return Landscape(
        name=f"like {landscape.name}",
        space=landscape.space,
        worth=lambda p: correlation * landscape.worth(p) + apart * other.value(SPACE.encode(p)),
        lead=landscape.lead,
        early=landscape.early,
        noise=landscape.noise,
    )


def released(name: str, seed: int, early: tuple[float, float]) -> Landscape:
    """Return a released landscape, in its own deviations; its noise is what was measured there."""
    bench = load(name)
    space, value = bench.space, bench.surrogate.value
    rng = Random(0)
    drawn = [space.decode(space.sample(rng, biased=True)) for _ in range(_SAMPLE)]
    values = [value(policy) for policy in drawn]
    middle, deviation = fmean(values), pstdev(values)
    lead = Synthetic(space, seed + 1_000_000)
    noise = float(fmean(bench.noise.at(values))) / deviation
    return Landscape(
        name=name,
        space=space,
        worth=lambda policy: (value(policy) - middle) / deviation,
        lead=lambda policy: lead.value(space.encode(policy)),
        early=early,
        noise=noise,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Way:
    """One way to spend the compute.

    Attributes:
        searcher: Who proposes.
        halving: How budgets grow; None for full trainings.
        share: Of the compute that this search may spend; the rest has gone to an earlier study.
        earlier: Searcher of the earlier study; None for a cold start.
        like: Correlation of what the earlier study searched with what is searched now.
    """

    searcher: str = "reinforce"
    halving: Halving | None = None
    share: float = 1.0
    earlier: str | None = None
    like: float = 1.0

    def trials(self, trainings: float) -> int:
        """Return how many policies may be proposed for so many full trainings."""
        return round(trainings) if self.halving is None else self.halving.proposals(trainings)


ASHA, FAIR = Halving(spared=0.0), Halving()
WAYS: Mapping[str, Way] = {
    "plain": Way(),
    "halving": Way(halving=FAIR),
    "halving, none spared": Way(halving=ASHA),
    "random": Way(searcher="random-biased"),
    "random, halving, none spared": Way(searcher="random-biased", halving=ASHA),
    "evolution": Way(searcher="evolution"),
    "evolution, halving, none spared": Way(searcher="evolution", halving=ASHA),
    "half of it": Way(share=0.5),
    "warm, from as many random": Way(share=0.5, earlier="random-biased"),
    "warm, from as many searched": Way(share=0.5, earlier="reinforce"),
    "warm, from a task like it (.7)": Way(share=0.5, earlier="reinforce", like=0.7),
    "warm and halving, from as many searched": Way(share=0.5, earlier="reinforce", halving=FAIR),
}
"""Those that start warm spend half, the earlier study the other half; "half of it" is their cold twin."""


def run(way: Way, landscape: Landscape, trainings: int, seed: int, out: Path) -> dict[str, float]:
    """Search one way; return the worth of what it returns and the full trainings that it spent."""
    spent, warm = 0.0, None
    if way.earlier is not None:
        source = related(landscape, seed, way.like) if way.like < 1.0 else landscape
        first = find(
            Way(searcher=way.earlier), source, round(trainings * (1 - way.share)), seed + 500, out / "1"
        )
        spent, warm = cost(first), first.out
    study = find(way, landscape, trainings * way.share, seed, out / "2", warm)
    assert study.best is not None
    return {"worth": landscape.worth(study.best.policy), "trainings": spent + cost(study)}


def find(
    way: Way, landscape: Landscape, limit: float, seed: int, out: Path, warm: Path | None = None
) -> Study:
    """Run one search in this process; it stops at the limit, whatever its settings foretell."""

    def go(trials: int, on_event: Notify) -> Study:
        return search(
            landscape.evaluate, landscape.space, trials=trials, searcher=way.searcher, executor="inline",
            out=out, seed=seed, halving=way.halving, warm_start=warm, confirm=CONFIRM, on_event=on_event,
        )  # fmt: skip

    spent = 0.0

    def stop_at_the_limit(event: Event) -> None:
        nonlocal spent
        search_ends = isinstance(event, TrialFinished) and event.kind == "search"
        if search_ends or isinstance(event, TrialPromoted):
            spent += event.budget
            if spent >= limit - 1.0:  # what runs then is the last
                request(out, "stop")

    study = go(way.trials(limit), stop_at_the_limit if way.halving else unheard)
    if study.finished:
        return study
    return go(study.tally().proposed, unheard)


def cost(study: Study) -> float:
    """Full trainings of a search without its confirmation, which all of them have."""
    return sum(trial.budget for trial in study.trials if trial.kind == "search")


def against(values: Sequence[float], others: Sequence[float]) -> dict[str, float]:
    """Return a paired difference with its 95% interval."""
    found = paired_difference(values, others)
    return {"difference": found.difference, "low": found.low, "high": found.high, "p": found.p}


def measure(
    make: Callable[[int], Landscape], trainings: int, first: int, seeds: int, ways: Sequence[str]
) -> dict[str, object]:
    """Search every way on as many landscapes; return worths, costs and differences to the plain search."""
    runs: dict[str, list[dict[str, float]]] = {name: [] for name in ways}
    began = time.perf_counter()
    for seed in range(first, first + seeds):
        landscape = make(seed)
        for name in ways:
            with tempfile.TemporaryDirectory(dir="/dev/shm" if os.path.isdir("/dev/shm") else None) as folder:
                runs[name].append(run(WAYS[name], landscape, trainings, seed, Path(folder)))
        print(f"{seed + 1 - first} of {seeds}: {time.perf_counter() - began:.0f} s", flush=True)
    worths = {name: [found["worth"] for found in runs[name]] for name in ways}
    figures: dict[str, object] = {}
    for name in ways:
        twin = "half of it" if WAYS[name].earlier and "half of it" in worths else "plain"
        figures[name] = {
            "worth": record.summary(worths[name], "deviations of random policies")
            | {"mean": fmean(worths[name])},
            "trainings": fmean(found["trainings"] for found in runs[name]),
            "proposed_at_most": WAYS[name].trials(trainings * WAYS[name].share),
            "against_plain": against(worths[name], worths["plain"]) if name != "plain" else None,
            "against_its_cold_twin": against(worths[name], worths[twin]) if WAYS[name].earlier else None,
        }
    return figures


def main() -> None:
    """Measure and write results/cheaper-LANDSCAPE.json."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--landscape", default="synthetic", help="synthetic, a released one, or its file")
    parser.add_argument("--trainings", type=int, default=128, help="compute, in full trainings")
    parser.add_argument("--seeds", type=int, default=20, help="landscapes, or seeds on a released one")
    parser.add_argument("--first", type=int, default=100, help="number of the first landscape or seed")
    parser.add_argument("--early", type=float, nargs="+", default=[0.7], help="correlations on lower rungs")
    parser.add_argument("--noise", type=float, default=0.5, help="of the synthetic landscape, in deviations")
    parser.add_argument("--ways", nargs="*", choices=WAYS, default=list(WAYS), help="plain is always there")
    parser.add_argument("--name", help="of the file of results; default: cheaper-LANDSCAPE")
    given = parser.parse_args()
    if len(given.early) > 2 or not all(0.0 < abs(one) <= 1.0 for one in given.early):
        parser.error("--early takes one or two correlations, not 0")
    early = rungs(given.early)

    def make(seed: int) -> Landscape:
        if given.landscape == "synthetic":
            return made_up(seed, early, given.noise)
        return released(given.landscape, seed, early)

    ways = list(dict.fromkeys(["plain", *given.ways]))
    settings = {
        "trainings": given.trainings,
        "early": list(early),
        "confirmation": 32,
        "seeds": given.seeds,
        "first": given.first,
    }
    figures = measure(make, given.trainings, given.first, given.seeds, ways)
    record.write(given.name or f"cheaper-{Path(given.landscape).stem}", settings | figures)


if __name__ == "__main__":
    main()
