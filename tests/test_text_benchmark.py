"""The benchmark of beam search: both ways are timed, and find the same translations."""

import sys
from pathlib import Path

import pytest
import torch

sys.path.append(str(Path(__file__).parents[1] / "benchmarks"))

import text


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
