import copy
import math
import re

import pytest
import torch
from torch import nn
from torch.nn.utils import parametrizations

import two_passes
from autodropout.augmented import AugmentedDropout, Epsilon, consume, is_consumer
from autodropout.errors import ShapeError, SiteError, UsageError
from oracles import assert_share

NONE = Epsilon(None, 1.0)
LAYERS = {
    "linear": (lambda: nn.Linear(5, 3), (4, 5)),
    "linear, no bias": (lambda: nn.Linear(5, 3, bias=False), (4, 5)),
    "conv1d": (lambda: nn.Conv1d(2, 3, 3, stride=2, padding=1), (2, 2, 7)),
    "conv1d, circular": (lambda: nn.Conv1d(2, 3, 3, padding=2, padding_mode="circular"), (2, 2, 5)),
    "conv1d, same, even kernel": (lambda: nn.Conv1d(2, 2, 4, padding="same"), (2, 2, 6)),
    "conv2d": (lambda: nn.Conv2d(2, 3, (3, 2), stride=(2, 1), padding=(1, 0)), (2, 2, 5, 4)),
    "conv2d, groups": (lambda: nn.Conv2d(4, 6, 3, groups=2, bias=False), (2, 4, 4, 5)),
    "conv2d, depthwise, dilated": (
        lambda: nn.Conv2d(3, 3, 2, groups=3, dilation=(2, 1), padding=1),
        (2, 3, 4, 4),
    ),
    "conv2d, reflect": (lambda: nn.Conv2d(2, 2, 3, padding=(2, 1), padding_mode="reflect"), (1, 2, 4, 4)),
    "conv2d, replicate": (
        lambda: nn.Conv2d(2, 2, 3, stride=2, padding=1, padding_mode="replicate"),
        (1, 2, 4, 4),
    ),
    "conv2d, same": (lambda: nn.Conv2d(2, 2, 3, padding="same"), (1, 2, 4, 4)),
    "conv2d, valid": (lambda: nn.Conv2d(2, 2, 3, padding="valid"), (1, 2, 4, 4)),
    "conv3d": (lambda: nn.Conv3d(2, 2, 2, padding=1), (1, 2, 2, 3, 2)),
}
MODES = {
    "augmented": {"rate": 0.4, "backward_rate": 0.3},
    "Eq. 10 by itself": {"rate": 0.4, "backward_rate": 0.3, "multiply": False},
    "forward": {"rate": 0.4, "backward_rate": 0.0, "multiply": False},
    "backward": {"rate": 0.0, "backward_rate": 0.3, "multiply": False},
    "standard": {"rate": 0.4, "backward_rate": 0.0},
}
every_layer = pytest.mark.parametrize("name", LAYERS)
every_mode = pytest.mark.parametrize("mode", MODES)


@pytest.fixture(autouse=True)
def _seeded():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        yield


def made(name):
    make, shape = LAYERS[name]
    return make().double(), torch.randn(shape, dtype=torch.float64, requires_grad=True)


def eps(epsilon, h):
    """The noise as a tensor."""
    if epsilon.dropped is None:
        return torch.ones_like(h)
    return (~epsilon.dropped).to(h.dtype) * epsilon.factor


def drawn(layer, h, seed=7):
    """The noise that the layer's next call after this seed will draw."""
    torch.manual_seed(seed)
    found = layer.draw(h)
    torch.manual_seed(seed)
    return found


def gradients(z, consumer, h, delta):
    wanted = [consumer.weight, h] + ([] if consumer.bias is None else [consumer.bias])
    return torch.autograd.grad(z, wanted, delta)


def assert_equations(z, found, consumer, h, noise, delta):
    """Fail unless z and its gradients are those of Eqs. 7 and 9, written as loops."""
    plain = h.detach()
    torch.testing.assert_close(
        z.detach(), two_passes.forward(consumer, plain, eps(noise[0], plain), z.detach())
    )
    expected = two_passes.backward(consumer, plain, eps(noise[1], plain), delta)
    torch.testing.assert_close(list(found), list(expected[: len(found)]))


@every_layer
@every_mode
def test_value_and_gradients_are_those_of_the_equations(name, mode):
    consumer, h = made(name)
    layer = AugmentedDropout(**MODES[mode])
    noise = drawn(layer, h)
    z = layer(consumer, h)
    delta = torch.randn_like(z)
    assert_equations(z, gradients(z, consumer, h, delta), consumer, h, noise, delta)
    assert any(e.dropped is not None and e.dropped.any() for e in noise)


def test_the_gradient_of_standard_dropout_is_that_of_autograd():
    consumer, h = made("conv2d")
    layer = AugmentedDropout(**MODES["standard"])
    forward, _ = drawn(layer, h)
    z, plain = layer(consumer, h), consumer(h * eps(forward, h))
    delta = torch.randn_like(z)
    torch.testing.assert_close(z, plain)
    torch.testing.assert_close(gradients(z, consumer, h, delta), gradients(plain, consumer, h, delta))


def test_backward_noise_contains_the_forward_noise():
    layer = AugmentedDropout(0.4, 0.3)
    forward, backward = layer.draw(torch.ones(100, 100))
    assert (backward.dropped | ~forward.dropped).all()
    assert backward.factor == pytest.approx(1 / (0.6 * 0.7))
    assert layer.drop_rates == pytest.approx((0.4, 1 - 0.6 * 0.7))
    apart = AugmentedDropout(0.4, 0.3, multiply=False)
    forward, backward = apart.draw(torch.ones(100, 100))
    assert (forward.dropped & ~backward.dropped).any()
    assert apart.drop_rates == (0.4, 0.3)


@pytest.mark.parametrize("mode", ["augmented", "Eq. 10 by itself"])
@pytest.mark.parametrize("backward_rate", [0.3, 0.0002])
def test_shares_are_the_ratios(mode, backward_rate):
    layer = AugmentedDropout(**MODES[mode] | {"backward_rate": backward_rate})
    noise = [layer.draw(torch.ones(2000, 500)) for _ in range(2)]
    for place, rate in enumerate(layer.drop_rates):
        hits = sum(int(pair[place].dropped.sum()) for pair in noise)
        assert_share(hits, 2_000_000, rate)


def test_forward_and_backward_noise_are_independent_apart():
    layer = AugmentedDropout(0.4, 0.3, multiply=False)
    forward, backward = layer.draw(torch.ones(1000, 1000))
    assert_share(int((forward.dropped & backward.dropped).sum()), 1_000_000, 0.12)


@pytest.mark.parametrize("name", ["linear", "conv1d", "conv2d, circular"])
def test_batches_of_other_ranks(name):
    consumer = {"linear": nn.Linear(5, 3), "conv1d": nn.Conv1d(5, 3, 3)}.get(
        name, nn.Conv2d(5, 3, 3, padding=1, padding_mode="circular")
    )
    shapes = {"linear": [(5,), (2, 3, 4, 5)], "conv1d": [(5, 6)]}.get(name, [(5, 4, 4)])
    for shape in shapes:
        h = torch.randn(shape, requires_grad=True)
        layer = AugmentedDropout(0.3, 0.3)
        forward, _ = drawn(layer, h)
        z = layer(consumer, h)
        torch.testing.assert_close(z, consumer(h * eps(forward, h)))
        z.sum().backward()
        assert h.grad.shape == h.shape


@every_layer
def test_the_gradient_s_gradient_is_the_derivative_of_the_equations(name):
    consumer, h = made(name)
    consumer.requires_grad_()
    layer = AugmentedDropout(0.4, 0.3)
    _, backward = drawn(layer, h)
    z = layer(consumer, h)
    delta = torch.randn_like(z).requires_grad_()
    found = torch.autograd.grad(z, [consumer.weight, h], delta, create_graph=True)
    noise = eps(backward, h)
    seen = consumer(h * noise)  # its gradients are those of Eq. 9
    expected = torch.autograd.grad(seen, [consumer.weight, h], delta, create_graph=True)
    weights = [torch.randn_like(g) for g in found]
    sums = [sum((g * w).sum() for g, w in zip(gs, weights, strict=True)) for gs in (found, expected)]
    second = [torch.autograd.grad(s, [consumer.weight, h, delta], allow_unused=True) for s in sums]
    torch.testing.assert_close(second[0], second[1])


def test_only_the_gradients_that_are_wanted():
    consumer, h = made("conv2d")
    layer = AugmentedDropout(0.4, 0.3)
    consumer.requires_grad_(False)
    torch.manual_seed(7)
    (alone,) = torch.autograd.grad(layer(consumer, h).sum(), h)
    consumer.requires_grad_(True)
    torch.manual_seed(7)
    layer(consumer, h.detach()).sum().backward()
    of_weight = consumer.weight.grad
    torch.manual_seed(7)
    z = layer(consumer, h)
    both = gradients(z, consumer, h, torch.ones_like(z))
    torch.testing.assert_close((of_weight, alone), both[:2])


def test_memory_for_the_backward_pass_is_a_byte_per_unit_beside_h():
    consumer, h = nn.Linear(64, 8), torch.randn(100, 64, requires_grad=True)
    kept = []
    with torch.autograd.graph.saved_tensors_hooks(lambda t: kept.append(t) or t, lambda t: t):
        AugmentedDropout(0.4, 0.3)(consumer, h)
    own = [t for t in kept if t.data_ptr() not in (h.data_ptr(), consumer.weight.data_ptr())]
    assert [(t.dtype, t.shape) for t in own] == [(torch.bool, h.shape)]


def compiled_cases():
    quick = {("linear", "augmented"), ("linear", "backward"), ("conv2d", "augmented")}
    for name in ("linear", "conv2d", "conv2d, reflect"):
        for mode in MODES:
            marks = [] if (name, mode) in quick else [pytest.mark.slow]
            yield pytest.param(name, mode, "aot_eager", marks=marks)
    for name, mode in sorted(quick):
        yield pytest.param(name, mode, "inductor", marks=[pytest.mark.slow])


@pytest.mark.parametrize(("name", "mode", "backend"), compiled_cases())
def test_compiled_code_computes_the_same(name, mode, backend):
    torch.compiler.reset()
    consumer, h = made(name)
    layer = AugmentedDropout(**MODES[mode])
    if backend == "inductor":  # its draws are others, unless they come from a step
        layer = AugmentedDropout(**MODES[mode], seed=5)
    compiled = torch.compile(lambda h: layer(consumer, h), fullgraph=True, backend=backend)
    noise = drawn(layer, h)
    z = compiled(h)
    delta = torch.randn_like(z)
    assert_equations(z, gradients(z, consumer, h, delta), consumer, h, noise, delta)


def test_a_schedule_compiles_once():
    torch.compiler.reset()
    consumer, layer = nn.Linear(6, 2), AugmentedDropout(0.5, 0.1)
    counted = torch._dynamo.testing.CompileCounterWithBackend("aot_eager")
    compiled = torch.compile(lambda h: layer(consumer, h), fullgraph=True, backend=counted)
    h = torch.randn(200, 6, requires_grad=True)
    for strength in (1.0, 0.6, 0.3, 0.0):
        layer.set_strength(strength)
        z = compiled(h)
    assert counted.frame_count == 1
    torch.testing.assert_close(z, consumer(h), rtol=0, atol=0)


@pytest.mark.parametrize("backend", ["aot_eager", pytest.param("inductor", marks=pytest.mark.slow)])
@pytest.mark.parametrize("mode", ["augmented", pytest.param("backward", marks=pytest.mark.slow)])
def test_both_gradients_see_one_mask_in_compiled_code(mode, backend):
    torch.compiler.reset()
    consumer, layer = nn.Linear(50, 1, bias=False).double(), AugmentedDropout(**MODES[mode])
    compiled = torch.compile(lambda h: layer(consumer, h), fullgraph=True, backend=backend)
    h = torch.randn(1, 50, dtype=torch.float64, requires_grad=True)
    of_weight, of_h = torch.autograd.grad(compiled(h).sum(), [consumer.weight, h])
    assert 0 < (of_h == 0).sum() < 50
    torch.testing.assert_close(of_weight / h, of_h / consumer.weight)


def test_compiled_code_follows_the_strength():
    torch.compiler.reset()
    consumer, layer = nn.Linear(500, 1, bias=False).double(), AugmentedDropout(0.5, 0.2)
    compiled = torch.compile(lambda h: layer(consumer, h), fullgraph=True, backend="aot_eager")
    h = torch.ones(400, 500, dtype=torch.float64, requires_grad=True)
    layer.set_strength(0.5)
    (gradient,) = torch.autograd.grad(compiled(h).sum(), h)
    assert_share(int((gradient == 0).sum()), h.numel(), 1 - 0.75 * 0.9)
    kept = (gradient / consumer.weight)[gradient != 0]
    torch.testing.assert_close(kept, torch.full_like(kept, 1 / (0.75 * 0.9)), rtol=1e-6, atol=0)


@pytest.mark.parametrize("name", ["linear", "conv2d", "conv2d, reflect"])
def test_autocast_casts_as_the_layer_alone_does(name):
    consumer, h = made(name)
    consumer, h = consumer.float(), h.detach().float().requires_grad_()
    layer = AugmentedDropout(0.4, 0.3)
    noise = drawn(layer, h)
    with torch.autocast("cpu", torch.bfloat16):
        z = layer(consumer, h)
        assert z.dtype == consumer(h).dtype == torch.bfloat16
    delta = torch.randn_like(z)
    of_weight, of_h, *_ = gradients(z, consumer, h, delta)
    assert of_weight.dtype == of_h.dtype == torch.float32
    exact, plain = copy.deepcopy(consumer).double(), h.detach().double()
    expected = two_passes.backward(exact, plain, eps(noise[1], plain), delta.double())
    torch.testing.assert_close((of_weight.double(), of_h.double()), expected[:2], rtol=0.05, atol=0.05)


def test_autocast_leaves_float64_alone():
    consumer, h = made("linear")
    with torch.autocast("cpu", torch.bfloat16):
        assert AugmentedDropout(0.4, 0.3)(consumer, h).dtype == torch.float64


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_low_precision(dtype):
    consumer, h = nn.Linear(64, 8).to(dtype), torch.randn(4, 64, dtype=dtype, requires_grad=True)
    z = AugmentedDropout(0.4, 0.3)(consumer, h)
    z.sum().backward()
    assert z.dtype == h.grad.dtype == consumer.weight.grad.dtype == dtype


def test_evaluation_is_the_layer_itself():
    consumer, h = made("conv2d")
    layer = AugmentedDropout(0.4, 0.3).eval()
    assert torch.equal(layer(consumer, h), consumer(h))
    assert not layer.fired


def test_strength_zero_is_the_layer_itself():
    consumer, h = made("conv2d")
    layer = AugmentedDropout(0.4, 0.3)
    layer.set_strength(0.0)
    state = torch.get_rng_state()
    assert torch.equal(layer(consumer, h), consumer(h))
    assert torch.equal(torch.get_rng_state(), state)


def test_a_seed_makes_draws_a_function_of_the_step():
    consumer, h = nn.Linear(40, 8), torch.randn(4, 40)
    layer = AugmentedDropout(0.4, 0.3, site="fc", seed=3)
    first = layer(consumer, h)
    torch.manual_seed(99)
    assert torch.equal(layer(consumer, h), first)
    layer.set_step(1)
    assert not torch.equal(layer(consumer, h), first)
    assert not torch.equal(AugmentedDropout(0.4, 0.3, site="other", seed=3)(consumer, h), first)


def test_empty_batches():
    for name in ("linear", "conv2d"):
        consumer, h = made(name)
        none = h.detach()[:0].requires_grad_()
        AugmentedDropout(0.4, 0.3)(consumer, none).sum().backward()
        assert none.grad.shape == none.shape


def test_parametrised_weights_learn():
    consumer, h = parametrizations.weight_norm(nn.Linear(6, 3)), torch.randn(4, 6)
    AugmentedDropout(0.4, 0.3)(consumer, h).square().sum().backward()
    assert all(p.grad is not None and p.grad.any() for p in consumer.parameters())


def test_functional_transforms():
    consumer, h = nn.Linear(6, 3), torch.randn(4, 6)
    layer = AugmentedDropout(0.4, 0.3)
    torch.manual_seed(5)
    found = torch.func.grad(lambda h: layer(consumer, h).sum())(h)
    torch.manual_seed(5)
    twin = h.clone().requires_grad_()
    layer(consumer, twin).sum().backward()
    torch.testing.assert_close(found, twin.grad)


@pytest.mark.parametrize("ratio", [-0.1, 1.0, 1.5, math.nan, math.inf, True, "0.2", None])
@pytest.mark.parametrize("which", ["rate", "backward_rate"])
def test_ratios_are_checked(which, ratio):
    with pytest.raises(UsageError, match=re.escape(f"{which} is {ratio!r}; expected")):
        AugmentedDropout(**{which: ratio})


def test_a_ratio_of_one_says_why_not():
    with pytest.raises(UsageError, match="at 1 nothing is left to scale up, in neither pass"):
        AugmentedDropout(1.0, 0.0002)


class Twice(nn.Linear):
    def forward(self, h):
        return 2 * super().forward(h)


class Padded(nn.Conv2d):
    def _conv_forward(self, h, weight, bias):
        return super()._conv_forward(h + 1, weight, bias)


class Renamed(nn.Linear):
    """Only a name."""


@pytest.mark.parametrize(
    "module", [nn.BatchNorm2d(3), nn.ConvTranspose2d(2, 2, 2), Twice(2, 2), Padded(2, 2, 2)]
)
def test_other_modules_are_refused(module):
    assert not is_consumer(module)
    own = isinstance(module, Twice | Padded)
    text = (
        "has a forward of its own; name a layer that runs torch's" if own else "is no Linear, Conv1d, Conv2d"
    )
    with pytest.raises(SiteError, match=text):
        AugmentedDropout(site="x")(module, torch.ones(1, 2, 4, 4))


def test_subclasses_with_torch_s_forward_are_not():
    assert is_consumer(Renamed(2, 2))
    assert is_consumer(parametrizations.weight_norm(nn.Conv1d(2, 2, 2)))


@pytest.mark.parametrize(
    ("consumer", "h", "text"),
    [
        (nn.Linear(5, 2), torch.ones(3, 4), r'site "x": h has shape \(3, 4\); expected \(\.\.\., 5\)'),
        (nn.Linear(5, 2), torch.ones(()), r'site "x": h has shape \(\); expected \(\.\.\., 5\)'),
        (nn.Conv2d(5, 2, 1), torch.ones(3, 4), r"\(3, 4\); expected \(N, C, and 2 axes of space\)"),
        (nn.Linear(5, 2), torch.ones(3, 5, dtype=torch.int64), 'site "x": what it consumes is torch.int64'),
        (nn.Linear(5, 2), [1.0], 'site "x": what it consumes is list; expected a float tensor'),
    ],
)
def test_shapes_and_dtypes_are_checked(consumer, h, text):
    with pytest.raises(ShapeError, match=text):
        AugmentedDropout(site="x")(consumer, h)


def test_its_repr():
    assert repr(AugmentedDropout()) == "AugmentedDropout(rate=0.2, backward_rate=0.0002)"
    layer = AugmentedDropout(0.5, 0, multiply=False, site="fc", seed=1)
    assert repr(layer) == "AugmentedDropout(rate=0.5, backward_rate=0, multiply=False, site=fc, seed=1)"


def test_without_noise_it_is_the_layer():
    consumer, h = made("conv2d")
    assert torch.equal(consume(consumer, h, NONE, NONE), consumer(h))
