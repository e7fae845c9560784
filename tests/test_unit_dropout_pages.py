"""docs/augmented.md and docs/adaptive.md show the committed measurements of what the two methods cost."""

import json
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


def measured(name):
    found = json.loads((ROOT / f"benchmarks/results/{name}.json").read_text(encoding="utf8"))
    assert not found["uncommitted_changes"]
    return found["figures"]


def rows(page, name):
    """Return the cells of the page's row of this name."""
    text = (ROOT / "docs" / f"{page}.md").read_text(encoding="utf8")
    (line,) = [line for line in text.splitlines() if line.startswith(f"| {name} |")]
    return [cell.strip() for cell in line.strip("| ").split(" | ")][1:]


def shown(figure):
    return f"{figure['median']:.2f} ± {figure['spread']:.2f}"


@pytest.mark.parametrize("name", measured("augmented"))
def test_what_augmented_dropout_costs(name):
    figures = measured("augmented")[name]
    assert rows("augmented", name) == [
        shown(figures[case]) for case in ("no dropout", "augmented", "forward", "backward")
    ]
    assert figures["augmented"]["median"] <= figures["augmented"]["target"]


@pytest.mark.parametrize("name", measured("adaptive"))
def test_what_a_refresh_costs(name):
    figures = measured("adaptive")[name]
    cases = [figures[case] for case in figures if case.startswith("a refresh, ")]
    assert [cell for cell in rows("adaptive", name) if cell] == [shown(case) for case in cases]
    assert all(case["median"] <= case["target"] for case in cases[:2])
