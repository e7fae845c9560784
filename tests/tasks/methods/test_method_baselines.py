"""Methods as baselines: each asks for what its paper does, at the strength that is tuned."""

import pickle
from functools import partial

import pytest
import torch
from torch import nn

from autodropout import ConvPattern, Policy, apply
from autodropout.data.augmentation import CutMix, LabelSmoothing, Mixup, RandAugment
from autodropout.errors import SiteError
from autodropout.models.digits_net import DigitsNet
from autodropout.tasks.methods.baselines import method_baselines, penalty_baselines, stages
from autodropout.tasks.methods.batchwise import Batchwise, batchwise
from autodropout.tasks.methods.hidden import ManifoldMixup, MoEx

BASELINES = {baseline.name: baseline for baseline in method_baselines(10)}


def test_the_methods_are_those_of_the_papers_table_label_smoothing_and_penalties():
    assert list(BASELINES) == [
        "rand-augment",
        "mixup",
        "cutmix",
        "manifold-mixup",
        "moex",
        "cutmix-rand-augment",
        "label-smoothing",
        "l1",
        "l2",
    ]
    assert [baseline.name for baseline in penalty_baselines()] == ["l1", "l2"]


@pytest.mark.parametrize(
    ("name", "strength", "expected"),
    [
        ("rand-augment", 9.0, Batchwise(images=(RandAugment(magnitude=9),))),
        ("mixup", 0.2, Batchwise(mixing=(Mixup(num_classes=10, alpha=0.2),))),
        ("cutmix", 1.0, Batchwise(mixing=(CutMix(num_classes=10, alpha=1.0),))),
        (
            "cutmix-rand-augment",
            7.0,
            Batchwise(images=(RandAugment(magnitude=7),), mixing=(CutMix(num_classes=10),)),
        ),
        ("label-smoothing", 0.1, Batchwise(mixing=(LabelSmoothing(num_classes=10, smoothing=0.1),))),
        ("l1", 0.1, Batchwise()),
    ],
)
def test_each_asks_for_its_change_at_the_strength(name, strength, expected):
    assert batchwise(BASELINES[name].at(strength)(DigitsNet())) == expected


@pytest.mark.parametrize(("name", "kind"), [("manifold-mixup", ManifoldMixup), ("moex", MoEx)])
def test_hidden_mixtures_reach_a_real_network_in_training(name, kind):
    torch.manual_seed(0)
    net, images, labels = DigitsNet().train(), torch.rand(8, 1, 8, 8), torch.arange(8)
    plain = net(images)
    (change,) = batchwise(BASELINES[name].at(1.0)(net)).mixing
    assert isinstance(change, kind)
    source, changed = torch.Generator().manual_seed(0), 0
    for _ in range(10):
        mixed, targets = change(images, labels, source)
        assert targets.shape == (8, 10)
        changed += int(not torch.allclose(net(mixed), plain))
    assert changed == 10


def test_penalties_reach_the_gradients():
    for name in ("l1", "l2"):
        torch.manual_seed(0)
        net, images = DigitsNet(), torch.rand(2, 1, 8, 8)
        net(images).sum().backward()
        before = net.head.weight.grad.clone()
        net.zero_grad()
        BASELINES[name].at(0.5)(net)
        net(images).sum().backward()
        weight = net.head.weight.detach()
        added = 0.5 * (weight.sign() if name == "l1" else weight)
        torch.testing.assert_close(net.head.weight.grad, before + added)


@pytest.mark.parametrize("name", BASELINES)
def test_they_travel_to_workers_and_stand_on_a_policy(name):
    baseline = pickle.loads(pickle.dumps(BASELINES[name]))
    net = DigitsNet()
    apply(net, Policy({"bn": ConvPattern(height=1, width=1)}))
    assert isinstance(batchwise(partial(baseline.put, strength=baseline.strengths[0])(net)), Batchwise)


def test_stages_are_the_containers_of_blocks_or_the_blocks():
    assert stages(DigitsNet()) == ("block1", "block2")
    timm = pytest.importorskip("timm")
    with torch.device("meta"):
        net = timm.create_model("resnet50", pretrained=False)
    assert stages(net) == ("layer1", "layer2", "layer3", "layer4")


def test_a_network_without_blocks_is_refused():
    with pytest.raises(SiteError) as caught:
        stages(nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2)))
    assert str(caught.value) == (
        "Sequential has 0 stages of residual blocks; expected at least 2, whose inputs could be mixed"
    )
