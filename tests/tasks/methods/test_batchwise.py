"""What prepares a model may ask for augmentations, and several may act together."""

from functools import partial

import torch
from torch import nn

from autodropout import Applied, ConvPattern, Policy, apply
from autodropout.data.augmentation import Flips, LabelSmoothing
from autodropout.tasks.methods.batchwise import Batchwise, Together, batchwise

POLICY = Policy({"1": ConvPattern(height=1, width=1)})
FLIP, SMOOTH = Batchwise(images=(Flips(),)), Batchwise(mixing=(LabelSmoothing(num_classes=3),))


def net():
    return nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2))


def test_only_what_is_returned_as_batchwise_asks_for_anything():
    assert batchwise(FLIP) is FLIP
    for other in (None, 3, Flips(), net()):
        assert batchwise(other) == Batchwise()


def test_a_policy_and_methods_act_together_in_order():
    model = net()
    first, second = (
        Batchwise(images=(Flips(rate=0.1),)),
        Batchwise(images=(Flips(rate=0.2),), mixing=SMOOTH.mixing),
    )
    together = Together((partial(apply, policy=POLICY), lambda _: first, lambda _: second))
    asked = together(model)
    assert Applied.of(model).policy == POLICY
    assert asked == Batchwise(images=(Flips(rate=0.1), Flips(rate=0.2)), mixing=SMOOTH.mixing)


def test_nothing_together_asks_for_nothing():
    assert Together(())(net()) == Batchwise()
    assert torch.equal(net()[1].weight, nn.BatchNorm2d(2).weight)
