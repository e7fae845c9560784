import copy
import io
import pickle
import warnings

import pytest
import torch
from torch._dynamo.testing import CompileCounterWithBackend
from torch.utils.checkpoint import checkpoint

from autodropout import layers, steered
from autodropout.errors import PatternError, ShapeError, UsageError
from autodropout.layers import PatternDropout, pattern_text
from autodropout.mask import conv_keep, drop, token_keep
from autodropout.pattern import ConvPattern, TokenPattern
from oracles import assert_share

CONV = ConvPattern(height=2, width=2, stride=1, repeat=2, rotate=30.0, share_c=False)
TOKEN = TokenPattern(size=2, stride=1, share_t=True, rate=0.4)
BOTH = [(CONV, (4, 3, 6, 5)), (TOKEN, (4, 7, 3))]


def seeded_call(layer, h, seed=0):
    torch.manual_seed(seed)
    return layer(h)


@pytest.mark.parametrize(("pattern", "shape"), BOTH)
def test_training_drops_a_mask_from_the_default_generator(pattern, shape):
    h, draw = torch.randn(shape), conv_keep if isinstance(pattern, ConvPattern) else token_keep
    y = seeded_call(PatternDropout(pattern), h)
    torch.manual_seed(0)
    assert torch.equal(y, drop(h, draw(pattern, shape)))


@pytest.mark.parametrize(("pattern", "shape"), BOTH)
def test_evaluation_returns_the_input_itself_and_draws_nothing(pattern, shape):
    layer, h = PatternDropout(pattern).eval(), torch.randn(shape)
    before = torch.get_rng_state()
    assert layer(h) is h
    assert torch.equal(torch.get_rng_state(), before)
    assert not layer.fired


def test_a_pattern_that_is_off_returns_the_input_itself():
    layer, h = PatternDropout(ConvPattern(height=0, width=2)), torch.randn(2, 3, 4, 4)
    assert layer(h) is h
    assert layer.fired


@pytest.mark.parametrize(
    ("pattern", "layout", "to_canonical"),
    [
        (CONV, "NHWC", (0, 3, 1, 2)),
        (ConvPattern(height=2, width=2), "NHWC", (0, 3, 1, 2)),
        (TOKEN, "TNC", (1, 0, 2)),
        (TokenPattern(size=1, share_c=True), "TNC", (1, 0, 2)),
    ],
)
def test_a_layout_only_moves_the_axes(pattern, layout, to_canonical):
    canonical = torch.randn(5, 6, 7, 3) if isinstance(pattern, ConvPattern) else torch.randn(5, 6, 7)
    back = [to_canonical.index(axis) for axis in range(len(to_canonical))]
    moved = canonical.permute(back)
    y = seeded_call(PatternDropout(pattern, layout=layout), moved)
    assert torch.equal(y.permute(to_canonical), seeded_call(PatternDropout(pattern), canonical))


def test_sequences_may_have_any_batch_axes():
    assert PatternDropout(TOKEN)(torch.ones(2, 3, 4, 5)).shape == (2, 3, 4, 5)
    assert PatternDropout(TOKEN)(torch.ones(4, 5)).shape == (4, 5)


@pytest.mark.parametrize(("pattern", "shape"), [*BOTH, (ConvPattern(height="whole", width=1), (2, 3, 4, 4))])
@pytest.mark.parametrize("seed", [None, 3])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_strength_0_is_the_identity_bit_for_bit(pattern, shape, seed, dtype):
    layer, h = PatternDropout(pattern, seed=seed), torch.randn(shape).to(dtype)
    layer.set_strength(0.0)
    assert torch.equal(layer(h), h)


def test_strength_multiplies_the_rate():
    full = ConvPattern(height=2, width=2, rate=0.8)
    layer, h = PatternDropout(full), torch.randn(64, 3, 6, 5)
    layer.set_strength(0.25)
    torch.manual_seed(0)
    expected = drop(h, conv_keep(ConvPattern(height=2, width=2, rate=0.2), h.shape))
    assert torch.equal(seeded_call(layer, h), expected)
    layer = PatternDropout(TOKEN)
    layer.set_strength(0.5)
    h = torch.randn(64, 7, 3)
    torch.manual_seed(0)
    half = TokenPattern(size=2, stride=1, share_t=True, rate=0.2)
    expected = drop(h, token_keep(half, h.shape))
    assert torch.equal(seeded_call(layer, h), expected)


@pytest.mark.parametrize("strength", [-0.1, 1.1, float("nan")])
def test_a_strength_out_of_range_is_refused(strength):
    with pytest.raises(UsageError, match=r"strength is .*; expected a number from 0 to 1"):
        PatternDropout(CONV).set_strength(strength)


@pytest.mark.parametrize("seed", [None, 3])
def test_it_has_no_parameters_and_no_state(seed):
    layer = PatternDropout(CONV, seed=seed)
    assert list(layer.parameters()) == []
    assert list(layer.state_dict()) == []


def test_strength_and_step_survive_casts_and_meta_devices():
    layer = PatternDropout(CONV, seed=3)
    layer.set_strength(0.3)
    layer.set_step(2**40 + 1)
    for moved in (layer.half(), layer.double(), layer.to("meta").to_empty(device="cpu")):
        assert moved.strength.dtype == torch.float32
        assert moved.strength == torch.tensor(0.3)
        assert moved.step == 2**40 + 1


@pytest.mark.parametrize(("pattern", "shape"), BOTH)
def test_copies_and_pickles_draw_the_same(pattern, shape):
    layer, h = PatternDropout(pattern, site="bn", seed=5), torch.randn(shape)
    layer.set_strength(0.9)
    layer.set_step(7)
    file = io.BytesIO()
    torch.save(layer, file)
    file.seek(0)
    twins = copy.deepcopy(layer), pickle.loads(pickle.dumps(layer)), torch.load(file, weights_only=False)
    for twin in twins:
        assert torch.equal(twin(h), layer(h))
        assert repr(twin) == repr(layer)


def test_repr_says_what_is_dropped_and_where():
    layer = PatternDropout(CONV, site="layer1.bn", seed=3)
    text = "height=2, width=2, stride=1, repeat=2, rotate=30.0, share_c=False"
    assert repr(layer) == f"PatternDropout({text}, layout=NCHW, site=layer1.bn, seed=3)"
    assert pattern_text(CONV) == text
    assert repr(PatternDropout(TokenPattern(size="whole"))) == "PatternDropout(size='whole', layout=NTC)"


def test_what_is_no_pattern_is_refused():
    with pytest.raises(PatternError, match="the pattern is 'dropout'; expected a ConvPattern or a TokenPat"):
        PatternDropout("dropout")


@pytest.mark.parametrize(("pattern", "layout"), [(CONV, "NTC"), (TOKEN, "NCHW"), (CONV, "CHWN")])
def test_a_layout_of_the_other_kind_is_refused(pattern, layout):
    with pytest.raises(PatternError, match=rf"layout is '{layout}'; a \w+ takes one of N"):
        PatternDropout(pattern, layout=layout)


@pytest.mark.parametrize(
    ("pattern", "layout", "shape", "expected"),
    [
        (CONV, None, (2, 3, 4), "NCHW"),
        (CONV, "NHWC", (2, 3, 4, 5, 6), "NHWC"),
        (TOKEN, None, (3,), r"\(\.\.\., T, C\)"),
        (TOKEN, "TNC", (3, 4), "TNC"),
    ],
)
def test_a_shape_that_cannot_take_the_pattern_names_the_site(pattern, layout, shape, expected):
    layer = PatternDropout(pattern, layout=layout, site="layer3.bn2")
    message = rf'^site "layer3.bn2": the hidden state has shape .*; a \w+ there needs {expected}: leave '
    with pytest.raises(ShapeError, match=message):
        layer(torch.ones(shape))


def test_what_is_no_float_tensor_names_the_site():
    layer = PatternDropout(TOKEN, site="rnn")
    message = 'site "rnn": the output is a tuple; a pattern takes one tensor: name a module whose'
    with pytest.raises(ShapeError, match=message):
        layer((torch.ones(2, 3, 4), None))
    with pytest.raises(ShapeError, match=r'site "rnn": the hidden state is torch.int64; expected a float'):
        layer(torch.ones(2, 3, 4, dtype=torch.int64))


@pytest.mark.parametrize(("pattern", "shape"), BOTH)
@pytest.mark.parametrize("seed", [None, 3])
def test_an_empty_batch_passes(pattern, shape, seed):
    assert PatternDropout(pattern, seed=seed)(torch.ones(0, *shape[1:])).shape == (0, *shape[1:])


@pytest.mark.parametrize(
    ("pattern", "shape", "warned"),
    [
        (ConvPattern(height="whole", width="whole", rate=0.5), (1, 3, 4, 4), True),
        (ConvPattern(height="whole", width="whole", rate=0.5, share_c=False), (1, 3, 4, 4), False),
        (ConvPattern(height="whole", width="whole", rate=0.5), (2, 3, 4, 4), False),
        (ConvPattern(height=2, width=2), (1, 3, 4, 4), False),
        (TokenPattern(size="whole", share_t=True, share_c=True), (1, 3, 4), True),
        (TokenPattern(size="whole", share_t=True, share_c=True), (3, 4), True),
        (TokenPattern(size="whole", share_t=True, share_c=True), (1, 2, 3, 4), False),
        (TokenPattern(size="whole", share_t=True), (1, 3, 4), False),
    ],
)
def test_whole_samples_of_a_batch_of_one_warn_once(pattern, shape, warned):
    layers._warn_one_draw.cache_clear()
    layer = PatternDropout(pattern)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        for _ in range(3):
            layer(torch.ones(shape))
    assert ["batch of one" in str(warning.message) for warning in caught] == [True] * warned


# with a seed


@pytest.mark.parametrize(("pattern", "shape"), BOTH)
def test_with_a_seed_a_mask_is_a_function_of_seed_rank_site_and_step(pattern, shape, monkeypatch):
    h = torch.ones(shape)

    def output(seed=3, site="bn", step=5):
        layer = PatternDropout(pattern, site=site, seed=seed)
        layer.set_step(step)
        return layer(h)

    one = output()
    torch.manual_seed(99)
    assert torch.equal(output(), one)
    assert not any(torch.equal(other, one) for other in (output(seed=4), output(site="bn2"), output(step=6)))
    monkeypatch.setattr(steered, "_data_parallel_rank", lambda: 1)
    assert not torch.equal(output(), one)


def test_with_a_seed_the_generator_stays_as_it_is():
    before = torch.get_rng_state()
    PatternDropout(CONV, seed=0)(torch.ones(4, 3, 6, 5))
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("pattern", [CONV, ConvPattern(height=1, width=1, repeat="fill", stride=1, rate=0.5)])
def test_with_a_seed_the_rate_is_the_stated_one(pattern):
    layer = PatternDropout(pattern, seed=11)
    dropped = layer(torch.ones(4000, 3, 6, 5)) == 0
    for y, x in ((0, 0), (3, 2), (5, 4)):
        assert_share(int(dropped[:, 0, y, x].sum()), 4000, pattern.drop_rate(6, 5))


def test_a_step_needs_a_seed_and_is_not_negative():
    with pytest.raises(UsageError, match="the layer has no seed, so it takes no step"):
        PatternDropout(CONV).set_step(1)
    with pytest.raises(UsageError, match="step is -1; expected a whole number of at least 0"):
        PatternDropout(CONV, seed=0).set_step(-1)


# gradients, checkpointing, compilation


@pytest.mark.parametrize(("pattern", "shape"), BOTH)
def test_gradients(pattern, shape):
    layer = PatternDropout(pattern, seed=1)
    h = torch.randn(shape, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(layer, h)


@pytest.mark.parametrize("use_reentrant", [False, True])
@pytest.mark.parametrize(("seed", "preserve"), [(None, True), (3, True), (3, False)])
def test_activation_checkpointing_recomputes_the_same_mask(seed, preserve, use_reentrant):
    layer = PatternDropout(CONV, seed=seed)
    h = torch.rand(8, 3, 6, 5, requires_grad=True)
    y = checkpoint(lambda h: layer(h).square(), h, use_reentrant=use_reentrant, preserve_rng_state=preserve)
    y.sum().backward()
    assert torch.equal(h.grad != 0, y != 0)
    assert 0 < int((y == 0).sum()) < y.numel()


@pytest.mark.parametrize(
    ("pattern", "shape", "seed", "steps"),
    [(*BOTH[0], None, 1000), (*BOTH[1], None, 1000), (*BOTH[0], 3, 200)],
)
def test_one_compilation_serves_a_schedule(pattern, shape, seed, steps):
    torch.compiler.reset()
    layer, backend = PatternDropout(pattern, seed=seed), CompileCounterWithBackend("eager")
    compiled, h = torch.compile(layer, fullgraph=True, backend=backend), torch.randn(shape)
    for count in range(steps):
        layer.set_strength(count / (steps - 1))
        if seed is not None:
            layer.set_step(count)
        if count % 100 == 0:
            assert torch.equal(seeded_call(compiled, h, count), seeded_call(layer, h, count))
        else:
            compiled(h)
    assert backend.frame_count == 1
    layer.set_strength(0.0)
    assert torch.equal(compiled(h), h)
    assert backend.frame_count == 1


def test_compiling_counts_as_firing():
    torch.compiler.reset()
    layer = PatternDropout(CONV)
    torch.compile(layer, fullgraph=True, backend="eager")(torch.ones(2, 3, 4, 4))
    assert layer.fired


@pytest.mark.slow
def test_compiled_with_checkpointing_and_changing_shapes():
    torch.compiler.reset()
    layer = PatternDropout(CONV, seed=3)
    compiled = torch.compile(
        lambda h: checkpoint(lambda h: layer(h).square(), h, use_reentrant=False),
        fullgraph=True,
        backend="aot_eager",
    )
    for batch, side in ((2, 4), (3, 4), (3, 6), (5, 7)):
        h = torch.rand(batch, 3, side, side, requires_grad=True)
        y = compiled(h)
        y.sum().backward()
        assert torch.equal(y, layer(h).square())
        assert torch.equal(h.grad != 0, y != 0)


def test_export_in_evaluation_has_no_random_nodes():
    exported = torch.export.export(PatternDropout(CONV).eval(), (torch.ones(2, 3, 4, 4),))
    assert [node for node in exported.graph.nodes if node.op == "call_function"] == []


@pytest.mark.slow
@pytest.mark.parametrize(("pattern", "shape"), BOTH)
@pytest.mark.parametrize("seed", [None, 3])
def test_compiled_by_inductor(pattern, shape, seed):
    torch.compiler.reset()
    layer = PatternDropout(pattern, seed=seed)
    compiled = torch.compile(layer, fullgraph=True)
    h = torch.rand(shape, requires_grad=True)
    y = compiled(h)
    y.sum().backward()
    assert torch.equal(h.grad != 0, y != 0)
    assert y.mean().item() > 0
    if seed is not None:
        assert torch.allclose(y, layer(h))
