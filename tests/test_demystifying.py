import importlib.util
import math
import sys
from pathlib import Path

import pytest
import torch

from autodropout.applied import Applied
from autodropout.data.splits import Examples, Splits

SPEC = importlib.util.spec_from_file_location(
    "demystifying", Path(__file__).parents[1] / "experiments" / "demystifying.py"
)
demystifying = importlib.util.module_from_spec(SPEC)


@pytest.fixture(autouse=True, scope="module")
def loaded():
    sys.modules["demystifying"] = demystifying  # a frozen dataclass with slots looks its module up
    SPEC.loader.exec_module(demystifying)
    yield
    del sys.modules["demystifying"]


def splits():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        part = Examples(inputs=torch.rand(40, 1, 28, 28), labels=torch.arange(40) % 10)
    none = Examples(inputs=part.inputs[:0], labels=part.labels[:0])
    return Splits(train=part, validation=none, test=part)


def test_the_cells_are_those_of_the_table():
    cells = demystifying.arms(12_000, None)
    assert len(cells) == 11
    assert (cells["standard 0.3"].rate, cells["standard 0.3"].backward_rate) == (0.3, 0.0)
    assert (cells["augmented 0.5"].rate, cells["augmented 0.5"].backward_rate) == (0.5, 0.0001)
    assert cells["plain"].rate == 0.0
    assert all(cell.steps == 12_000 and cell.batch_size == 100 for cell in cells.values())


@pytest.mark.parametrize("rate", [0.0, 0.5])
def test_a_run_follows_from_its_seed(rate, monkeypatch):
    seen = []

    def fit(net, optimiser, schedule, batches, settings):
        applied = Applied.of(net)
        groups = [
            (g["lr"], g["momentum"], g["weight_decay"], len(g["params"])) for g in optimiser.param_groups
        ]
        seen.append((None if applied is None else list(applied.layers), groups, settings.steps))
        return real(net, optimiser, schedule, batches, settings)

    real = demystifying.fit
    monkeypatch.setattr(demystifying, "fit", fit)
    run = demystifying.Run(rate=rate, backward_rate=0.1, steps=3, batch_size=20)
    first, again, other = (run.train(splits(), seed) for seed in (1, 1, 2))
    groups = [(0.01, 0.9, 0.0005, 4), (0.02, 0.9, 0.0005, 4)]
    assert seen == [(["fc2"] if rate else None, groups, 3)] * 3
    assert (first.reward, first.test) == (again.reward, again.test)
    assert math.isfinite(first.reward)
    assert first.reward != other.reward
    assert 0.0 <= first.test["accuracy"] <= 1.0


def test_accuracy_counts_what_is_right():
    class Says(torch.nn.Module):
        def forward(self, images):
            return images.flatten(1)[:, :10]

    labels = torch.arange(2500) % 10
    images = torch.zeros(2500, 1, 28, 28)
    images.flatten(1)[torch.arange(2500), (labels + (torch.arange(2500) % 4 == 0)) % 10] = 1.0
    assert demystifying.accuracy(Says(), Examples(inputs=images, labels=labels)) == 0.75


def test_the_learning_rate_falls_once():
    assert [demystifying.halved(p) for p in (0.0, 0.49, 0.5, 0.99)] == [1.0, 1.0, 0.1, 0.1]
    images = demystifying.scaled(splits().train).inputs
    torch.testing.assert_close(images * 256, splits().train.inputs * 255)
