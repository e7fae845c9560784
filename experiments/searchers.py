"""Searchers compared on a released landscape, and the paper's Figure 5 redrawn.

    python experiments/searchers.py ptb-small

Runs autodropout benchmark searchers, which writes results/NAME/searchers.json and .md; then draws
docs/pictures/searchers-NAME.png and .svg from the JSON. With --draw it only draws. A quarter to half an hour
of two cores with 200 repetitions; it may be stopped at any moment, and the same command goes on with the
searchers that were not done.
"""

import argparse
import json
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl

from autodropout.cli import main

mpl.use("Agg")
from matplotlib import pyplot as plt
from matplotlib.axes import Axes

ROOT = Path(__file__).parents[1]
COLOURS = ("#8a8a8a", "#bcbd22", "#8c564b", "#2ca02c", "#17becf", "#d62728", "#ff7f0e", "#1f77b4")
"""Grey for random, which comes first; red for REINFORCE in the order of the command line."""

TITLES = ("The best trial so far", "The policy a user ends with", "Mean of the last 32 proposals")


def run(
    name: str,
    *,
    repetitions: int = 200,
    workers: int = 2,
    root: Path = ROOT,
    command: Callable[[Sequence[str]], int] = main,
) -> int:
    """Compare the searchers, write the table and draw the figure; return the exit code.

    Args:
        name: Name of the landscape.
        repetitions: Searches per searcher and number of trials.
        workers: Processes.
        root: Holds results/ and docs/.
        command: Runs a command line.
    """
    out = root / "results" / name / "searchers.json"
    words = ["benchmark", "searchers", name, "--repetitions", str(repetitions), "--workers", str(workers)]
    if code := command([*words, "--out", str(out)]):
        return code
    draw(name, root=root)
    return 0


def draw(name: str, *, root: Path = ROOT) -> tuple[Path, Path]:
    """Draw the figure of a comparison that was made; return the PNG and the SVG.

    Left, the policy whose trial is best so far, which is what Figure 5 of the paper shows, here by its
    noise-free reward; in the middle the policy that a user would end with, the best so far after its
    confirmation; right, what the figure does not show, the moving mean of what is proposed, beside no
    dropout. Bands are 95% intervals of the mean over repetitions.

    Args:
        name: Name of the landscape.
        root: Holds results/ and docs/.
    """
    facts = json.loads((root / "results" / name / "searchers.json").read_text(encoding="utf8"))
    mpl.rcParams |= {"svg.hashsalt": name, "font.size": 9}
    figure, panels = plt.subplots(1, 3, figsize=(14, 4.2), layout="constrained")
    left, middle, right = panels
    for row, colour in zip(facts["searchers"], COLOURS * len(facts["searchers"]), strict=False):
        label = f"{row['variant']['name']} (n = {row['repetitions']})"
        _band(left, *_best_so_far(row), colour, label)
        _band(middle, row["curve"]["trials"], row["curve"]["ended"], colour, label)
        _band(right, row["curve"]["trials"], row["curve"]["proposals"], colour, label)
    middle.sharey(left)
    right.axhline(facts["none"], color="black", linewidth=0.8, linestyle=":")
    right.text(
        0.98, facts["none"], "no dropout", transform=right.get_yaxis_transform(), ha="right", va="bottom"
    )
    for axes, title in zip(panels, TITLES, strict=True):
        axes.set_title(title)
        axes.set_xlabel("trials")
        axes.set_ylabel("noise-free reward, by the surrogate")
    middle.legend(fontsize=7.5, loc="lower right")
    figure.suptitle(_caption(facts), fontsize=9)
    pictures = root / "docs" / "pictures"
    pictures.mkdir(parents=True, exist_ok=True)
    png, svg = (pictures / f"searchers-{name}.{kind}" for kind in ("png", "svg"))
    figure.savefig(png, dpi=120, metadata={"Software": None})
    figure.savefig(svg, metadata={"Date": None})
    plt.close(figure)
    return png, svg


def _best_so_far(row: Mapping[str, Any]) -> tuple[Sequence[int], Sequence[Mapping[str, float]]]:
    """Return points and values; files from before they were in the curve have them at the budgets only."""
    if (curve := row["curve"]).get("unconfirmed") is not None:
        return curve["trials"], curve["unconfirmed"]
    standings = row["standings"]
    return [standing["trials"] for standing in standings], [standing["unconfirmed"] for standing in standings]


def _caption(facts: Mapping[str, Any]) -> str:
    plan, machine, versions = facts["plan"], facts["machine"], facts["versions"]
    return (
        f"{facts['benchmark']}: surrogate ({facts['regressor']}) of {facts['landscape_trials']} trials, "
        f"deviation between seeds {facts['noise']['sd']:.4f}, {plan['capacity']} trials at a time, "
        f"95% intervals; {machine['processors']} processors, autodropout {versions['autodropout']}"
    )


def _band(
    axes: Axes, trials: Sequence[int], points: Sequence[Mapping[str, float]], colour: str, label: str
) -> None:
    axes.plot(trials, [point["mean"] for point in points], color=colour, linewidth=1.4, label=label)
    low, high = ([point[end] for point in points] for end in ("low", "high"))
    axes.fill_between(trials, low, high, color=colour, alpha=0.18, linewidth=0)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("name", nargs="?", default="ptb-small", help="name of the landscape")
    parser.add_argument("--repetitions", type=int, default=200, help="searches per searcher and budget")
    parser.add_argument("--workers", type=int, default=2, help="processes, one thread each")
    parser.add_argument("--draw", action="store_true", help="draw only")
    given = parser.parse_args()
    if given.draw:
        print(*draw(given.name), sep="\n")
        sys.exit(0)
    sys.exit(run(given.name, repetitions=given.repetitions, workers=given.workers))
