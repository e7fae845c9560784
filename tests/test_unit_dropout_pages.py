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


def points(share):
    """As the page writes percentage points: .8, -2.0, .0."""
    text = f"{100 * share:.1f}".replace("-0.0", "0.0")
    return text.replace("0.", ".", 1) if text.lstrip("-").startswith("0.") else text


def test_what_adaptive_dropout_does_on_its_own_network():
    found = json.loads((ROOT / "results/adaptive/cifar10-small/comparison.json").read_text(encoding="utf8"))
    pairs = {(pair["arm"], pair["against"]): pair["paired"] for pair in found["pairs"]}
    page = " ".join((ROOT / "docs/adaptive.md").read_text(encoding="utf8").split())
    for against, text in (
        ("standard", "of adaptive to standard dropout it is {} points (95% interval {} to {};"),
        ("adaptive-unimportant", "to the other direction {} points ({} to {})"),
        ("none", "to none {} points ({} to {})"),
    ):
        paired = pairs["adaptive", against]
        assert text.format(*(points(paired[part]) for part in ("difference", "low", "high"))) in page
        assert paired["difference"] < 0, "the page says that nothing speaks for it"
    (standard,) = (
        pair for pair in found["pairs"] if pair["against"] == "standard" and pair["arm"] == "adaptive"
    )
    assert f"p = {standard['paired']['p']:.2f} by".replace("0.", ".") in page
    assert f"{standard['adjusted_p']:.2f} adjusted for the six pairs".replace("0.", ".") in page
    assert len(found["pairs"]) == 6


@pytest.mark.parametrize("name", measured("augmented"))
def test_what_augmented_dropout_costs(name):
    figures = measured("augmented")[name]
    assert rows("augmented", name) == [
        shown(figures[case]) for case in ("no dropout", "augmented", "forward", "backward")
    ]
    for kind in ("augmented", "forward", "backward"):
        assert figures[kind]["median"] <= figures[kind]["target"]


@pytest.mark.parametrize("name", measured("adaptive"))
def test_what_a_refresh_costs(name):
    figures = measured("adaptive")[name]
    cases = [figures[case] for case in figures if case.startswith("a refresh, ")]
    assert [cell for cell in rows("adaptive", name) if cell] == [shown(case) for case in cases]
    assert all(case["median"] <= case["target"] for case in cases[:2])
