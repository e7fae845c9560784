import copy
import pickle

import pytest
import timm
import torch
import torchvision
from timm.layers import DropBlock2d, DropPath, PatchDropout
from torch import nn
from torch.nn import functional as F
from torchvision.ops import DropBlock2d as TorchvisionDropBlock
from torchvision.ops import StochasticDepth

from autodropout import baselines
from autodropout.applied import Applied
from autodropout.applying import apply
from autodropout.existing import OwnDropout, own_dropout, silence
from autodropout.matching import match
from autodropout.pattern import ConvPattern
from autodropout.policy import Policy
from nets import SmallNet

POLICY = Policy({"norm": ConvPattern(height=1, width=1)})


class Functional(nn.Module):
    """Drops without a module for it; has floats and other things that are no rates."""

    def __init__(self, rate: float = 0.5) -> None:
        super().__init__()
        self.attn_drop_p = rate
        self.drop_last = True
        self.dropped_channels = 3
        self.drop_path_rate = 0.3
        self.momentum = 0.1

    def forward(self, h):
        return F.dropout(h, self.attn_drop_p, self.training)


KINDS = {
    "nn.Dropout": (nn.Dropout(0.2), "p"),
    "nn.Dropout2d": (nn.Dropout2d(0.2), "p"),
    "nn.AlphaDropout": (nn.AlphaDropout(0.2), "p"),
    "nn.FeatureAlphaDropout": (nn.FeatureAlphaDropout(0.2), "p"),
    "timm DropPath": (DropPath(0.2), "drop_prob"),
    "timm DropBlock": (DropBlock2d(0.2), "drop_prob"),
    "timm PatchDropout": (PatchDropout(0.2), "prob"),
    "torchvision StochasticDepth": (StochasticDepth(0.2, "row"), "p"),
    "torchvision DropBlock": (TorchvisionDropBlock(0.2, 3), "p"),
    "ours": (baselines.SpatialDropout(0.2), "p"),
    "nn.MultiheadAttention": (nn.MultiheadAttention(4, 2, dropout=0.2), "dropout"),
    "nn.LSTM": (nn.LSTM(4, 4, 2, dropout=0.2), "dropout"),
    "a functional one": (Functional(0.2), "attn_drop_p"),
}


@pytest.mark.parametrize("name", KINDS)
def test_each_kind_is_found_silenced_and_given_back(name):
    module, attribute = copy.deepcopy(KINDS[name])
    model = nn.Sequential(nn.Sequential(module))
    found = OwnDropout(name="0.0", module=type(module).__name__, attribute=attribute, rate=0.2)
    assert own_dropout(model) == (found,)
    silenced = silence(model)
    assert getattr(module, attribute) == 0.0
    assert own_dropout(model) == ()
    model.eval().train()
    assert getattr(module, attribute) == 0.0
    silenced.close()
    assert getattr(module, attribute) == 0.2
    setattr(module, attribute, 0.25)
    silenced.close()
    assert getattr(module, attribute) == 0.25


def test_what_does_nothing_is_not_listed():
    silent = nn.Sequential(nn.Dropout(0.0), DropPath(0.0), StochasticDepth(0.0, "row"), Functional(0.0))
    assert own_dropout(silent) == ()
    assert [own.attribute for own in own_dropout(Functional())] == ["attn_drop_p"]
    assert own_dropout(Functional())[0].name == ""


@pytest.mark.parametrize(
    ("build", "num_places"),
    [
        (lambda: timm.create_model("resnet10t", num_classes=2, drop_rate=0.3, drop_path_rate=0.2), 1 + 3),
        (lambda: timm.create_model("resnet10t", num_classes=2, drop_block_rate=0.3, zero_init_last=False), 2),
        (lambda: torchvision.models.efficientnet_b0(num_classes=2), 1 + 15),
        (lambda: torchvision.models.densenet121(num_classes=2, drop_rate=0.1), 58),
        (lambda: torchvision.models.swin_t(num_classes=2, attention_dropout=0.1, dropout=0.2), None),
    ],
)
def test_silenced_models_repeat_themselves(build, num_places):
    torch.manual_seed(0)
    model = build()
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.momentum = 0.0
    x = torch.randn(2, 3, 64, 64)
    assert num_places in (None, len(own_dropout(model)))
    with torch.no_grad():
        assert not torch.equal(model(x), model(x))
        silenced = silence(model)
        assert torch.equal(model(x), model(x))
        silenced.close()
        assert not torch.equal(model(x), model(x))


@pytest.mark.parametrize("twin_of", [copy.deepcopy, lambda m: pickle.loads(pickle.dumps(m))])
def test_off_lasts_until_removal_in_every_copy(twin_of):
    model = SmallNet()
    model.side = nn.MultiheadAttention(4, 2, dropout=0.2)
    apply(model, POLICY, existing="off")
    twin = twin_of(model)
    Applied.of(model).remove()
    twin.eval().train()
    assert (model.dropout.p, model.side.dropout) == (0.25, 0.2)
    assert (twin.dropout.p, twin.side.dropout) == (0.0, 0.0)
    assert Applied.of(twin).existing == "off"
    Applied.of(twin).remove()
    assert (twin.dropout.p, twin.side.dropout) == (0.25, 0.2)


def test_removal_after_the_head_was_exchanged():
    model = SmallNet()
    old, applied = model.dropout, apply(model, POLICY, existing="off")
    del model.dropout
    applied.remove()
    assert old.p == 0.25


def test_match_shows_what_the_model_has():
    model = SmallNet()
    model.drop_rate = 0.1
    found = match(model, POLICY)
    assert [(own.name, own.rate) for own in found.existing] == [("", 0.1), ("dropout", 0.25)]
    assert str(found).splitlines()[-3:] == [
        "own dropout  module    attribute  rate",
        "(the model)  SmallNet  drop_rate  0.1",
        "dropout      Dropout   p          0.25",
    ]
    silence(model)
    assert "own dropout" not in str(match(model, POLICY))


def test_our_layers_are_not_the_models_own():
    model = SmallNet()
    apply(model, POLICY)
    assert [own.name for own in own_dropout(model)] == ["dropout"]
