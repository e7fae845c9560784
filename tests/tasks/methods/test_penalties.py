"""Penalties: gradients equal those of the loss written out, weights alone, once per backward pass."""

import pytest
import torch
from torch import nn

from autodropout.errors import UsageError
from autodropout.tasks.methods.penalties import penalise


def net(dtype=torch.float64):
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.Flatten(), nn.Linear(8, 3)).to(dtype)


def loss(model):
    inputs = torch.linspace(-1, 1, 32, dtype=model[0].weight.dtype).reshape(2, 1, 4, 4)
    return nn.functional.cross_entropy(model(inputs), torch.tensor([0, 2]))


def gradients(model, penalty=lambda model: 0.0):
    model.zero_grad(set_to_none=True)
    (loss(model) + penalty(model)).backward()
    return {name: parameter.grad.clone() for name, parameter in model.named_parameters()}


@pytest.mark.parametrize(("l1", "l2"), [(0.1, 0.0), (0.0, 0.3), (0.2, 0.4), (0.0, 0.0)])
def test_gradients_are_those_of_the_loss_with_its_penalty(l1, l2):
    def written_out(model):
        weights = [model[0].weight, model[3].weight]
        return sum(l1 * w.abs().sum() + l2 / 2 * w.square().sum() for w in weights)

    expected, plain = gradients(net(), written_out), gradients(net())
    model = net()
    penalise(model, l1=l1, l2=l2)
    for _ in range(2):  # each backward pass once
        found = gradients(model)
        for name, gradient in found.items():
            torch.testing.assert_close(gradient, expected[name])
    for name in ("0.bias", "1.weight", "1.bias", "3.bias"):
        assert torch.equal(found[name], plain[name])


def test_the_l2_penalty_is_sgds_weight_decay_of_weights():
    theirs, ours = net(), net()
    penalise(ours, l2=0.05)
    decay = [[p for p in theirs.parameters() if p.ndim > 1], [p for p in theirs.parameters() if p.ndim == 1]]
    groups = [{"params": decay[0], "weight_decay": 0.05}, {"params": decay[1]}]
    for model, optimiser in (
        (theirs, torch.optim.SGD(groups, lr=0.1, momentum=0.9, nesterov=True)),
        (ours, torch.optim.SGD(ours.parameters(), lr=0.1, momentum=0.9, nesterov=True)),
    ):
        for _ in range(3):
            optimiser.zero_grad()
            loss(model).backward()
            optimiser.step()
    for one, other in zip(theirs.parameters(), ours.parameters(), strict=True):
        torch.testing.assert_close(one, other)


def test_a_model_may_move_after_it_was_penalised():
    model = net(torch.float32)
    penalise(model, l1=0.1)
    model.double()
    plain = net()
    plain.load_state_dict(model.state_dict())
    found, expected = gradients(model), gradients(plain)
    torch.testing.assert_close(found["3.weight"], expected["3.weight"] + 0.1 * model[3].weight.sign())


def test_state_dict_and_frozen_weights_are_untouched():
    model = net()
    model[0].requires_grad_(False)
    keys = list(model.state_dict())
    penalise(model, l2=1.0)
    loss(model).backward()
    assert model[0].weight.grad is None
    assert list(model.state_dict()) == keys


@pytest.mark.parametrize(("given", "name"), [({"l1": -0.1}, "l1"), ({"l2": float("nan")}, "l2")])
def test_negative_factors_are_refused(given, name):
    with pytest.raises(UsageError) as caught:
        penalise(net(), **given)
    assert str(caught.value) == f"{name} is {given[name]}; expected a factor of at least 0"
