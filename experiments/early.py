"""How well short trainings foretell a full one: what successive halving stands or falls with.

    AUTODROPOUT_DATA=... python experiments/early.py

The first 64 policies of the landscape's part "random-biased", whose full rewards are known, are trained on
two fresh seeds with each of the lower budgets of halving, shortened in two ways: fewer steps; fewer steps on
as much less text, so that every word is seen as often. Writes results/TASK/early.json: for each way and
budget the correlation of its rewards with full ones as they are, and without the noise of either, with 95%
intervals (bootstrap over policies). It costs as much as 114 full trainings; it may be stopped at any moment,
and the same command goes on.
"""

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import product
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from autodropout.engine.confirm import Confirmation
from autodropout.engine.halving import Halving
from autodropout.engine.options import ExecutorName
from autodropout.engine.provenance import command, machine, versions
from autodropout.engine.run import search
from autodropout.engine.study import Study
from autodropout.errors import AutoDropoutError, UsageError
from autodropout.result import Trial
from autodropout.tasks.text.small import PtbSmall, PydocLm
from landscape_parts import Listed, wide

RESULTS = Path(__file__).parents[1] / "results"
OUT = Path("runs/early")
TASKS = {task.name: task for task in (PtbSmall(), PydocLm())}
SOURCE, CONFIRMED = "random-biased", "random-1"
NUMBER, SEEDS = 64, 2
Way = Literal["steps", "steps and text"]
_RESAMPLES = 2000
Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Foretold:
    """What a budget's rewards say of full ones.

    Attributes:
        way: What was shortened.
        budget: Fraction of a full training.
        raw: Correlation of the mean over its seeds with one full reward.
        true: The same without the noise of either.
        low: Lower end of the interval of ``true``.
        high: Upper end.
    """

    way: Way
    budget: float
    raw: float
    true: float
    low: float
    high: float


@dataclass(frozen=True, slots=True, kw_only=True)
class How:
    """How to run.

    Attributes:
        number: Policies.
        workers: Processes, one thread each.
        executor: ``"local"`` for processes, ``"inline"`` for this one.
    """

    number: int = NUMBER
    workers: int = 2
    executor: ExecutorName = "local"


def shorter(task: PtbSmall | PydocLm, way: Way, budget: float) -> PtbSmall | PydocLm:
    """Return the task with a fraction of its steps, or of both, in (0, 1]."""
    short = task.shortened(budget)
    if way == "steps and text":
        return short
    return replace(task, recipe=replace(task.recipe, steps=short.recipe.steps))


def foretold(way: Way, budget: float, short: Floats, full: Floats, noise: float) -> Foretold:
    """Return what short rewards say of full ones.

    true = raw / sqrt(reliability of the short mean * reliability of a full reward)         (Spearman 1904)

    Args:
        way: What was shortened.
        budget: Fraction of a full training.
        short: Rewards, (policies, seeds), at least two seeds.
        full: Rewards, (policies,).
        noise: Deviation of a full reward from seed to seed.
    """
    rng = np.random.default_rng(0)
    drawn = [rng.integers(len(full), size=len(full)) for _ in range(_RESAMPLES)]
    with np.errstate(divide="ignore", invalid="ignore"):  # of a few policies, one may be drawn alone
        resampled = [_true(short[places], full[places], noise) for places in drawn]
    low, high = np.nanquantile(resampled, (0.025, 0.975))
    return Foretold(
        way=way,
        budget=budget,
        raw=_raw(short, full),
        true=_true(short, full, noise),
        low=float(low),
        high=float(high),
    )


def run(task: PtbSmall | PydocLm, studies: Path, out: Path, how: How) -> tuple[list[Foretold], float]:
    """Train what is left; return what each budget foretells, and the noise of a full reward.

    Args:
        task: What is trained.
        studies: Directory of the landscape's studies.
        out: Directory of the short trainings.
        how: How to run them.

    Raises:
        UsageError: A part of the landscape is not finished, or has too few policies.
    """
    full = _searched(studies / SOURCE)[: how.number]
    if len(full) < how.number:
        raise UsageError(f"{studies / SOURCE} has {len(full)} rewards; expected {how.number}")
    noise = _noise(studies / CONFIRMED)
    rewards = np.array([_reward(trial) for trial in full])
    listed = Listed(name="early", listed=tuple(trial.tokens for trial in full) * SEEDS)
    found = []
    for way, budget in product(get_args(Way), Halving().budgets[:-1]):
        study = search(
            shorter(task, way, budget).evaluate,
            wide(task),
            trials=listed.batch,
            searcher=listed,
            workers=how.workers,
            executor=how.executor,
            out=out / f"{way.replace(' ', '-')}-{budget:.3f}",
            floor=task.floor,
            confirm=Confirmation(top=0),
            task=f"{task.key}, {budget:.3f} of its {way}",
        )
        by_number = sorted(study.trials, key=lambda trial: trial.id)
        short = np.array([_reward(trial) for trial in by_number]).reshape(SEEDS, -1).T
        found.append(foretold(way, budget, short, rewards, noise))
    return found, noise


def document(
    task: PtbSmall | PydocLm, found: Sequence[Foretold], noise: float, how: How
) -> Mapping[str, Any]:
    """Return early.json."""
    return {
        "task": task.key,
        "command": command(),
        "versions": versions(),
        "machine": machine(),
        "policies": how.number,
        "seeds": SEEDS,
        "noise": noise,
        "budgets": [asdict(one) for one in found],
    }


def _searched(place: Path) -> list[Trial]:
    study = Study.open(place)
    if not study.finished:
        raise UsageError(f"the study in {place} is not finished; run experiments/landscape.py on")
    return [t for t in study.trials if t.kind == "search" and t.result is not None]


def _noise(place: Path) -> float:
    """Return the deviation between seeds, pooled over the policies that a search confirmed."""
    confirmed = [c for c in Study.open(place).confirmed if len(c.rewards) > 1]
    if not confirmed:
        raise UsageError(f"{place} has confirmed no policy; run experiments/landscape.py on")
    return float(np.sqrt(np.mean([np.var(c.rewards, ddof=1) for c in confirmed])))


def _reward(trial: Trial) -> float:
    assert trial.result is not None
    return trial.result.reward


def _raw(short: Floats, full: Floats) -> float:
    return float(np.corrcoef(short.mean(1), full)[0, 1])


def _true(short: Floats, full: Floats, noise: float) -> float:
    mean = short.mean(1)
    lost_short = short.var(1, ddof=1).mean() / short.shape[1] / mean.var(ddof=1)
    lost_full = noise**2 / full.var(ddof=1)
    kept = max(1.0 - lost_short, 1e-3) * max(1.0 - lost_full, 1e-3)
    return float(np.clip(_raw(short, full) / np.sqrt(kept), -1.0, 1.0))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--task", choices=TASKS, default="ptb-small", help="what is trained")
    parser.add_argument("--workers", type=int, default=How().workers, help="processes, one thread each")
    parser.add_argument("--out", type=Path, default=OUT, help="directory of the short trainings")
    given = parser.parse_args()
    task, results, how = TASKS[given.task], RESULTS / given.task, How(workers=given.workers)
    try:
        found, noise = run(task, results / "studies", given.out / given.task, how)
    except AutoDropoutError as error:
        sys.exit(f"error: {error}")
    except KeyboardInterrupt:
        sys.exit("Stopped; nothing is lost. The same command goes on.")
    facts = document(task, found, noise, how)
    (results / "early.json").write_text(json.dumps(facts, indent=1) + "\n", encoding="utf8")
    for f in found:
        print(f"{f.budget:.3f} of the {f.way}: {f.true:.2f} ({f.low:.2f} to {f.high:.2f}), raw {f.raw:.2f}")
