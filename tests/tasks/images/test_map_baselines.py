import cloudpickle
import pytest
import torch

from autodropout.baselines import DropBlock, Dropout, SpatialDropout, StochasticDepth
from autodropout.data.digits import load_digits
from autodropout.errors import SiteError, UsageError
from autodropout.models.digits_net import DigitsNet
from autodropout.tasks.base import Baseline
from autodropout.tasks.batches import shuffled_batches
from autodropout.tasks.fit import FitSettings, cosine, fit
from autodropout.tasks.images.map_baselines import map_baselines

SITES = ("bn", "block1.bn1", "block1.bn2", "block2.bn1", "block2.bn2")
KINDS = {
    "dropout": Dropout,
    "spatial-dropout": SpatialDropout,
    "dropblock": DropBlock,
    "stochastic-depth": StochasticDepth,
}
ALL = map_baselines(sites=SITES, branch_ends=("block1.bn2", "block2.bn2"), block_size=3)


def test_there_are_six():
    assert [baseline.name for baseline in ALL] == [*KINDS, "augmented-dropout", "adaptive-dropout"]


def test_augmented_dropout_acts_where_one_convolution_reads_a_site():
    layers = ALL[4].at(0.4)(DigitsNet()).layers
    assert list(layers) == ["block1.conv2", "block2.conv2"]
    assert {(layer.rate, layer.backward_rate) for layer in layers.values()} == {(0.4, 0.0002)}
    plain = torch.nn.Sequential(torch.nn.Conv2d(1, 1, 1), torch.nn.BatchNorm2d(1))
    with pytest.raises(SiteError, match="no site of the model has a single consumer that is known"):
        ALL[4].put(plain, 0.4)


def test_adaptive_dropout_has_the_strength_as_mean_rate_and_follows_the_batches():
    net = DigitsNet()
    adaptive = ALL[5].at(0.2)(net)
    assert list(adaptive.layers) == list(SITES)
    batches = shuffled_batches(load_digits(300).train, 50, 0)
    fit(net, torch.optim.SGD(net.parameters(), 0.01), cosine, batches, FitSettings(steps=3))
    for layer in adaptive.layers.values():
        assert layer.observed == 3, "a training of 3 steps refreshes at each"
        assert layer.rates.mean().item() == pytest.approx(0.2)
        assert layer.rates.std() > 0


@pytest.mark.parametrize("baseline", ALL[:3], ids=lambda b: b.name)
def test_every_site_has_the_module_at_that_strength(baseline):
    placed = baseline.at(0.3)(DigitsNet())
    assert list(placed.modules) == list(SITES)
    for module in placed.modules.values():
        assert type(module) is KINDS[baseline.name]
        assert module.p == 0.3
    if baseline.name == "dropblock":
        assert {module.block_size for module in placed.modules.values()} == {3}


def test_stochastic_depth_grows_with_depth_and_ends_at_the_strength():
    placed = ALL[3].at(0.4)(DigitsNet())
    assert {name: module.p for name, module in placed.modules.items()} == {
        "block1.bn2": 0.2,
        "block2.bn2": 0.4,
    }
    assert {type(module) for module in placed.modules.values()} == {StochasticDepth}


@pytest.mark.parametrize("baseline", ALL, ids=lambda b: b.name)
def test_it_acts_in_training_only_and_is_stronger_at_the_other_end(baseline):
    images = torch.randn(64, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    changes = []
    for strength in (baseline.strengths[0], baseline.strengths[-1]):
        torch.manual_seed(0)
        net, plain = DigitsNet(), DigitsNet()
        plain.load_state_dict(net.state_dict())
        cloudpickle.loads(cloudpickle.dumps(baseline.at(strength)))(net)
        changes.append((net(images) - plain(images)).square().mean().item())
        net.load_state_dict(plain.state_dict())
        assert torch.equal(net.eval()(images), plain.eval()(images))
    assert 0 < changes[0] < changes[1]


@pytest.mark.parametrize("strengths", [(), (0.1,), (0.2, 0.1), (0.1, 0.1), (0.1, float("inf"))])
def test_strengths_must_rise(strengths):
    with pytest.raises(UsageError, match=r"baseline 'x' has strengths .*; expected at least two, rising"):
        Baseline(name="x", strengths=strengths, put=lambda model, strength: None)
