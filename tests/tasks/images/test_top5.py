"""The share of images whose class is among the five likeliest: of many classes, by the definition."""

from dataclasses import dataclass, replace
from typing import ClassVar

import pytest
import torch
from torch import nn

from autodropout.policy import Policy
from autodropout.tasks.images.training import Scoring, _score
from stripes import TASK, Stripes, loaded


@dataclass(frozen=True, kw_only=True)
class ManyClasses(Stripes):
    """Three classes of which images are there, among a hundred."""

    num_classes: ClassVar[int] = 100

    def load(self, folder):
        return replace(loaded(), num_classes=100)


class Table(nn.Module):
    """Logits of the image whose first pixel holds its number."""

    def __init__(self, logits):
        super().__init__()
        self.logits = logits

    def forward(self, images):
        return self.logits[(images[:, 0, 0, 0] * 255).round().long()]


def scoring_of(labels, num_classes):
    images = torch.arange(len(labels), dtype=torch.uint8).reshape(-1, 1, 1, 1)

    def chunks():
        yield images[:7], labels[:7]
        yield images[7:], labels[7:]

    return Scoring(
        validation=chunks, test=chunks, mean=(0.0,), deviation=(1.0,), num_classes=num_classes
    ), chunks


def test_it_counts_what_a_loop_counts():
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(90, 120, generator=generator)
    labels = torch.tensor([int(row.argsort(descending=True)[place % 9]) for place, row in enumerate(logits)])
    scoring, chunks = scoring_of(labels, 120)
    found = _score(Table(logits), chunks, scoring, torch.device("cpu"))
    first = five = 0
    for row, label in zip(logits.tolist(), labels.tolist(), strict=True):
        better = sum(other > row[label] for other in row)
        first += better < 1
        five += better < 5
    assert (first, five) == (10, 50)
    assert found["accuracy"] == pytest.approx(first / 90)
    assert found["top5"] == pytest.approx(five / 90)


def test_of_fewer_than_a_hundred_classes_it_is_left_out():
    labels = torch.arange(9)
    for num_classes, there in ((99, False), (100, True)):
        scoring, chunks = scoring_of(labels, num_classes)
        found = _score(Table(torch.randn(9, num_classes)), chunks, scoring, torch.device("cpu"))
        assert ("top5" in found) is there


def test_a_trial_has_it_on_validation_and_on_held_out_images():
    result = replace(TASK, source=ManyClasses()).evaluate(Policy({}), 0)
    assert next(iter(result.test)) == "accuracy"  # what is compared
    assert set(result.test) == {"accuracy", "top5"}
    assert result.reward <= result.metrics["val_top5"] <= 1.0
    assert result.test["accuracy"] <= result.test["top5"] <= 1.0
