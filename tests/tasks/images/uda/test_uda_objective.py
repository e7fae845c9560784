"""The loss of UDA: each term against loops written from the paper, gradients, one forward pass."""

import math

import pytest
import torch
from torch import nn

from autodropout.errors import ShapeError, UsageError
from autodropout.tasks.images.uda.objective import (
    Uda,
    annealed_cross_entropy,
    annealing_threshold,
    consistency,
)

CLASSES = 4


def logits(num=6, scale=2.0, seed=0, dtype=torch.float64):
    return scale * torch.randn(num, CLASSES, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def likelihoods(row, temperature=1.0):
    powers = [math.exp(value / temperature) for value in row.tolist()]
    return [power / sum(powers) for power in powers]


def cross_entropy_by_loops(found, labels, threshold):
    kept = [likelihoods(row)[y] for row, y in zip(found, labels.tolist(), strict=True)]
    counted = [p for p in kept if p <= threshold]
    return sum(-math.log(p) for p in counted) / max(1, len(counted))


def consistency_by_loops(own, augmented, temperature, confidence):
    total = 0.0
    for one, other in zip(own, augmented, strict=True):
        if max(likelihoods(one)) > confidence:
            target, found = likelihoods(one, temperature), likelihoods(other)
            total += sum(p * (math.log(p) - math.log(q)) for p, q in zip(target, found, strict=True))
    return total / len(own)


@pytest.mark.parametrize(
    ("annealing", "first", "half", "last"),
    [
        ("none", 1.0, 1.0, 1.0),
        ("linear", 0.1, 0.55, 1.0),
        ("log", 0.1, 0.1 + 0.9 * (1 - math.exp(-2.5)), 0.1 + 0.9 * (1 - math.exp(-5))),
        ("exp", 0.1 + 0.9 * math.exp(-5), 0.1 + 0.9 * math.exp(-2.5), 1.0),
    ],
)
def test_thresholds_rise_from_chance_as_in_the_paper(annealing, first, half, last):
    found = [annealing_threshold(progress, 10, annealing) for progress in (0.0, 0.5, 1.0)]
    assert found == pytest.approx([first, half, last])


@pytest.mark.parametrize("threshold", [0.0, 0.2, 0.4, 0.8, 1.0])
def test_learned_examples_leave_sum_and_number(threshold):
    found, labels = logits(20), torch.arange(20) % CLASSES
    expected = cross_entropy_by_loops(found, labels, threshold)
    assert annealed_cross_entropy(found, labels, threshold).item() == pytest.approx(expected, rel=1e-9)


def test_without_annealing_it_is_the_usual_cross_entropy():
    found, labels = logits(), torch.arange(6) % CLASSES
    expected = nn.functional.cross_entropy(found, labels)
    torch.testing.assert_close(annealed_cross_entropy(found, labels, 1.0), expected)
    certain = torch.tensor([[200.0, 0.0]])
    assert annealed_cross_entropy(certain, torch.tensor([0]), 1.0) == 0.0


def test_nothing_left_to_learn_is_no_loss_and_no_gradient():
    found = torch.tensor([[9.0, 0.0], [0.0, 9.0]], requires_grad=True)
    loss = annealed_cross_entropy(found, torch.tensor([0, 1]), 0.5)
    loss.backward()
    assert loss == 0.0
    assert torch.equal(found.grad, torch.zeros(2, 2))


@pytest.mark.parametrize("confidence", [0.0, 0.5, 0.8, 0.999])
@pytest.mark.parametrize("temperature", [0.4, 1.0, 2.0])
def test_consistency_is_the_masked_divergence_from_sharpened_predictions(temperature, confidence):
    own, augmented = logits(30), logits(30, seed=1)
    found = consistency(own, augmented, temperature, confidence)
    assert found.item() == pytest.approx(consistency_by_loops(own, augmented, temperature, confidence))


def test_agreement_costs_nothing_unless_it_is_to_be_sharper():
    own = logits()
    assert consistency(own, own, 1.0, 0.0).item() == pytest.approx(0.0, abs=1e-12)
    assert consistency(own, own, 0.4, 0.0) > 0.01
    torch.testing.assert_close(consistency(own, own / 0.4, 0.4, 0.0), own.new_zeros(()))


def test_gradients_flow_through_the_augmented_images_alone():
    own, augmented = logits().requires_grad_(), logits(seed=1).requires_grad_()
    consistency(own, augmented, 0.4, 0.0).backward()
    assert own.grad is None
    assert torch.autograd.gradcheck(lambda x: consistency(own, x, 0.4, 0.3), augmented)
    labels = torch.arange(6) % CLASSES
    assert torch.autograd.gradcheck(
        lambda x: annealed_cross_entropy(x, labels, 0.6), logits().requires_grad_()
    )


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float32])
def test_coarse_logits_are_computed_in_float32(dtype):
    own, augmented = logits(dtype=torch.float32).to(dtype), logits(seed=1, dtype=torch.float32).to(dtype)
    assert consistency(own, augmented, 0.4, 0.5).dtype == torch.float32
    torch.testing.assert_close(
        consistency(own, augmented, 0.4, 0.5), consistency(own.float(), augmented.float(), 0.4, 0.5)
    )
    assert annealed_cross_entropy(own, torch.arange(6) % CLASSES, 1.0).dtype == torch.float32


def test_the_objective_is_the_sum_from_one_forward_pass():
    torch.manual_seed(0)
    net = nn.Sequential(nn.Flatten(), nn.Linear(8, CLASSES), nn.BatchNorm1d(CLASSES))
    calls = []
    net[0].register_forward_hook(lambda *seen: calls.append(len(seen[2])))
    images, plain, augmented = torch.randn(3, 8), torch.randn(5, 8), torch.randn(5, 8)
    labels = torch.tensor([0, 1, 2])
    uda = Uda(temperature=0.5, confidence=0.3, weight=2.0, annealing="linear")
    found = uda(net, (images, labels, plain, augmented), 0.25)
    assert calls == [13]
    together = net(torch.cat((images, plain, augmented)))
    expected = annealed_cross_entropy(together[:3], labels, annealing_threshold(0.25, CLASSES, "linear"))
    expected = expected + 2.0 * consistency(together[3:8], together[8:], 0.5, 0.3)
    torch.testing.assert_close(found, expected)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"temperature": 0.0}, "temperature is 0.0; expected a number above 0"),
        ({"confidence": 1.0}, "confidence is 1.0; expected a likelihood, from 0 to below 1"),
        ({"weight": -1.0}, "weight is -1.0; expected a number of at least 0"),
        ({"annealing": "cosine"}, "annealing is 'cosine'; expected one of none, log, linear, exp"),
    ],
)
def test_settings_out_of_range_are_refused(given, message):
    with pytest.raises(UsageError) as caught:
        Uda(**given)
    assert str(caught.value) == message


def test_shapes_that_do_not_fit_are_refused():
    with pytest.raises(ShapeError) as caught:
        consistency(logits(4), logits(5), 0.4, 0.8)
    assert str(caught.value) == (
        "logits have shape (4, 4), those of the augmented images (5, 4); expected the same"
    )
    with pytest.raises(ShapeError) as caught:
        annealed_cross_entropy(logits(4), torch.rand(4, 4), 1.0)
    assert str(caught.value) == (
        "labels have shape (4, 4) and dtype torch.float32, logits shape (4, 4); expected one whole number "
        "for each example: labels that are mixed or smoothed have no likelihood to anneal"
    )
