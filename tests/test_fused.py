import pytest
import torch
from torch.autograd import forward_ad

from autodropout import fused, fused_tokens, tiling
from autodropout import planes as planes_of
from autodropout.fused import drop_drawn
from autodropout.layers import PatternDropout
from autodropout.mask import conv_keep, drop, token_keep
from autodropout.noise import GeneratorNoise
from autodropout.pattern import ConvPattern, TokenPattern
from autodropout.tables import Tables
from test_mask import CONV, TOKEN

WHOLE = ConvPattern(height="whole", width="whole", rate=0.5, share_c=False)
HUGE = ConvPattern(height=2**30, width=2**30, stride=2**30, repeat=2, share_c=False)
TILES = ConvPattern(height=2, width=2, stride=1, repeat=2, rotate=30.0, share_c=False, rate=0.8)
MAPS = (6, 3, 5, 7)
SEQUENCES = (6, 9, 4)
MEMORIES = {
    "contiguous": lambda h: h.contiguous(),
    "channels last": lambda h: h.contiguous(memory_format=torch.channels_last),
    "axes swapped": lambda h: h.transpose(0, 1).contiguous().transpose(0, 1),
    "channels outside": lambda h: h.transpose(-1, -2).contiguous().transpose(-1, -2),
    "every other": lambda h: h.repeat_interleave(2, -1)[..., ::2],
    "expanded": lambda h: h[..., :1].expand(h.shape),
}
DTYPES = [torch.float64, torch.float32, torch.bfloat16, torch.float16]


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def both_ways(h, pattern, gradient, valid=None):
    """Output and gradient of the fast way and of the plain one, for the same draws."""
    draw = conv_keep if isinstance(pattern, ConvPattern) else token_keep
    keep = draw(pattern, h.shape, seeded())
    h = h.detach().requires_grad_()
    y = drop_drawn(h, pattern, GeneratorNoise(seeded()), valid=valid)
    y.backward(gradient)
    return (y, h.grad), (drop(h, keep, valid), drop(gradient, keep, valid))


def assert_equal_both_ways(h, pattern, gradient, valid=None):
    got, expected = both_ways(h, pattern, gradient, valid)
    for one, other in zip(got, expected, strict=True):
        assert torch.equal(one, other)
        assert one.dtype == other.dtype


@pytest.fixture(params=["bank", "planes", "no tables"])
def room(request, monkeypatch):
    """Room for all tables, for all but banks, or for none."""
    tables = Tables(largest=0 if request.param == "no tables" else 2**25)
    for module in (tiling, planes_of):
        monkeypatch.setattr(module, "SHARED", tables)
    if request.param == "planes":
        monkeypatch.setattr(fused, "bank", lambda *_: None)


@pytest.mark.parametrize("share_c", [True, False])
@pytest.mark.parametrize("pattern", [*CONV, TILES, WHOLE, HUGE])
@pytest.mark.usefixtures("room")
def test_conv_patterns_drop_the_same_as_the_plain_way(pattern, share_c):
    pattern = ConvPattern(**{n: getattr(pattern, n) for n in pattern.__slots__} | {"share_c": share_c})
    assert_equal_both_ways(torch.randn(MAPS), pattern, torch.randn(MAPS))


@pytest.mark.parametrize("pattern", TOKEN)
def test_token_patterns_drop_the_same_as_the_plain_way(pattern):
    for shape in (SEQUENCES, (2, 3, 5, 4), (9, 4)):
        assert_equal_both_ways(torch.randn(shape), pattern, torch.randn(shape))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("memory", MEMORIES)
@pytest.mark.parametrize("share_c", [True, False])
@pytest.mark.usefixtures("room")
def test_maps_may_lie_in_memory_as_they_like(share_c, memory, dtype):
    pattern = ConvPattern(height=2, width=2, rotate=30.0, stride=1, repeat=2, share_c=share_c)
    h, gradient = (MEMORIES[memory](torch.randn(MAPS).to(dtype)) for _ in range(2))
    assert_equal_both_ways(h, pattern, gradient)
    assert_equal_both_ways(h, pattern, torch.randn(MAPS).to(dtype))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(
    "memory", ["contiguous", "axes swapped", "channels outside", "every other", "expanded"]
)
@pytest.mark.parametrize("pattern", TOKEN)
def test_sequences_may_lie_in_memory_as_they_like(pattern, memory, dtype):
    h, gradient = (MEMORIES[memory](torch.randn(SEQUENCES).to(dtype)) for _ in range(2))
    assert_equal_both_ways(h, pattern, gradient)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("pattern", TOKEN)
def test_what_takes_no_part_stays_as_the_plain_way_has_it(pattern, dtype):
    for memory in ("contiguous", "axes swapped", "channels outside", "expanded"):
        h, gradient = (MEMORIES[memory](torch.randn(SEQUENCES).to(dtype)) for _ in range(2))
        for shape in ((6, 9, 1), (1, 9, 1), (9, 1), SEQUENCES):
            valid = torch.rand(shape, generator=seeded(1)) < 0.7
            assert 0 < valid.sum() < valid.numel()
            assert_equal_both_ways(h, pattern, gradient, valid)
    assert_equal_both_ways(h, pattern, gradient, torch.zeros(6, 9, 1, dtype=torch.bool))
    h, gradient = torch.randn(2, 3, 5, 4).to(dtype), torch.randn(2, 3, 5, 4).to(dtype)
    for shape in ((2, 1, 5, 1), (2, 1, 5, 4)):
        assert_equal_both_ways(h, pattern, gradient, torch.rand(shape, generator=seeded(2)) < 0.7)


@pytest.mark.parametrize("pattern", TOKEN)
def test_derivatives_where_not_all_takes_part(pattern):
    valid = torch.rand((2, 5, 1), generator=seeded(1)) < 0.6
    h = torch.randn(2, 5, 3, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradgradcheck(
        lambda h: drop_drawn(h * h, pattern, GeneratorNoise(seeded()), valid=valid), h
    )


@pytest.mark.parametrize("share_c", [True, False])
@pytest.mark.usefixtures("room")
def test_channels_last_in_channels_last_out(share_c):
    pattern = ConvPattern(height=2, width=2, share_c=share_c)
    h = torch.randn(MAPS).contiguous(memory_format=torch.channels_last)
    assert drop_drawn(h, pattern, GeneratorNoise(seeded())).stride() == h.stride()


@pytest.mark.parametrize("pattern", [TILES, CONV[0]])
def test_operations_for_compilers_drop_the_same(pattern, monkeypatch):
    monkeypatch.setattr(fused, "runs_eagerly_on_cpu", lambda h: False)
    for dtype in DTYPES:
        assert_equal_both_ways(torch.randn(MAPS).to(dtype), pattern, torch.randn(MAPS).to(dtype))


@pytest.mark.parametrize("pattern", [TILES, CONV[0], TOKEN[2], TOKEN[0]])
def test_derivatives_of_every_kind(pattern):
    def dropped(h):
        return drop_drawn(h, pattern, GeneratorNoise(seeded()))

    h = torch.randn(MAPS[-4:] if isinstance(pattern, ConvPattern) else SEQUENCES, dtype=torch.float64)
    assert torch.autograd.gradgradcheck(dropped, h.clone().requires_grad_())
    with forward_ad.dual_level():
        tangent = forward_ad.unpack_dual(dropped(forward_ad.make_dual(h, torch.ones_like(h)))).tangent
    assert torch.equal(tangent, dropped(torch.ones_like(h)))
    gradient = torch.func.grad(lambda h: dropped(h).sum())(h)
    assert torch.equal(gradient, dropped(torch.ones_like(h)))


def test_samples_under_vmap_draw_their_own_masks():
    layer, h = PatternDropout(TILES), torch.ones(8, *MAPS)
    y = torch.func.vmap(layer, randomness="different")(h)
    assert y.shape == h.shape
    assert not all(torch.equal(y[0], other) for other in y)


@pytest.mark.parametrize("eager", [True, False])
@pytest.mark.parametrize("pattern", [TILES, CONV[0], TOKEN[2], TOKEN[0], TOKEN[6]])
def test_the_output_may_be_changed_in_place(pattern, eager, monkeypatch):
    if not eager:
        for module in (fused, fused_tokens):
            monkeypatch.setattr(module, "runs_eagerly_on_cpu", lambda h: False)
    h = torch.randn(MAPS if isinstance(pattern, ConvPattern) else SEQUENCES, requires_grad=True)
    y = drop_drawn(h, pattern, GeneratorNoise(seeded()))
    kept = y.detach() != 0
    y.relu_().sum().backward()
    assert torch.equal(h.grad != 0, kept & (h > 0))


def test_next_to_nothing_is_kept_for_the_backward_pass():
    saved = []
    h = torch.randn(4, 32, 14, 14, requires_grad=True)
    with torch.autograd.graph.saved_tensors_hooks(lambda t: saved.append(t.nbytes) or t, lambda t: t):
        PatternDropout(TILES)(h)
    assert 0 < sum(saved) <= 0.05 * h.numel()


def test_the_input_is_not_kept_and_not_changed():
    h = torch.randn(MAPS)
    before = h.clone()
    for pattern in (TILES, CONV[0]):
        drop_drawn(h, pattern, GeneratorNoise())
    assert torch.equal(h, before)


@pytest.mark.parametrize("share_c", [True, False])
def test_half_precision_with_more_than_65504_kept(share_c):
    pattern = ConvPattern(height=100, width="whole", stride=100, repeat="fill", share_c=share_c)
    y = drop_drawn(torch.ones(4, 2, 200, 200, dtype=torch.float16), pattern, GeneratorNoise(seeded()))
    assert (y != 0).sum() > 65_504
    assert set(y.unique().tolist()) == {0.0, 2.0}


@pytest.mark.parametrize("pattern", [TILES, CONV[0], TOKEN[2]])
def test_what_is_kept_of_an_infinite_input_stays_and_what_is_dropped_is_not_finite_or_0(pattern):
    shape = MAPS if isinstance(pattern, ConvPattern) else SEQUENCES
    draw = conv_keep if isinstance(pattern, ConvPattern) else token_keep
    keep = draw(pattern, shape, seeded()).expand(shape)
    y = drop_drawn(torch.full(shape, torch.inf), pattern, GeneratorNoise(seeded()))
    assert torch.equal(y[keep], torch.full(shape, torch.inf)[keep])
    assert not torch.isinf(y[~keep]).any()


@pytest.mark.parametrize("pattern", [TILES, TokenPattern(size=2, stride=1, share_t=True)])
def test_no_number_leaves_a_tensor_of_another_device(pattern):
    shape = MAPS if isinstance(pattern, ConvPattern) else SEQUENCES
    h = torch.empty(shape, device="meta")
    assert drop_drawn(h, pattern, GeneratorNoise(device="meta")).shape == shape


@pytest.mark.parametrize("share_c", [True, False])
def test_compiled_code_keeps_channels_last(share_c):
    torch.compiler.reset()
    layer = PatternDropout(ConvPattern(height=2, width=2, share_c=share_c))
    compiled = torch.compile(layer, fullgraph=True, backend="aot_eager")
    for memory in ("contiguous", "channels last"):
        h = MEMORIES[memory](torch.randn(MAPS))
        torch.manual_seed(0)
        y = compiled(h)
        torch.manual_seed(0)
        assert torch.equal(y, layer(h))
        assert y.stride() == h.stride()


@pytest.mark.slow
@pytest.mark.parametrize("memory", ["contiguous", "channels last"])
@pytest.mark.parametrize("pattern", [TILES, CONV[2], WHOLE, HUGE, TOKEN[0], TOKEN[2], TOKEN[3], TOKEN[6]])
def test_compiled_by_inductor(pattern, memory):
    torch.compiler.reset()
    conv = isinstance(pattern, ConvPattern)
    h = MEMORIES[memory if conv else "contiguous"](torch.rand(MAPS if conv else SEQUENCES) + 1)
    h.requires_grad_()
    y = torch.compile(PatternDropout(pattern), fullgraph=True)(h)
    y.sum().backward()
    kept = y != 0
    factor = kept.numel() / max(int(kept.sum()), 1)
    assert torch.allclose(y, h * kept * factor, rtol=1e-5)
    assert torch.allclose(h.grad, kept * factor, rtol=1e-5)
