import itertools

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import oracles
from autodropout.errors import PatternError, ShapeError
from autodropout.mask import (
    conv_keep,
    conv_keep_at,
    drop,
    num_blocks,
    num_phases,
    token_keep,
    token_keep_at,
)
from autodropout.pattern import ConvPattern, TokenPattern
from autodropout.tiling import placements
from oracles import assert_distribution, assert_share, independent, spread

CONV = [
    ConvPattern(height=2, width=2),
    ConvPattern(height=2, width=1, stride=1, repeat=2, share_c=False),
    ConvPattern(height=2, width=3, stride=2, repeat=3, rotate=30.0),
    ConvPattern(height=1, width=1, stride=1, repeat="fill", rotate=45.0),
    ConvPattern(height=2, width=2, stride=1, repeat="fill", shear_x=0.4, shear_y=-0.2),
    ConvPattern(height="whole", width=2, stride=1, repeat=2, rotate=75.0, shear_x=-0.4),
    ConvPattern(height="whole", width="whole", rate=0.5),
    ConvPattern(height=9, width=2, rotate=200.0, shear_y=0.2, rate=0.25),
    ConvPattern(height=3, width="whole", repeat="fill", stride=2),
    ConvPattern(height=1, width=2, stride=0, repeat=4, shear_x=1.0),
]
SIZES = [(5, 5), (4, 7), (6, 3), (1, 1), (1, 5)]
TOKEN = [
    TokenPattern(size=1, rate=0.3),
    TokenPattern(size=2, stride=1, rate=0.3),
    TokenPattern(size=2, stride=1, share_t=True, rate=0.3),
    TokenPattern(size=3, stride=2, share_c=True, rate=0.4),
    TokenPattern(size=1, stride=0, share_t=True, share_c=True, rate=0.4),
    TokenPattern(size=4, stride=0, share_t=True, rate=0.4),
    TokenPattern(size="whole", share_t=True, rate=0.3),
    TokenPattern(size="whole", rate=0.3),
    TokenPattern(size=50, stride=3, share_t=True, rate=0.3),
]


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def is_kept_everywhere(keep: torch.Tensor, shape: tuple[int, ...]) -> bool:
    return keep.shape == shape and keep.dtype == torch.bool and bool(keep.all())


# conv_keep


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("pattern", CONV)
def test_every_placement_gives_the_mask_of_the_definition(pattern, size):
    rows, columns = oracles.offsets(pattern, *size)
    assert placements(pattern, *size) == (len(rows), len(columns))
    expected = [[oracles.conv_mask(pattern, *size, row, column) for column in columns] for row in rows]
    index = torch.cartesian_prod(torch.arange(len(rows)), torch.arange(len(columns)))
    keep = conv_keep_at(pattern, size, *index.reshape(len(rows), len(columns), 2).unbind(-1))
    assert keep.tolist() == expected


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("pattern", CONV)
def test_drop_rate_is_the_share_over_all_placements_at_every_pixel(pattern, size):
    rows, columns = oracles.offsets(pattern, *size)
    masks = (oracles.conv_mask(pattern, *size, r, c) for r, c in itertools.product(rows, columns))
    expected = torch.tensor(oracles.shares(masks), dtype=torch.float64) * pattern.rate
    assert torch.allclose(expected, torch.tensor(pattern.drop_rate(*size), dtype=torch.float64), atol=1e-12)


@pytest.mark.parametrize("pattern", CONV)
def test_placements_are_drawn_uniformly(pattern):
    height, width, num = 3, 4, 20_000
    rows, columns = oracles.offsets(pattern, height, width)
    keep = conv_keep(pattern, (num, 1, height, width), seeded())
    expected = {(True,) * (height * width): 1 - pattern.rate}
    for row, column in itertools.product(rows, columns):
        mask = tuple(itertools.chain.from_iterable(oracles.conv_mask(pattern, height, width, row, column)))
        expected[mask] = expected.get(mask, 0.0) + pattern.rate / (len(rows) * len(columns))
    assert_distribution(keep, expected)


def test_shared_channels_have_one_mask_and_others_one_each():
    pattern = ConvPattern(height=2, width=2, share_c=True)
    assert conv_keep(pattern, (4, 3, 8, 6)).shape == (4, 1, 8, 6)
    own = ConvPattern(height=2, width=2, share_c=False)
    assert conv_keep(own, (4, 3, 8, 6)).shape == (4, 3, 8, 6)


def test_samples_and_channels_draw_independently():
    pattern = ConvPattern(height="whole", width=1, stride=1, repeat="fill", share_c=False, rate=0.5)
    keep = conv_keep(pattern, (20_000, 2, 1, 2), seeded())
    one = {(True, True): 0.5, (True, False): 0.25, (False, True): 0.25}
    assert_distribution(keep, {a + b: p * q for a, p in one.items() for b, q in one.items()})
    halves = keep[:, 0].reshape(-1, 2, 1, 2)  # neighbours in the batch
    assert_distribution(halves, {a + b: p * q for a, p in one.items() for b, q in one.items()})


@pytest.mark.parametrize("pattern", [*CONV, *TOKEN])
def test_the_same_generator_state_gives_the_same_mask(pattern):
    draw, shape = (conv_keep, (16, 4, 5, 6)) if isinstance(pattern, ConvPattern) else (token_keep, (16, 5, 6))
    assert torch.equal(draw(pattern, shape, seeded(3)), draw(pattern, shape, seeded(3)))
    torch.manual_seed(3)
    by_default = draw(pattern, shape)
    assert torch.equal(by_default, draw(pattern, shape, seeded(3)))
    one = [draw(pattern, shape, generator) for generator in [seeded(3)] for _ in range(9)]
    assert not all(torch.equal(one[0], other) for other in one)


@given(st.floats(-1.0, 1.0), st.integers(0, 3), st.integers(1, 6), st.integers(1, 6), st.integers(0, 99))
def test_rotations_by_0_and_360_agree(shear, turns, height, width, seed):
    still = ConvPattern(height=2, width=2, stride=1, repeat=2, shear_x=shear)
    turned = ConvPattern(height=2, width=2, stride=1, repeat=2, shear_x=shear, rotate=360.0 * turns)
    shape = (3, 2, height, width)
    assert torch.equal(conv_keep(still, shape, seeded(seed)), conv_keep(turned, shape, seeded(seed)))


def test_a_quarter_turn_transposes():
    upright = ConvPattern(height=1, width=3, repeat=2, stride=1)
    lying = ConvPattern(height=1, width=3, repeat=2, stride=1, rotate=90.0)
    rows, columns = placements(upright, 4, 4)
    index = torch.cartesian_prod(torch.arange(rows), torch.arange(columns)).unsqueeze(1)
    masks = conv_keep_at(upright, (4, 4), *index.unbind(-1))
    turned = conv_keep_at(lying, (4, 4), *index.unbind(-1))
    assert torch.equal(masks.rot90(1, (-2, -1)), turned)  # counter-clockwise as the picture is seen


@pytest.mark.parametrize(
    "pattern", [ConvPattern(height=0, width=2), ConvPattern(height=2, width=2, rate=0.0)]
)
def test_a_conv_pattern_that_is_off_keeps_everything(pattern):
    assert is_kept_everywhere(conv_keep(pattern, (3, 4, 5, 6)), (3, 1, 5, 6))


@pytest.mark.parametrize("shape", [(0, 3, 4, 4), (2, 0, 4, 4), (2, 3, 0, 4), (2, 3, 4, 0)])
def test_empty_maps(shape):
    keep = conv_keep(ConvPattern(height=2, width=2, share_c=False, rate=0.5), shape)
    assert keep.shape == shape
    assert drop(torch.ones(shape), keep).shape == shape


def test_a_tile_far_larger_than_the_map():
    pattern = ConvPattern(height=2**30, width=2**30, stride=2**30, repeat=2)
    keep = conv_keep(pattern, (2000, 1, 4, 4), seeded())
    assert_share(int((~keep[:, 0, 0, 0]).sum()), 2000, pattern.drop_rate(4, 4))


@pytest.mark.parametrize("shape", [(3, 4, 5), (1, 2, 3, 4, 5), ()])
def test_conv_keep_needs_four_sizes(shape):
    with pytest.raises(ShapeError, match=r"shape is .*; a ConvPattern needs \(N, C, H, W\)"):
        conv_keep(ConvPattern(height=2, width=2), shape)


def test_a_pattern_of_the_other_kind_is_refused():
    with pytest.raises(PatternError, match=r"expected a ConvPattern .*token_keep"):
        conv_keep(TokenPattern(size=1), (1, 2, 3, 4))
    with pytest.raises(PatternError, match=r"expected a TokenPattern .*conv_keep"):
        token_keep(ConvPattern(height=1, width=1), (1, 2, 3, 4))


# token_keep


@pytest.mark.parametrize("t", [1, 2, 5, 9])
@pytest.mark.parametrize("pattern", TOKEN)
def test_every_phase_gives_the_mask_of_the_definition(pattern, t):
    phases, draws = num_phases(pattern), num_blocks(pattern, t) if pattern.share_t else t
    units = 1 if pattern.share_c else 3
    coins = torch.rand((phases, draws, units), generator=seeded()) < 0.5
    keep = token_keep_at(pattern, t, torch.arange(phases), coins)
    assert keep.tolist() == [oracles.token_mask(pattern, t, p, coins[p].tolist()) for p in range(phases)]


@pytest.mark.parametrize("pattern", TOKEN)
def test_a_unit_is_dropped_at_the_stated_rate_wherever_it_stands(pattern):
    num, t = 20_000, 5
    keep = token_keep(pattern, (num, t, 2), seeded())
    for token in range(t):
        assert_share(int((~keep[:, token, -1]).sum()), num, pattern.drop_rate())


def test_phases_are_uniform_and_blocks_share_their_coins():
    pattern = TokenPattern(size=2, stride=1, share_t=True, rate=1.0)
    keep = token_keep(pattern, (20_000, 4, 1), seeded())
    third = 1 / 3
    expected = {
        (False, False, True, False): third,
        (False, True, False, False): third,
        (True, False, False, True): third,
    }
    assert_distribution(keep, expected)


@pytest.mark.parametrize("share_c", [True, False])
def test_all_axes_before_the_last_two_are_batch(share_c):
    pattern = TokenPattern(size=2, stride=1, share_c=share_c, rate=0.5)
    assert token_keep(pattern, (2, 3, 4, 5)).shape == (2, 3, 4, 1 if share_c else 5)
    assert token_keep(pattern, (4, 5)).shape == (4, 1 if share_c else 5)


@pytest.mark.parametrize("pattern", [TokenPattern(size=0), TokenPattern(size=2, rate=0.0)])
def test_a_token_pattern_that_is_off_keeps_everything(pattern):
    assert is_kept_everywhere(token_keep(pattern, (2, 3, 4)), (2, 3, 4))


@pytest.mark.parametrize("pattern", TOKEN)
@pytest.mark.parametrize("shape", [(0, 3, 4), (2, 0, 4), (2, 3, 0)])
def test_empty_sequences(shape, pattern):
    assert token_keep(pattern, shape).shape == (*shape[:2], 1 if pattern.share_c else shape[2])


@pytest.mark.parametrize("shape", [(3,), ()])
def test_token_keep_needs_two_sizes(shape):
    with pytest.raises(ShapeError, match=r"shape is .*; a TokenPattern needs \(\.\.\., T, C\)"):
        token_keep(TokenPattern(size=1), shape)


# published methods are points of the two families


def test_spatial_dropout():
    pattern = ConvPattern(height="whole", width="whole", share_c=False, rate=0.3)
    assert_distribution(conv_keep(pattern, (20_000, 3, 2, 2), seeded()), spread(independent(0.7, 3), 4))


def test_stochastic_depth():
    pattern = ConvPattern(height="whole", width="whole", share_c=True, rate=0.2)
    keep = conv_keep(pattern, (20_000, 5, 2, 2), seeded())
    assert keep.shape[1] == 1
    assert_distribution(keep, spread(independent(0.8, 1), 4))


def test_dropblock_with_one_block():
    keep = conv_keep(ConvPattern(height=2, width=2), (20_000, 1, 2, 3), seeded())
    expected = {}
    for top, left in itertools.product(range(-1, 2), range(-1, 3)):
        mask = torch.ones(2, 3, dtype=torch.bool)
        mask[max(top, 0) : top + 2, max(left, 0) : left + 2] = False
        expected[tuple(mask.flatten().tolist())] = 1 / 12
    assert_distribution(keep, expected)


def test_dropout():
    keep = token_keep(TokenPattern(size=1, rate=0.3), (20_000, 2, 2), seeded())
    assert_distribution(keep, independent(0.7, 4))


def test_word_dropout():
    keep = token_keep(TokenPattern(size=1, share_c=True, rate=0.3), (20_000, 3, 2), seeded())
    assert_distribution(keep.expand(-1, -1, 2), spread(independent(0.7, 3), 2))


def test_variational_dropout():
    keep = token_keep(TokenPattern(size="whole", share_t=True, rate=0.3), (20_000, 2, 3), seeded())
    expected = {row + row: share for row, share in independent(0.7, 3).items()}
    assert_distribution(keep, expected)


def test_whole_sequence_drop():
    pattern = TokenPattern(size="whole", share_t=True, share_c=True, rate=0.3)
    assert_distribution(token_keep(pattern, (20_000, 3, 2), seeded()), spread(independent(0.7, 1), 3))


# drop


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("shape", [(4, 1, 5, 6), (4, 3, 5, 6), (1, 5, 6), (6,), ()])
def test_drop_is_equation_1(dtype, shape):
    h = torch.randn(4, 3, 5, 6, generator=seeded()).to(dtype)
    keep = torch.rand(shape, generator=seeded(1)) < 0.7
    y = drop(h, keep)
    assert (y.shape, y.dtype) == (h.shape, dtype)
    # Half precisions may round once, the result; the factor must not have been rounded to them.
    ulps = 0.51 if dtype in (torch.float16, torch.bfloat16) else 2.0
    expected = oracles.dropped(h, keep)
    assert torch.allclose(y.double(), expected, rtol=ulps * torch.finfo(dtype).eps, atol=1e-7 * (ulps < 1))


@pytest.mark.parametrize("pattern", CONV)
def test_the_mean_factor_is_1_for_every_mask_that_keeps_anything(pattern):
    for keep in conv_keep(pattern, (50, 3, 5, 4), seeded()).split(1):
        mean = drop(torch.ones(1, 3, 5, 4, dtype=torch.float64), keep).mean().item()
        assert abs(mean - float(keep.any())) < 1e-15


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16, torch.float16])
def test_where_nothing_is_kept_drop_gives_zeros(dtype):
    h = torch.full((2, 3), torch.inf, dtype=dtype)
    assert torch.equal(drop(h, torch.zeros(2, 1, dtype=torch.bool)), torch.zeros(2, 3, dtype=dtype))


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16, torch.float16])
def test_where_everything_is_kept_drop_is_the_identity_bit_for_bit(dtype):
    h = torch.randn(500, 7).to(dtype)
    assert torch.equal(drop(h, torch.ones(500, 1, dtype=torch.bool)), h)


def test_half_precision_with_more_than_65504_kept():
    h = torch.ones(1, 2, 600, 400, dtype=torch.float16)
    keep = torch.ones(1, 1, 600, 400, dtype=torch.bool)
    keep[..., :200] = False
    assert keep.sum() > 65_504
    y = drop(h, keep)
    assert torch.equal(y, 2.0 * keep.expand(h.shape).half())


def test_what_is_dropped_is_zero_even_where_h_is_not_finite():
    h = torch.tensor([torch.nan, torch.inf, 1.0])
    assert drop(h, torch.tensor([False, False, True])).tolist() == [0.0, 0.0, 3.0]


def test_gradients_flow_through_what_is_kept_only():
    keep = conv_keep(CONV[2], (3, 2, 5, 5), seeded())
    h = torch.randn(3, 2, 5, 5, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda h: drop(h, keep), h)
    drop(h, keep).sum().backward()
    assert torch.equal(h.grad != 0, keep.expand(h.shape))
    assert torch.autograd.gradcheck(lambda h: drop(h, torch.zeros_like(keep)), h)


def test_an_empty_batch_stays_empty():
    assert drop(torch.ones(0, 3, 4, 4), torch.ones(0, 1, 4, 4, dtype=torch.bool)).shape == (0, 3, 4, 4)


@pytest.mark.parametrize("dtype", [torch.int64, torch.bool, torch.complex64])
def test_drop_needs_a_float_dtype(dtype):
    with pytest.raises(ShapeError, match=f"the hidden state is {dtype}; expected a float dtype"):
        drop(torch.ones(2, dtype=dtype), torch.ones(2, dtype=torch.bool))


def test_drop_needs_a_bool_mask():
    with pytest.raises(ShapeError, match=r"keep is torch.float32; expected torch\.bool"):
        drop(torch.ones(2), torch.ones(2))


@pytest.mark.parametrize("shape", [(8, 1, 7, 7), (2, 8, 64, 14, 14), (1, 8, 64, 14, 14)])
def test_a_mask_that_does_not_fit_is_refused(shape):
    with pytest.raises(ShapeError, match=r"keep has shape \(.*, the hidden state \(8, 64, 14, 14\)"):
        drop(torch.ones(8, 64, 14, 14), torch.ones(shape, dtype=torch.bool))


def test_compiled_masks_and_drops_equal_eager_ones():
    pattern = ConvPattern(height=2, width=2, rotate=30.0, share_c=False, rate=0.5)
    tokens = TokenPattern(size=2, stride=1, share_t=True, rate=0.4)

    def both(h):
        return drop(h, conv_keep(pattern, h.shape)) + drop(h, token_keep(tokens, h.shape))

    compiled, h = torch.compile(both, fullgraph=True, backend="aot_eager"), torch.randn(4, 3, 6, 5)
    torch.manual_seed(0)
    expected = both(h)
    torch.manual_seed(0)
    assert torch.equal(compiled(h), expected)
