"""Manifold Mixup and MoEx: equations against loops, hooks that act on the batch drawn for, shares."""

import copy

import pytest
import torch
from scipy import stats
from torch import nn

from autodropout.errors import ShapeError, SiteError, UsageError
from autodropout.tasks.methods.hidden import ManifoldMixup, MoEx, exchanged, mixed
from oracles import RARE, assert_share

LAYERS = ("first", "second")


class Seeing(nn.Conv2d):
    def forward(self, x):
        self.seen = x
        return super().forward(x)


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.stem = nn.Conv2d(2, 4, 1)
        self.first = Seeing(4, 4, 1)
        self.second = Seeing(4, 4, 1)

    @property
    def seen(self):
        return {"first": self.first.seen, "second": self.second.seen}

    def forward(self, x):
        return self.second(self.first(self.stem(x))).mean((2, 3))


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def batch(num=6):
    return torch.rand(num, 2, 3, 3, generator=generator(1)), torch.arange(num) % 4


def exchanged_by_loops(h, order):
    found = torch.empty_like(h)
    for i in range(len(h)):
        for y in range(h.shape[2]):
            for x in range(h.shape[3]):
                own, other = h[i, :, y, x], h[order[i], :, y, x]
                sigma_i, sigma_j = (torch.sqrt(((v - v.mean()) ** 2).mean() + 1e-5) for v in (own, other))
                found[i, :, y, x] = sigma_j * (own - own.mean()) / sigma_i + other.mean()
    return found


def test_mixing_is_the_weighted_sum():
    h, order = torch.rand(3, 2, 2), torch.tensor([2, 1, 0])
    found = mixed(h, order, 0.25)
    for i, j in enumerate(order.tolist()):
        torch.testing.assert_close(found[i], 0.25 * h[i] + 0.75 * h[j])
    assert torch.equal(mixed(h, order, 1.0), h)


def test_moments_are_exchanged_as_in_the_equation():
    h, order = torch.randn(4, 5, 2, 3, dtype=torch.float64), torch.tensor([1, 3, 2, 0])
    torch.testing.assert_close(exchanged(h, order), exchanged_by_loops(h, order))


def test_an_example_exchanged_with_itself_is_unchanged():
    h = torch.randn(3, 8, 4, 4, dtype=torch.float64)
    torch.testing.assert_close(exchanged(h, torch.arange(3)), h)


def test_the_moments_are_the_others():
    h, order = torch.randn(5, 16, 2, 2, dtype=torch.float64) * 3 + 1, torch.randperm(5, generator=generator())
    found = exchanged(h, order)
    torch.testing.assert_close(found.mean(1), h[order].mean(1))
    torch.testing.assert_close(found.var(1), h[order].var(1), rtol=1e-3, atol=0)  # 1e-5 joins the variance


def test_gradients_flow_through_values_and_moments():
    h = torch.randn(3, 4, 1, 2, dtype=torch.float64, requires_grad=True)
    order = torch.tensor([1, 2, 0])
    assert torch.autograd.gradcheck(lambda x: exchanged(x, order), h)
    assert torch.autograd.gradcheck(lambda x: mixed(x, order, 0.3), h)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_shape_and_dtype_are_kept(dtype):
    h, order = torch.randn(3, 4, 2, 2).to(dtype), torch.tensor([1, 2, 0])
    for found in (exchanged(h, order), mixed(h, order, 0.5)):
        assert found.shape == h.shape
        assert found.dtype == dtype


def test_manifold_mixup_mixes_at_the_layer_drawn_and_nowhere_else():
    torch.manual_seed(0)
    net, (images, labels) = Net(), batch()
    net(images)
    plain = net.seen
    augment = ManifoldMixup(net, LAYERS, num_classes=4)
    places = set()
    for seed in range(20):
        inputs, targets = augment(images, labels, generator(seed))
        net.train()(inputs)
        if not torch.equal(inputs, images):
            places.add("input")
            continue
        place = "first" if not torch.equal(net.seen["first"], plain["first"]) else "second"
        places.add(place)
        share, order = augment.drawn.share, augment.drawn.order
        torch.testing.assert_close(net.seen[place], mixed(plain[place], order, share))
        torch.testing.assert_close(targets, mixed(nn.functional.one_hot(labels, 4).float(), order, share))
    assert places == {"input", "first", "second"}


def test_layers_are_drawn_evenly_and_shares_have_the_beta_distribution():
    net, num = Net().train(), 1500
    images, labels = torch.rand(2, 2, 1, 1), torch.tensor([0, 1])
    augment, source = ManifoldMixup(net, LAYERS, num_classes=2, alpha=2.0), generator(5)
    drawn, places, same = [], [], 0
    for _ in range(num):
        augment(images, labels, source)
        drawn.append(augment.drawn.share)
        places.append(augment.drawn.place)
        same += int(augment.drawn.order[0] == 0)
    for place in (-1, 0, 1):
        assert_share(places.count(place), num, 1 / 3)
    assert_share(same, num, 1 / 2)
    assert stats.kstest(drawn, stats.beta(2.0, 2.0).cdf).pvalue > RARE


def test_moex_exchanges_in_the_share_of_batches_asked_for():
    net, (images, labels), num = Net().train(), batch(), 2000
    truth = nn.functional.one_hot(labels, 4).float()
    augment, source, hits = MoEx(net, "first", num_classes=4, rate=0.3, kept=0.9), generator(6), 0
    for _ in range(num):
        inputs, targets = augment(images, labels, source)
        assert inputs is images
        order = augment.drawn.order
        expected = truth if augment.drawn.place is None else 0.9 * truth + 0.1 * truth[order]
        torch.testing.assert_close(targets, expected)
        hits += augment.drawn.place is not None
    assert_share(hits, num, 0.3)


def test_moex_acts_on_the_forward_pass_of_its_batch():
    torch.manual_seed(0)
    net, (images, labels) = Net().train(), batch()
    net(images)
    plain = net.seen["first"]
    augment = MoEx(net, "first", num_classes=4, rate=1.0)
    augment(images, labels, generator())
    net(images)
    torch.testing.assert_close(net.seen["first"], exchanged(plain, augment.drawn.order))


@pytest.mark.parametrize(
    "bind",
    [
        lambda net: ManifoldMixup(net, ("second",), num_classes=4),
        lambda net: MoEx(net, "second", num_classes=4, rate=1.0),
    ],
)
def test_evaluation_and_state_dict_are_untouched_and_draws_are_repeatable(bind):
    torch.manual_seed(0)
    net, (images, labels) = Net().eval(), batch()
    keys, plain = list(net.state_dict()), net(images)
    state = torch.get_rng_state()
    augment = bind(net)
    first = augment(images, labels, generator(8))
    assert torch.equal(net(images), plain)
    assert list(net.state_dict()) == keys
    second = augment(images, labels, generator(8))
    assert torch.equal(first[0], second[0])
    assert torch.equal(first[1], second[1])
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize(
    "bind",
    [
        lambda net: ManifoldMixup(net, ("second",), num_classes=4),
        lambda net: MoEx(net, "second", num_classes=4, rate=0.5),
    ],
)
def test_compiled_models_see_every_draw(bind):
    torch.manual_seed(0)
    net, (images, labels) = Net().train(), batch()
    augment, source = bind(net), generator(9)
    torch._dynamo.reset()
    compiled = torch.compile(net, backend="eager")
    for _ in range(12):
        inputs, _ = augment(images, labels, source)
        torch.testing.assert_close(compiled(inputs), net(inputs))
    assert len({augment(images, labels, source)[1].numpy().tobytes() for _ in range(5)}) > 1


def test_a_batch_of_another_size_than_was_drawn_for_is_refused():
    net, (images, labels) = Net().train(), batch()
    MoEx(net, "first", num_classes=4, rate=1.0)(images, labels, generator())
    with pytest.raises(ShapeError) as caught:
        net(images[:4])
    assert str(caught.value) == (
        "the hidden state has 4 examples, but 6 were drawn for; each batch goes through the change "
        "once, and then through the model"
    )


@pytest.mark.parametrize(
    ("call", "kind", "message"),
    [
        (
            lambda net: ManifoldMixup(net, ("third",), num_classes=4),
            SiteError,
            "Net has no module 'third' to mix the inputs of",
        ),
        (
            lambda net: ManifoldMixup(net, (), num_classes=4),
            UsageError,
            "layers is empty; expected the name of at least one module",
        ),
        (
            lambda net: ManifoldMixup(net, LAYERS, num_classes=4, alpha=0.0),
            UsageError,
            "alpha is 0.0; expected a number above 0",
        ),
        (
            lambda net: MoEx(net, "first", num_classes=4, rate=1.2),
            UsageError,
            "rate is 1.2; expected a share, from 0 to 1",
        ),
        (
            lambda net: MoEx(net, "first", num_classes=4, kept=-0.1),
            UsageError,
            "kept is -0.1; expected a share, from 0 to 1",
        ),
        (
            lambda net: exchanged(torch.rand(2, 3), torch.tensor([1, 0])),
            ShapeError,
            "h has shape (2, 3); expected (examples, channels, height, width)",
        ),
    ],
)
def test_what_does_not_fit_is_refused(call, kind, message):
    net = Net()
    with pytest.raises(kind) as caught:
        call(net)
    assert str(caught.value) == message
    assert not any(module._forward_pre_hooks for module in net.modules())


def test_a_copy_of_the_model_still_runs():
    net, (images, labels) = Net().train(), batch()
    MoEx(net, "first", num_classes=4, rate=1.0)(images, labels, generator())
    assert torch.equal(copy.deepcopy(net)(images), net(images))
