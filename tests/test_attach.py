import copy
import pickle

import pytest
import torch
from torch import nn

from autodropout.attach import CHILD, attach, named_module
from autodropout.errors import ApplyError, SiteError
from nets import Block


class Plus(nn.Module):
    """Adds a number."""

    def __init__(self, number: float) -> None:
        super().__init__()
        self.number = number

    def forward(self, h):
        return h + self.number


def net() -> nn.Module:
    model = nn.Sequential(nn.Identity(), nn.Sequential(nn.Identity(), nn.ReLU()))
    model.add_module("list", nn.Identity())
    return model


def test_a_child_acts_on_the_output_in_training_only():
    model, x = net(), torch.ones(2)
    attach(model, "1.0", [Plus(1.0)])
    assert model(x).tolist() == [2.0, 2.0]
    assert model.eval()(x).tolist() == [1.0, 1.0]
    model.train()
    model.get_submodule("1.0").eval()  # the site's own flag rules
    assert model(x).tolist() == [1.0, 1.0]


def test_children_act_in_order():
    model = net()
    attach(model, "0", [Plus(-3.0), nn.ReLU(), Plus(2.0)])
    assert model(torch.ones(1)).tolist() == [2.0]


def test_a_child_takes_the_sites_training_flag():
    model = net().eval()
    attach(model, "0", [Plus(1.0)])
    assert not model.get_submodule(f"0.{CHILD}").training


def test_closing_leaves_nothing():
    model = net()
    before, keys = repr(model), list(model.state_dict())
    attachment = attach(model, "1.0", [Plus(1.0)])
    assert repr(model) != before
    assert list(model.state_dict()) == keys
    attachment.close()
    attachment.close()
    assert repr(model) == before
    assert not model.get_submodule("1.0")._forward_hooks
    assert model(torch.ones(1)).tolist() == [1.0]


def test_copies_and_pickles_carry_it_along():
    model = net()
    attachment = attach(model, "1.0", [Plus(1.0)])
    for twin, its_own in (
        copy.deepcopy((model, attachment)),
        pickle.loads(pickle.dumps((model, attachment))),
    ):
        assert twin(torch.ones(1)).tolist() == [2.0]
        its_own.close()
        assert twin(torch.ones(1)).tolist() == [1.0]
    assert model(torch.ones(1)).tolist() == [2.0]


@pytest.mark.parametrize(
    ("container", "kind", "instead"),
    [
        (nn.Sequential(nn.Linear(1, 1), nn.ReLU()), "Sequential", 'whose output it is, "box.1"'),
        (nn.Sequential(nn.Sequential(nn.ReLU())), "Sequential", 'whose output it is, "box.0.0"'),
        (nn.Sequential(nn.ReLU(), Block(2)), "Sequential", 'whose output it is, "box.1"'),
        (nn.ModuleList([nn.ReLU()]), "ModuleList", 'such as "box.0"'),
        (nn.ModuleDict({"a": nn.ReLU()}), "ModuleDict", 'such as "box.a"'),
        (nn.ModuleList(), "ModuleList", "it is empty"),
        (nn.Sequential(nn.ReLU(), nn.Sequential()), "Sequential", 'whose output it is, "box.0"'),
    ],
)
def test_containers_are_refused_with_the_name_of_the_module_to_use(container, kind, instead):
    model = nn.Module()
    model.box = container
    message = f'site "box" is a {kind}, which would run a pattern as a layer; .*{instead}'
    with pytest.raises(SiteError, match=message):
        attach(model, "box", [Plus(1.0)])


def test_a_second_time_is_refused():
    model = net()
    attach(model, "0", [Plus(1.0)])
    with pytest.raises(ApplyError, match=r'site "0" already has a pattern; remove\(\) what was applied'):
        attach(model, "0", [Plus(1.0)])


def test_a_module_that_is_not_there_is_refused():
    with pytest.raises(SiteError, match=r'the model has no module "layer9.bn"'):
        named_module(net(), "layer9.bn")
