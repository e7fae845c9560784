"""A tiny job for the trainers: data, and what is true after any of them."""

import torch
from torch.nn import functional as F
from torch.utils.data import TensorDataset

from autodropout.attach import CHILD
from autodropout.pattern import ConvPattern
from autodropout.policy import Policy
from nets import SmallNet

KEY = "blocks.*.bn"
POLICY = Policy({KEY: ConvPattern(height=3, width=3, share_c=False)}, schedule="ramp")


WRONG_OPTIONS = [
    ({"existing": "of"}, 'existing is \'of\'; expected "keep" or "off"'),
    ({"seed": 1.5}, "seed is 1.5; expected a whole number"),
    ({"protect": "[CLS]"}, r"protect is '\[CLS\]'; expected ids of tokens"),
    ({"submodule": None}, "submodule is None; expected the dotted name of a module"),
]
"""Arguments that each callback refuses, and what it says."""


def data(num=16):
    generator = torch.Generator().manual_seed(0)
    return TensorDataset(
        torch.randn(num, 2, 6, 6, generator=generator), torch.randint(3, (num,), generator=generator)
    )


def net():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return SmallNet()


def loss(model, images, labels):
    return F.cross_entropy(model(images), labels)


def weights(model):
    return torch.cat([p.detach().flatten() for p in model.parameters()])


def assert_untouched(model):
    assert repr(model) == repr(type(model)())
    for module in model.modules():
        assert CHILD not in module._modules
        assert not module._forward_hooks
        assert not module._forward_pre_hooks
