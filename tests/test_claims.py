"""The table of claims in docs/results.md: every row has a verdict, and what it names exists."""

import json
import re
from pathlib import Path

import pytest

from autodropout import zoo
from autodropout.significance import paired_difference
from autodropout.tasks.registry import TASKS

ROOT = Path(__file__).parents[1]
TEXT = (ROOT / "docs" / "results.md").read_text(encoding="utf8")
SECTION = TEXT[TEXT.index("## The papers' claims") : TEXT.index("## ptb-small")]
ROWS = [
    [cell.strip() for cell in line.strip("| ").split(" | ")]
    for line in SECTION.splitlines()
    if line.startswith("| ") and not line.startswith(("| claim", "| question"))
]
VERDICTS = (
    "holds",
    "not shown",
    "does not hold",
    "not yet run",
    "the same picture",
    "answered on",
    "explained",
    "nothing to test",
)


@pytest.mark.parametrize("row", ROWS, ids=[row[0][:40] for row in ROWS])
def test_every_row_has_a_verdict_and_what_it_names_exists(row):
    claim, here, verdict = row
    assert claim
    assert verdict.startswith(VERDICTS)
    named = f"{here} {verdict}"
    for file in re.findall(r"`(?:python )?((?:experiments|tests)/\w+\.py)", named):
        assert (ROOT / file).is_file(), file
    for page in re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", named):
        assert (ROOT / "docs" / page).resolve().is_file(), page
    for task in re.findall(r"`([a-z]+[0-9a-z]*-[a-z0-9-]+)`", named):
        known = {"variational-everywhere", *zoo.names(), *re.findall(r"[45]-\w+|6-[\w-]+", task)}
        assert task in TASKS or task in known, task
    if "not yet run" in verdict:  # what it would cost: trainings, or somebody's time
        cost = verdict.split("not yet run")[1]
        assert re.search(r"\d+ trainings|core|GPU|minutes|hours", cost), cost


def test_all_tables_of_all_three_papers_are_there():
    for table in (
        "Table 1: on CIFAR-10",
        "Table 2: with RandAugment",
        "Table 3: with few",
        "Table 4",
        "Figure 5",
    ):
        assert table in SECTION
    for table in ("Tables 1 and 2", "Table 3: augmented", "Tables 4 and 5", "Table 6", "Table 1: adaptive"):
        assert table in SECTION
    for figures in ("Figures 1 to 4", "Figure 5", "Figures 1 and 2", "Figure 3"):
        assert f"| {figures}: " in SECTION


DIFFERENCES = {
    "mnist-small": (
        ("augmented-dropout", "dropout", "difference .2 points (-.8 to 1.2), p = .69"),
        ("adaptive-dropout", "none", ".8 points over none (-.0 to 1.7, p = .06)"),
        (
            "adaptive-dropout",
            "spatial-dropout",
            ".3 over the same coins at equal rates (spatial dropout; -.5 to 1.1, p = .47)",
        ),
        ("adaptive-dropout", "l1", ".7 over L1 (.1 to 1.2, p = .02)"),
        ("l2", "adaptive-dropout", "8.0 below L2"),
        ("dropout", "adaptive-dropout", "3.4 below standard dropout (p < .0001 each)"),
    ),
    "cifar10-small": (
        ("policy", "none", "+2.4 (1.4 to 3.4)"),
        ("policy", "dropblock", "-.1 (-.9 to .7), 10 paired seeds each"),
        ("dropblock", "none", "2.5 points ahead (1.8 to 3.3, p < .0001)"),
        ("augmented-dropout", "dropout", "-.0 (-.8 to .7), p = .91"),
        ("adaptive-dropout", "none", "1.8 over none (1.1 to 2.5, p = .0003)"),
        ("adaptive-dropout", "spatial-dropout", "-.3 to the same coins (-1.2 to .6, p = .41)"),
        ("adaptive-dropout", "l1", "1.7 over L1 (.8 to 2.5, p = .002)"),
        ("adaptive-dropout", "l2", "level with L2 (.0, -1.0 to 1.0)"),
        ("adaptive-dropout", "dropout", "standard dropout (-.5, -1.4 to .4, p = .27)"),
    ),
    "adaptive/cifar10-small": (
        ("adaptive", "standard", "difference to standard .0 (-.8 to .8, p = .98)"),
        ("adaptive", "adaptive-unimportant", "difference .3 points (-.4 to 1.1, p = .29)"),
    ),
    "transfer/wikitext2-small": (
        ("variational-dropout", "dropout", "difference -.16 (-.48 to .16), p = .24"),
        ("paper-finding", "variational-dropout", "Variational Dropout 33.27 (p = .006)"),
        ("policy", "paper-finding", "what our search found 30.15 (p = .0003)"),
    ),
}
"""What the table says of two arms of a comparison: difference, ends of its interval, p, as far as it does."""


@pytest.mark.parametrize(
    ("place", "one", "other", "said"),
    [(place, *row) for place, rows in DIFFERENCES.items() for row in rows],
    ids=[row[2][:40] for rows in DIFFERENCES.values() for row in rows],
)
def test_differences_are_those_of_the_committed_runs(place, one, other, said):
    assert said in SECTION
    found = json.loads((ROOT / "results" / place / "comparison.json").read_text(encoding="utf8"))
    arms = {arm["name"].split()[0]: arm["values"] for arm in found["comparison"]["arms"]}
    paired = paired_difference(arms[one], arms[other])
    points, decimals = (1.0, 2) if place.startswith("transfer") else (100.0, 1)
    figures = {f"{points * end:.{decimals}f}" for end in (paired.difference, paired.low, paired.high)}
    shown = {figure.replace("0.", ".", 1) if "0." in figure[:3] else figure for figure in figures}
    head, _, tail = said.partition("p ")
    numbers = re.findall(r"-?\d*\.\d+", head)
    assert {number for number in numbers if number not in ("33.27", "30.15")} <= shown
    if match := re.search(r"= (\.\d+)", tail):
        digits = len(match[1]) - 1
        assert float(match[1]) == pytest.approx(paired.p, abs=0.51 * 10**-digits)
    elif tail:
        assert paired.p < 1e-4
