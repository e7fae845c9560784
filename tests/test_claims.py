"""The table of claims in docs/results.md: every row has a verdict, and what it names exists."""

import re
from pathlib import Path

import pytest

from autodropout import zoo
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
