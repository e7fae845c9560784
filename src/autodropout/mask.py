"""A pattern and a shape to a keep mask, and a keep mask to dropped values (AutoDropout, Eq. 1).

Shape suffixes: N samples, C channels or 1 where they share a draw, H rows, W columns, T tokens, K
placements along an axis, B blocks of tokens, P = H * W pixels.
"""

import operator
from collections.abc import Sequence

import torch
from torch import Tensor

from autodropout.errors import PatternError, ShapeError
from autodropout.noise import GeneratorNoise, Noise
from autodropout.pattern import ConvPattern, TokenPattern
from autodropout.tiling import in_both, placements

MOST_PLACEMENTS = 2**31
"""Up to so many placements on a map, one whole number is drawn for both axes: row * columns + column."""


def conv_keep(
    pattern: ConvPattern,
    shape: Sequence[int],
    generator: torch.Generator | None = None,
    device: torch.device | str | None = None,
) -> Tensor:
    """Draw where a feature map survives a conv pattern.

    Each sample, or each of its channels, draws where the tiles begin, uniformly over every placement
    that touches the map (AutoDropout, section 2, leaves the distribution open); with probability
    1 - ``pattern.rate`` it draws no tiles at all. A pixel is dropped with ``pattern.drop_rate(H, W)``.

    Args:
        pattern: What to drop.
        shape: (N, C, H, W).
        generator: Its state decides the mask; None is the device's default generator.
        device: Where the mask is wanted; None is the generator's device, or torch's default device.

    Returns:
        Bool, True = kept, shape (N, 1, H, W) with ``share_c`` and (N, C, H, W) without.

    Raises:
        PatternError: The pattern is no ConvPattern.
        ShapeError: The shape has not four sizes.

    Example:
        >>> conv_keep(ConvPattern(height=2, width=2), (8, 16, 4, 4)).shape
        torch.Size([8, 1, 4, 4])
    """
    return drawn_conv_keep(pattern, shape, GeneratorNoise(generator, device))


def token_keep(
    pattern: TokenPattern,
    shape: Sequence[int],
    generator: torch.Generator | None = None,
    device: torch.device | str | None = None,
) -> Tensor:
    """Draw which units of a sequence survive a token pattern.

    Args:
        pattern: What to drop.
        shape: (..., T, C): the last axis is C, the one before it T, all others are batch.
        generator: Its state decides the mask; None is the device's default generator.
        device: Where the mask is wanted; None is the generator's device, or torch's default device.

    Returns:
        Bool, True = kept, shape (..., T, 1) with ``share_c`` and (..., T, C) without.

    Raises:
        PatternError: The pattern is no TokenPattern.
        ShapeError: The shape has fewer than two sizes.

    Example:
        >>> token_keep(TokenPattern(size=1, share_c=True, rate=0.5), (8, 20, 32)).shape
        torch.Size([8, 20, 1])
    """
    return drawn_token_keep(pattern, shape, GeneratorNoise(generator, device))


def drop(h: Tensor, keep: Tensor, valid: Tensor | None = None) -> Tensor:
    """Zero what is not kept and rescale the rest.

    Drop(h, m) = h * m * Size(m) / Sum(m)                      (AutoDropout, Eq. 1)

    Size and Sum count the mask as broadcast to h, so the mean factor is 1 for every mask that keeps
    anything. The factor is computed in float32, for float64 in float64; the mask is a constant to
    autograd. What is dropped is exactly 0, also where h is infinite or NaN.

    Args:
        h: Hidden state, any float dtype, shape S.
        keep: Bool, True where h survives; broadcastable to S (size 1 along shared axes).
        valid: Bool, broadcastable to S. Where it is False, as at padding, h is left as it is and counted
            neither in Size nor in Sum. None: all of h takes part.

    Returns:
        Same shape and dtype as h; all zeros where nothing that takes part is kept.

    Raises:
        ShapeError: keep or valid is not bool or does not broadcast to h, or h is not of a float dtype.
    """
    _check_drop(h, keep, "keep")
    if valid is not None:
        _check_drop(h, valid, "valid")
        kept = keep & valid
        counted = valid.expand(kept.shape)
        return torch.where(valid, scaled(h, keep, size_over_sum(counted.sum(), kept.sum(), h.dtype)), h)
    return scaled(h, keep, size_over_sum(keep.numel(), keep.sum(), h.dtype))


def size_over_sum(size: int | Tensor, kept: Tensor, dtype: torch.dtype) -> Tensor:
    """Return Eq. 1's factor, Size(m) / Sum(m), in float32 or, for float64, in float64.

    Args:
        size: Elements of the mask, a number or 0-dim int64.
        kept: 0-dim int64, how many of them are kept; where none is, the factor is finite all the same.
        dtype: The hidden state's.
    """
    kept = kept.clamp(min=1).to(torch.float64 if dtype == torch.float64 else torch.float32)
    # A plain number over a tensor would be a product with its reciprocal, rounded twice.
    return (size if isinstance(size, Tensor) else torch.full_like(kept, size)) / kept


def scaled(h: Tensor, keep: Tensor, factor: Tensor) -> Tensor:
    """Return h times the factor where it is kept, computed in the factor's dtype, and 0 elsewhere."""
    # Not torch.where, whose output would lie in memory as the mask does.
    return (h.to(factor.dtype) * factor).masked_fill_(~keep, 0.0).to(h.dtype)


def drawn_conv_keep(
    pattern: ConvPattern, shape: Sequence[int], noise: Noise, strength: float | Tensor | None = None
) -> Tensor:
    """Do what ``conv_keep`` does, with any source of draws.

    Args:
        pattern: What to drop.
        shape: (N, C, H, W).
        noise: Source of draws, on the device where the mask is wanted.
        strength: In [0, 1], as a number or a 0-dim tensor, a factor on the pattern's rate; None is 1.
    """
    n, c, height, width = _conv_shape(pattern, shape)
    draws = (n, 1 if pattern.share_c else c)
    if pattern.off or height == 0 or width == 0:
        return torch.ones((*draws, height, width), dtype=torch.bool, device=noise.device)
    rows, columns = placements(pattern, height, width)
    if rows * columns <= MOST_PLACEMENTS:
        index_NC = noise.integers(rows * columns, draws)
        row_NC, column_NC = index_NC // columns, index_NC % columns
    else:
        row_NC, column_NC = noise.integers(rows, draws), noise.integers(columns, draws)
    keep = conv_keep_at(pattern, (height, width), row_NC, column_NC)
    coin_NC = drawn_conv_coins(pattern, draws, noise, strength)
    return keep if coin_NC is None else keep | ~coin_NC[..., None, None]


def drawn_conv_coins(
    pattern: ConvPattern, draws: Sequence[int], noise: Noise, strength: float | Tensor | None
) -> Tensor | None:
    """Draw which samples, or which of their channels, receive a conv pattern; None where all do."""
    if strength is None and pattern.rate == 1.0:
        return None
    return noise.coins(pattern.rate if strength is None else pattern.rate * strength, draws)


def drawn_token_keep(
    pattern: TokenPattern, shape: Sequence[int], noise: Noise, strength: float | Tensor | None = None
) -> Tensor:
    """Do what ``token_keep`` does, with any source of draws.

    Args:
        pattern: What to drop.
        shape: (..., T, C).
        noise: Source of draws, on the device where the mask is wanted.
        strength: In [0, 1], as a number or a 0-dim tensor, a factor on the pattern's rate; None is 1.
    """
    *batch, t, c = _token_shape(pattern, shape)
    if pattern.off or t == 0:
        units = 1 if pattern.share_c else c
        return torch.ones((*batch, t, units), dtype=torch.bool, device=noise.device)
    return token_keep_at(pattern, t, *drawn_tokens(pattern, shape, noise, strength))


def drawn_tokens(
    pattern: TokenPattern, shape: Sequence[int], noise: Noise, strength: float | Tensor | None
) -> tuple[Tensor, Tensor]:
    """Draw the phases and coins that ``token_keep_at`` takes, for a pattern that is not off."""
    *batch, t, c = shape
    rate = pattern.rate if strength is None else pattern.rate * strength
    phase = noise.integers(num_phases(pattern), batch)
    draws = num_blocks(pattern, t) if pattern.share_t else t
    return phase, noise.coins(rate, (*batch, draws, 1 if pattern.share_c else c))


def conv_keep_at(pattern: ConvPattern, size: tuple[int, int], row_NC: Tensor, column_NC: Tensor) -> Tensor:
    """Return the keep mask of given placements.

    A pixel is dropped if its source row lies in a row of tiles and its source column in a column of them.

    Args:
        pattern: A pattern that is not off; its rate plays no part.
        size: (H, W), both at least 1.
        row_NC: int64, number of the placement along rows; number 0 lies at ``geometry.first_offset``.
        column_NC: The same along columns.

    Returns:
        Bool, True = kept, shape (N, C, H, W).
    """
    dropped_NCP = in_both(pattern, size, row_NC, column_NC)
    return (~dropped_NCP).reshape(*row_NC.shape, *size)


def token_keep_at(pattern: TokenPattern, t: int, phase: Tensor, coins: Tensor) -> Tensor:
    """Return the keep mask of given phases and coins.

    Args:
        pattern: A pattern that is not off; its rate plays no part.
        t: Tokens in the sequence, at least 1.
        phase: int64 of the batch's shape, in [0, num_phases): where in its period the
            first token stands.
        coins: Bool, True = drop, shape (..., B, C) with ``share_t`` and (..., T, C) without.

    Returns:
        Bool, True = kept, shape (..., T, C).
    """
    period = num_phases(pattern)
    if isinstance(pattern.size, str) or period == 1:
        return ~coins.expand(*coins.shape[:-2], t, coins.shape[-1])  # every token is affected
    place = (torch.arange(t, device=phase.device) + phase.unsqueeze(-1)).unsqueeze(-1)
    if pattern.share_t:
        block = place // period
        coins = coins.gather(-2, block.expand(*block.shape[:-1], coins.shape[-1]))
    return ~(coins & (place % period < pattern.size))


def num_phases(pattern: TokenPattern) -> int:
    """Return how many phases are drawn from: the period, or 1 where the phase changes nothing."""
    if isinstance(pattern.size, str) or (pattern.stride == 0 and not pattern.share_t):
        return 1
    return pattern.size + pattern.stride


def num_blocks(pattern: TokenPattern, t: int) -> int:
    """Return how many blocks, cut ones included, t tokens may belong to."""
    return 1 if isinstance(pattern.size, str) else (t - 2) // (pattern.size + pattern.stride) + 2


def _conv_shape(pattern: ConvPattern, shape: Sequence[int]) -> tuple[int, int, int, int]:
    if not isinstance(pattern, ConvPattern):
        raise PatternError(f"the pattern is {pattern!r}; expected a ConvPattern (for sequences: token_keep)")
    if len(shape) != 4:
        raise ShapeError(f"shape is {tuple(shape)}; a ConvPattern needs (N, C, H, W)")
    n, c, height, width = shape
    # A compiled graph is made for one map size: its planes are constants in it.
    return n, c, operator.index(height), operator.index(width)


def _token_shape(pattern: TokenPattern, shape: Sequence[int]) -> Sequence[int]:
    if not isinstance(pattern, TokenPattern):
        raise PatternError(f"the pattern is {pattern!r}; expected a TokenPattern (for maps: conv_keep)")
    if len(shape) < 2:
        raise ShapeError(f"shape is {tuple(shape)}; a TokenPattern needs (..., T, C)")
    return shape


def _check_drop(h: Tensor, mask: Tensor, name: str) -> None:
    if not h.is_floating_point():
        raise ShapeError(f"the hidden state is {h.dtype}; expected a float dtype")
    if mask.dtype != torch.bool:
        meaning = "survives" if name == "keep" else "takes part"
        raise ShapeError(
            f"{name} is {mask.dtype}; expected torch.bool, True where the hidden state {meaning}"
        )
    sizes = zip(reversed(mask.shape), reversed(h.shape), strict=False)
    if mask.ndim > h.ndim or not all(size in (1, full) for size, full in sizes):
        raise ShapeError(
            f"{name} has shape {tuple(mask.shape)}, the hidden state {tuple(h.shape)}; "
            "expected shapes that broadcast, size 1 along shared axes"
        )
