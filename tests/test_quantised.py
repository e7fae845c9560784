"""Quantised models: what is refused, and what is said of what is gone."""

import re

import pytest
import torch
from torch import nn

from autodropout.applying import apply
from autodropout.errors import SiteError
from autodropout.matching import match
from autodropout.pattern import ConvPattern, TokenPattern
from autodropout.policy import Policy

models = pytest.importorskip("torchvision", reason="the models are torchvision's").models

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::UserWarning")

CONV = ConvPattern(height=1, width=1)


@pytest.mark.parametrize("act", [apply, match])
def test_a_site_at_a_quantised_module_is_refused_by_name(act):
    model = nn.Sequential(nn.Linear(2, 2), torch.ao.nn.quantized.ReLU6())
    message = 'site "1" is a quantised ReLU6, whose output is no float tensor; leave the site out'
    with pytest.raises(SiteError, match=message):
        act(model, Policy({"1": TokenPattern(size=1)}), layouts={"1": "NTC"})
    assert "_autodropout" not in repr(model)


def test_dynamic_quantisation_puts_floats_out():
    model = nn.Sequential(torch.ao.nn.quantized.dynamic.Linear(4, 4))
    with apply(model, Policy({"0": TokenPattern(size=1)}), layouts={"0": "NTC"}) as applied:
        model(torch.ones(2, 3, 4))
    assert applied.layers["0"].fired


@pytest.mark.parametrize("act", [apply, match])
def test_of_a_model_whose_norms_are_folded_away_it_is_said_that_it_is_quantised(act):
    model = models.quantization.resnet18(quantize=True)
    message = (
        "the policy's key 'layer1.*.bn1' matches nothing: the model is quantised (\"conv1\" is a quantised "
        "ConvReLU2d), and what it had for sites is gone; train with the policy first, then quantise"
    )
    with pytest.raises(SiteError, match=re.escape(message)):
        act(model, Policy({"layer1.*.bn1": CONV}))
