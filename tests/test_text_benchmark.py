"""The benchmark of text models: beam search is timed both ways, and the page shows what was measured."""

import json
import sys
from pathlib import Path

import pytest
import torch

sys.path.append(str(Path(__file__).parents[1] / "benchmarks"))

import text

ROOT = Path(__file__).parents[1]


def test_beam_search_is_timed_both_ways():
    torch.manual_seed(0)
    figures = text.searching(1, num_sentences=6)
    assert list(figures) == ["one by one", "in a batch", "one by one, milliseconds"]
    assert figures["in a batch"]["unit"] == "x one by one"
    assert figures["in a batch"]["median"] > 0.0


def test_other_translations_are_no_figure(monkeypatch):
    real = text.translate
    monkeypatch.setattr(
        text, "translate", lambda net, source, settings: real(net, source, settings)[: len(source) // 2 + 1]
    )
    with pytest.raises(AssertionError):
        text.searching(1, num_sentences=4)


def measured(name):
    """Return median and spread of every case of a committed measurement, as the page writes them."""
    found = json.loads((ROOT / f"benchmarks/results/{name}.json").read_text(encoding="utf8"))
    assert not found["uncommitted_changes"]
    cases = [part for part in found["figures"].values() if "seconds measured" not in part]
    nested = [part.values() for part in cases if "no policy" not in part and "one by one" not in part]
    flat = [*cases, *(part for parts in nested for part in parts)]
    return {
        case: f"{row['median']:.2f} ({row['spread']:.2f})".replace("0.", ".")
        for part in flat
        for case, row in part.items()
        if isinstance(row, dict) and "median" in row
    }


def test_the_page_shows_the_committed_measurements():
    page = " ".join((ROOT / "docs/text.md").read_text(encoding="utf8").split())
    language, translation = measured("text"), measured("translation")
    rows = [language[case] for case in (*text.POLICIES, "ours without memory", "ours, memory 70")]
    assert [row for row in rows if f"| {row} |" not in page] == []
    shown = [translation[case] for case in (*text.POLICIES, "in a batch")]
    assert [row for row in shown if row not in page.split("In translation, one layer")[1]] == []
