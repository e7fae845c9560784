"""Two queues against waiting for each minibatch, on a simulated cluster of 1 to 512 machines.

    python benchmarks/cluster_sim.py            # all of it: half an hour of one idle core
    python benchmarks/cluster_sim.py --part small

Ledger, queues and controller are the real ones, on a virtual clock; machines come, go and are preempted, a
trial takes 40 minutes in the mean, and rewards are those of a landscape that was made up. Each
simulated search is kept under --out, so the command may be stopped at any moment and goes on when it is
repeated. Figures are written to results/cluster_sim.json, whatever share of the searches is there.
"""

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")

import argparse
import json
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, replace
from pathlib import Path

import record
from autodropout.atomic import write_text
from autodropout.engine.seeds import derived_seed
from simulated_search import SPACE, Plan, by_chance, simulate

OUT = Path("runs/cluster_sim")
FULL, SMALL = 16_384, 512
SEEDS = range(4)


def full(trials: int = FULL) -> Iterator[Plan]:
    """Yield searches of the paper's size, those that say most first."""
    paper = Plan(trials=trials, workers=512, batch=16)
    yield paper
    yield replace(paper, order="wait")
    yield replace(paper, weights="none")
    yield replace(paper, weights="bare")
    yield replace(paper, workers=64)
    yield replace(paper, batch=64)
    yield replace(paper, order="wait", batch=512)
    yield replace(paper, workers=8)
    yield replace(paper, workers=64, order="wait")
    yield replace(paper, workers=1)


def small(trials: int = SMALL, seeds: Iterable[int] = SEEDS) -> Iterator[Plan]:
    """Yield searches of a few hundred trials, seed by seed."""
    for seed in seeds:
        plan = Plan(trials=trials, workers=16, batch=8, seed=seed)
        yield from (replace(plan, order="wait", batch=batch) for batch in (4, 8, 16))
        yield from (replace(plan, workers=w, batch=m) for w in (64, 16, 4) for m in (4, 8, 16))
        yield from (replace(plan, workers=w, weights=how) for w in (64, 16) for how in ("none", "bare"))
        yield replace(plan, workers=64, batch=32)
        yield from (replace(plan, capacity=capacity) for capacity in (16, 32))


def run(plans: Iterable[Plan], out: Path) -> list[dict[str, object]]:
    """Simulate what has not been simulated yet; return the figures of all."""
    return [_kept(plan, out) or _simulated(plan, out) for plan in plans]


def kept(plans: Iterable[Plan], out: Path) -> list[dict[str, object]]:
    """Return the figures of the searches that have been simulated already."""
    return [figures for plan in plans if (figures := _kept(plan, out))]


def _simulated(plan: Plan, out: Path) -> dict[str, object]:
    memory = Path("/dev/shm")
    with tempfile.TemporaryDirectory(dir=memory if memory.is_dir() else None) as folder:
        figures = simulate(plan, Path(folder) / "study")
    out.mkdir(parents=True, exist_ok=True)
    write_text(_path(plan, out), json.dumps(figures) + "\n")
    return figures


def _kept(plan: Plan, out: Path) -> dict[str, object] | None:
    path = _path(plan, out)
    if not path.exists():
        return None
    figures: dict[str, object] = json.loads(path.read_text(encoding="utf8"))
    return figures


def _path(plan: Plan, out: Path) -> Path:
    return out / f"{plan.order}-{plan.workers}-{plan.batch}-{derived_seed(repr(asdict(plan))):x}.json"


def _without_curve(search: dict[str, object]) -> dict[str, object]:
    return {name: value for name, value in search.items() if name != "curve"}


def main(arguments: Sequence[str] | None = None) -> None:
    """Simulate, and write results/cluster_sim.json."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--part", choices=("all", "small", "full", "none"), default="all", help="what is run")
    parser.add_argument("--out", type=Path, default=OUT, help="where each simulated search is kept")
    given = parser.parse_args(arguments)
    parts = {"small": list(small()), "full": list(full())}
    for part, plans in parts.items():
        if given.part in ("all", part):
            run(plans, given.out)
    figures: dict[str, object] = {"decisions": len(SPACE)}
    for part, plans in parts.items():
        figures[f"{part}_planned"] = len(plans)
        found = kept(plans, given.out)
        figures[part] = found if part == "full" else [_without_curve(search) for search in found]
    chance = [by_chance(Plan(trials=SMALL, workers=1, batch=8, seed=seed)) for seed in SEEDS]
    figures["small_by_chance"] = chance
    record.write("cluster_sim", figures)


if __name__ == "__main__":
    main()
