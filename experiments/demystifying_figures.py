"""Figures 1 to 3 of Demystifying Dropout: training and test loss over training, out of kept runs.

    python experiments/demystifying_figures.py FIGURE RUNS [--out FOLDER]

FIGURE is 1, 2 or 3; RUNS is the directory that table 1, 2 (or 2+5-cifar10) or 4-cifar10 of demystifying.py
left behind, say runs/demystifying-2+5-cifar10-small. It writes figure-N.json, the mean curve of each arm with
its standard deviation over seeds, and figure-N.png, with panels in the paper's order: training and test loss
at each dropout ratio. The training loss is what the optimiser saw, dropout and all, as Caffe prints it.
"""

import argparse
import json
import statistics
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from autodropout.comparison.opening import recorded
from autodropout.errors import AutoDropoutError, UsageError
from comparing import provenance

PANELS: Mapping[str, Sequence[tuple[str, tuple[str, ...]]]] = {
    **{
        figure: [
            (f"p={rate}", ("plain", f"standard {rate}", f"forward {rate}", f"backward {rate}"))
            for rate in (0.2, 0.05, 0.005)
        ]
        for figure in ("1", "2")
    },
    "3": [("p=0.2", ("standard 0.2", "augmented 0.2"))],
}
"""For each figure its pairs of panels: what stands above them, and the arms in them."""

SCHEMA = 1
LOSSES = ("train", "test")

Curve = dict[str, list[float]]
"""Point by point, the mean over the seeds and their standard deviation, which is 0 with one seed."""


def curves(runs: Path, figure: str) -> dict[str, dict[str, Curve]]:
    """Return arm -> "train" or "test" -> curve.

    Raises:
        UsageError: An arm of the figure has no finished run with curves.
    """
    trials, names, _, _ = recorded(runs)
    found: dict[str, dict[str, Curve]] = {}
    for arm in dict.fromkeys(arm for _, arms in PANELS[figure] for arm in arms):
        metrics = [
            trial.result.metrics
            for trial in trials
            if arm in names and trial.tokens == (names.index(arm),) and trial.result is not None
        ]
        found[arm] = {
            loss: _curve([_points(m, loss) for m in metrics if _points(m, loss)]) for loss in LOSSES
        }
        if not found[arm]["test"]["mean"]:
            raise UsageError(f"{runs} has no finished run of {arm!r} with its curves; run the table first")
    return found


def _points(metrics: Mapping[str, float], loss: str) -> list[float]:
    names = sorted(name for name in metrics if name.startswith(f"{loss}_loss_"))
    return [metrics[name] for name in names]


def _curve(runs: Sequence[Sequence[float]]) -> Curve:
    points = list(zip(*runs, strict=True))
    spread = [statistics.stdev(point) if len(point) > 1 else 0.0 for point in points]
    return {"mean": [statistics.fmean(point) for point in points], "deviation": spread}


def draw(found: Mapping[str, Mapping[str, Curve]], figure: str, path: Path) -> None:
    """Draw the panels into a PNG."""
    from matplotlib.figure import Figure

    panels = PANELS[figure]
    picture = Figure(figsize=(9, 3.2 * len(panels)), layout="constrained")
    axes = picture.subplots(len(panels), len(LOSSES), squeeze=False)
    for row, (title, arms) in zip(axes, panels, strict=True):
        for place, loss in zip(row, LOSSES, strict=True):
            for arm in arms:
                curve = found[arm][loss]
                share = [100 * (point + 1) / len(curve["mean"]) for point in range(len(curve["mean"]))]
                place.plot(share, curve["mean"], label=arm)
                low, high = (
                    [m + sign * d for m, d in zip(curve["mean"], curve["deviation"], strict=True)]
                    for sign in (-1, 1)
                )
                place.fill_between(share, low, high, alpha=0.2)
            place.set(title=f"{loss} loss, {title}", xlabel="% of the iterations", ylabel="cross-entropy")
            place.legend()
    picture.savefig(path, dpi=150)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("figure", choices=PANELS)
    parser.add_argument("runs", type=Path, help="directory of the table's runs")
    parser.add_argument("--out", type=Path, default=Path("."), help="folder for the two files")
    given = parser.parse_args()
    try:
        measured = curves(given.runs, given.figure)
    except AutoDropoutError as error:
        sys.exit(f"error: {error}")
    given.out.mkdir(parents=True, exist_ok=True)
    stem = given.out / f"figure-{given.figure}"
    plain = {"schema": SCHEMA, **provenance(), "curves": measured}
    stem.with_suffix(".json").write_text(json.dumps(plain, indent=1, allow_nan=False) + "\n")
    draw(measured, given.figure, stem.with_suffix(".png"))
    print(f"Saved: {stem}.json, {stem}.png")
