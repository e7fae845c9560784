"""Adaptive dropout in a training that is killed and goes on."""

import math

import pytest
import torch
from torch import nn

from autodropout.adapting import Refreshing, adaptive_dropout
from autodropout.applying import apply
from autodropout.pattern import TokenPattern
from autodropout.policy import Policy
from autodropout.tasks.fit import FitSettings, fit
from autodropout.tasks.loop import Loop
from autodropout.tasks.saving import Saving


def batches():
    generator = torch.Generator().manual_seed(5)
    for _ in range(12):
        yield torch.randn(16, 6, generator=generator), torch.randint(3, (16,), generator=generator)


def trained(saving=None, killed_after=None):
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 3))
    adaptive = adaptive_dropout(net, "0", 0.3)

    def measure(model):
        measured.append(model)
        if len(measured) == killed_after:
            raise KeyboardInterrupt
        return 0.0

    measured = []
    settings = FitSettings(steps=12, measure=measure, measurements=4, saving=saving)
    optimiser = torch.optim.SGD(net.parameters(), 0.1, 0.9)
    with torch.random.fork_rng():
        fit(net, optimiser, lambda _: 1.0, batches(), settings)
    return net[0].weight.detach().clone(), adaptive.state_dict()


def test_a_killed_training_goes_on_with_its_rates(tmp_path):
    weights, state = trained()
    assert state["calls"] == 12
    saving = Saving(folder=tmp_path, identity="x", every=0.0)
    with pytest.raises(KeyboardInterrupt):
        trained(saving, killed_after=3)
    again, resumed = trained(saving)
    assert torch.equal(again, weights)
    assert resumed == state


@pytest.mark.parametrize(
    ("steps", "asked", "every"), [(300, 100, 10), (500, 100, 16), (3000, 100, 100), (600, 5, 5), (12, 100, 1)]
)
def test_short_trainings_refresh_more_often(steps, asked, every):
    net = nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 3))
    adaptive = adaptive_dropout(net, "0", 0.3, refreshing=Refreshing(every=asked, method="gradient"))
    optimiser = torch.optim.SGD(net.parameters(), 0.1)
    loop = Loop(net, optimiser, lambda _: 1.0, FitSettings(steps=steps))
    assert loop.adaptive == [adaptive]
    assert adaptive.refreshing == Refreshing(every=every, method="gradient")
    assert steps < 3000 or every == asked, "a long training has what was asked for"


def test_the_schedules_of_all_that_is_applied_follow_a_training():
    net = nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 3))
    pattern = TokenPattern(size=1, rate=0.1)
    applied = apply(net, Policy({"0": pattern}, "ramp"), layouts={"0": "NTC"})
    adaptive = adaptive_dropout(net, "0", 0.3, schedule="ramp")
    optimiser = torch.optim.SGD(net.parameters(), 0.1)
    fit(net, optimiser, lambda _: 1.0, batches(), FitSettings(steps=12))
    strengths = [layer.strength.item() for handle in (applied, adaptive) for layer in handle.layers.values()]
    assert strengths == pytest.approx([11 / 12] * 2)


def test_a_refresh_after_divergence_ends_training_without_an_error(caplog):
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 3))
    adaptive_dropout(net, "0", 0.3, refreshing=Refreshing(every=1))
    optimiser = torch.optim.SGD(net.parameters(), 1e30)
    fitted = fit(net, optimiser, lambda _: 1.0, batches(), FitSettings(steps=12))
    assert fitted.diverged
    assert math.isnan(fitted.loss)
    assert fitted.steps < 10, "at once"
    assert caplog.text.count('counts as diverged: site "0": relevance is not finite') == 1
