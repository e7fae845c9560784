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


def cases(figures):
    """Yield every case that was timed, with its figures."""
    for name, row in figures.items():
        if isinstance(row, dict):
            yield from [(name, row)] if "median" in row else cases(row)


def measured(name):
    """Return a committed measurement, and median and spread of its cases as the page has them."""
    found = json.loads((ROOT / f"benchmarks/results/{name}.json").read_text(encoding="utf8"))
    assert not found["uncommitted_changes"]
    rows = cases(found["figures"])
    shown = {case: f"{row['median']:.2f} ({row['spread']:.2f})".replace("0.", ".") for case, row in rows}
    return found["figures"], shown


def test_the_page_shows_the_committed_measurements():
    page = " ".join((ROOT / "docs/text.md").read_text(encoding="utf8").split())
    figures, language = measured("text")
    for shown, case in (
        ("the paper's finding", "the paper's finding"),
        ("blocks of two tokens on all roles but `softmax`", "blocks on all roles but softmax"),
        ("blocks of two tokens on all roles", "blocks on all roles"),
        ("ours without memory, 70 tokens seen", "ours without memory"),
        ("ours, memory 70, 140 tokens seen", "ours, memory 70"),
    ):
        assert f"| {shown} | {language[case]} |" in page
    seconds = figures["evaluation of Penn Treebank's test text"]["seconds for the whole test text"]
    assert f"takes {seconds:.0f} seconds of one core" in page
    _, translation = measured("translation")
    finding, most, every = (translation[case] for case in text.POLICIES)
    assert f"the paper's finding takes {finding} of the step" in page
    assert f"all roles but `softmax` {most}, on all roles {every}." in page
    assert f"beams takes {translation['in a batch']} of the time" in page
