"""A pattern dropped from a hidden state at once: the masks of ``mask``, by cheaper ways.

What comes out is ``drop(h, keep)`` with the keep mask that ``conv_keep`` or ``token_keep`` would have drawn,
bit for bit. But kept pixels are not counted, their numbers stand in a table; and the backward pass makes the
mask again from what was drawn, so that nothing of h's size is kept for it, unless every element has a coin of
its own: then the coins are the mask.

Shape suffixes: N samples, C channels or 1 where they share a draw, P = H * W pixels, K placements.
"""

import operator
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from autodropout.mask import (
    drawn_conv_coins,
    drawn_conv_keep,
    drawn_token_keep,
    drawn_tokens,
    drop,
    num_blocks,
    num_phases,
    size_over_sum,
    token_keep_at,
)
from autodropout.noise import Noise
from autodropout.pattern import ConvPattern, Pattern, TokenPattern
from autodropout.planes import Planes, bank, planes
from autodropout.tracing import runs_eagerly

Times = Callable[..., Tensor]
"""times(h, factor, *drawn): h * mask * factor, the mask made from what was drawn."""

_EXACT = 2**24  # float32 holds every whole number up to it
_CHUNK = 2**17  # elements that fit into a core's cache


def drop_drawn(
    h: Tensor,
    pattern: Pattern,
    noise: Noise,
    strength: float | Tensor | None = None,
    valid: Tensor | None = None,
) -> Tensor:
    """Do what ``drop`` does with a fresh keep mask of a pattern.

    Where h is finite, equal to ``drop(h, drawn_conv_keep(...))`` or its twin for tokens. Where h is infinite
    or NaN, what is dropped may be NaN instead of 0, as with ``torch.nn.Dropout``: a mask is multiplied.

    Args:
        h: Hidden state of a float dtype, (N, C, H, W) or (..., T, C), with any strides.
        pattern: What to drop; not off.
        noise: Source of draws, on h's device.
        strength: In [0, 1], a factor on the pattern's rate; None is 1.
        valid: Bool, broadcastable to h: where a TokenPattern acts, as ``drop`` takes it; None is everywhere.

    Returns:
        Same shape, dtype and memory format as h.
    """
    if isinstance(pattern, ConvPattern):
        return _drop_conv(h, pattern, noise, strength)
    return _drop_tokens(h, pattern, noise, strength, valid)


def _drop_conv(h: Tensor, pattern: ConvPattern, noise: Noise, strength: float | Tensor | None) -> Tensor:
    n, c = h.shape[:2]
    height, width = map(operator.index, h.shape[2:])  # a compiled graph is made for one map size
    transformed = torch._C._are_functorch_transforms_active() and not torch.compiler.is_compiling()
    table = None if transformed or not height * width else planes(pattern, (height, width), h.device)
    if table is None:
        return drop(h, drawn_conv_keep(pattern, h.shape, noise, strength))
    draws = (n, 1 if pattern.share_c else c)
    index_NC = noise.integers(table.rows * table.columns, draws)
    coin_NC = drawn_conv_coins(pattern, draws, noise, strength)
    if coin_NC is not None:
        index_NC = torch.where(coin_NC, index_NC, table.rows * table.columns)
    kept = table.kept.index_select(0, index_NC.flatten()).sum()
    size = draws[0] * draws[1] * height * width
    if not _runs_eagerly_on_cpu(h):
        return _drop_planes(h, size_over_sum(size, kept, h.dtype), table, index_NC)
    if pattern.share_c:
        return _dropped(h, size, kept, _times_keep, table.dropped(index_NC) ^ 1)
    rows = bank(pattern, (height, width), h.device, h.dtype)
    return _dropped(h, size, kept, _Planes(table) if rows is None else _Bank(rows), index_NC)


def _drop_planes(h: Tensor, factor: Tensor, table: Planes, index_NC: Tensor) -> Tensor:
    """Drop masks by their numbers in tensor operations alone."""
    if index_NC.shape[1] != h.shape[1]:
        return _product(h, table.dropped(index_NC), factor)
    # Rows of pixels where h lies so: masks in the map's shape compile to code half as fast. They are
    # cut outside the function, whose output must be no view for the model to change it in place.
    rows_of_h = h.view(-1, h.shape[2] * h.shape[3]) if h.is_contiguous() else h
    y: Tensor = _DroppedByPlanes.apply(
        rows_of_h, index_NC, factor, table.row_planes, table.column_planes, table.columns
    )
    return y.view(h.shape)


def _drop_tokens(
    h: Tensor, pattern: TokenPattern, noise: Noise, strength: float | Tensor | None, valid: Tensor | None
) -> Tensor:
    if h.numel() == 0 or not _runs_eagerly_on_cpu(h):
        return drop(h, drawn_token_keep(pattern, h.shape, noise, strength), valid)
    phase, coins = drawn_tokens(pattern, h.shape, noise, strength)
    t, c = h.shape[-2:]
    whole = isinstance(pattern.size, str) and pattern.share_t
    if whole and valid is None:
        kept = (~coins).sum() * t * (c // coins.shape[-1])
        return _dropped(h, h.numel(), kept, _times_keep, ~coins)
    one_by_one = whole or not pattern.share_t or pattern.share_c or num_phases(pattern) == 1
    if one_by_one or (valid is not None and valid.shape[-1] != 1):
        keep = ~coins if whole else token_keep_at(pattern, t, phase, coins)
        if valid is None:
            return _dropped(h, keep.numel(), torch.count_nonzero(keep), _times_keep, keep)
        both = keep & valid
        return _dropped_within(h, valid, torch.count_nonzero(both), both.numel(), _times_keep, keep)
    row = _row_of_token(pattern, t, phase)
    coins = coins.flatten(0, -2)
    keep = torch.cat([~coins, torch.ones_like(coins[:1])]).view(torch.uint8)
    # Sums of bytes are five times as fast as sums of bools.
    kept_of_token = keep.sum(-1, dtype=torch.int32).index_select(0, row.flatten()).view(row.shape)
    if valid is None:
        return _dropped(h, h.numel(), kept_of_token.sum(), _times_rows, keep, row)
    kept = (kept_of_token * valid.squeeze(-1)).sum()
    return _dropped_within(h, valid, kept, h.numel(), _times_rows, keep, row)


def _dropped_within(
    h: Tensor, valid: Tensor, kept: Tensor, size: int, times: Times, *drawn: Tensor
) -> Tensor:
    """Do what ``_dropped`` does where h takes part; ``size`` is what ``valid`` is expanded to."""
    counted = int(torch.count_nonzero(valid)) * (size // valid.numel())
    return _dropped(h, counted, kept, _Within(times), valid, *drawn)


def _dropped(h: Tensor, size: int, kept: Tensor, times: Times, *drawn: Tensor) -> Tensor:
    y: Tensor = _Dropped.apply(h, _factor(size, kept, h.dtype), times, *drawn)
    return y


def _factor(size: int, kept: Tensor, dtype: torch.dtype) -> float:
    """Return what ``size_over_sum`` returns, as a number: it will be rounded to float32 where it is used."""
    if size > _EXACT:  # the sizes themselves would be rounded there
        return size_over_sum(size, kept, dtype).item()
    return size / max(int(kept), 1)


def _row_of_token(pattern: TokenPattern, t: int, phase: Tensor) -> Tensor:
    """Return for each token the row of coins that it takes, counting over the batch; the last is none."""
    period, blocks = num_phases(pattern), num_blocks(pattern, t)
    size = t if isinstance(pattern.size, str) else pattern.size
    place = torch.arange(t, device=phase.device) + phase.unsqueeze(-1)
    first = torch.arange(phase.numel(), device=phase.device).reshape(phase.shape).unsqueeze(-1) * blocks
    return torch.where(place % period < size, first + place // period, phase.numel() * blocks)


class _Dropped(torch.autograd.Function):
    """h * mask * factor; keeps what was drawn, makes the mask again in the backward pass."""

    @staticmethod
    def forward(ctx: Any, h: Tensor, factor: float, times: Times, *drawn: Tensor) -> Tensor:
        ctx.save_for_backward(*drawn)
        ctx.save_for_forward(*drawn)
        ctx.factor, ctx.times = factor, times
        return times(h, factor, *drawn)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        drawn, times = ctx.saved_tensors, ctx.times
        if torch.is_grad_enabled():  # somebody will want the gradient's gradient
            gradient = _Dropped.apply(gradients[0], ctx.factor, times, *drawn)
        else:
            gradient = times(gradients[0], ctx.factor, *drawn)
        return gradient, None, None, *[None for _ in drawn]

    @staticmethod
    def jvp(ctx: Any, *tangents: Tensor) -> Tensor:
        times: Times = ctx.times
        return times(tangents[0], ctx.factor, *ctx.saved_tensors)


class _DroppedByPlanes(torch.autograd.Function):
    """The same in tensor operations alone, for compilers, which fuse them, and for other devices."""

    @staticmethod
    def forward(ctx: Any, h: Tensor, index_NC: Tensor, factor: Tensor, *table: Any) -> Tensor:
        row_KP, column_KP, ctx.columns = table
        ctx.save_for_backward(index_NC, factor, row_KP, column_KP)
        return _times_planes(h, index_NC, factor, row_KP, column_KP, ctx.columns)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        index_NC, factor, row_KP, column_KP = ctx.saved_tensors
        gradient = _times_planes(gradients[0], index_NC, factor, row_KP, column_KP, ctx.columns)
        return gradient, None, None, None, None, None


def _times_planes(
    h: Tensor, index_NC: Tensor, factor: Tensor, row_KP: Tensor, column_KP: Tensor, columns: int
) -> Tensor:
    index = index_NC.flatten()
    dropped = row_KP.index_select(0, index // columns) & column_KP.index_select(0, index % columns)
    return _product(h, dropped.reshape(h.shape), factor)


def _product(h: Tensor, dropped: Tensor, factor: Tensor) -> Tensor:
    """Return h * (1 - dropped) * factor, computed in the factor's dtype."""
    # A mask made by arithmetic: a choice between two values compiles to slower code.
    mask = factor - factor * dropped.to(factor.dtype)
    return (h.to(factor.dtype) * mask).to(h.dtype)


@dataclass(frozen=True, slots=True)
class _Bank:
    """Masks by their number, ready in h's dtype."""

    table: Tensor

    def __call__(self, h: Tensor, factor: float, index_NC: Tensor) -> Tensor:
        if not h.is_contiguous() and h.is_contiguous(memory_format=torch.channels_last):
            return _times_channels_last(h, factor, index_NC, self.table)
        y = torch.empty_like(h, memory_format=torch.contiguous_format)
        torch.index_select(self.table, 0, index_NC.flatten(), out=y.view(-1, self.table.shape[1]))
        return torch.addcmul(h.new_zeros(()), h, y, value=factor, out=y)


@dataclass(frozen=True, slots=True)
class _Planes:
    """Masks by their number, made from planes a few samples at a time, so that they stay in the cache."""

    table: Planes

    def __call__(self, h: Tensor, factor: float, index_NC: Tensor) -> Tensor:
        y = torch.empty_like(h)
        samples = max(1, _CHUNK // max(1, h[:1].numel()))
        for start in range(0, h.shape[0], samples):
            part = slice(start, start + samples)
            mask = (self.table.dropped(index_NC[part]) ^ 1).to(h.dtype)
            torch.addcmul(h.new_zeros(()), h[part], mask, value=factor, out=y[part])
        return y


@dataclass(frozen=True, slots=True)
class _Within:
    """Leaves what takes no part as it is."""

    times: Times

    def __call__(self, h: Tensor, factor: float, valid: Tensor, *drawn: Tensor) -> Tensor:
        y = self.times(h, factor, *drawn)
        return torch.where(valid, y, h, out=y)


def _times_channels_last(h: Tensor, factor: float, index_NC: Tensor, table: Tensor) -> Tensor:
    y = torch.empty_like(h)
    for h_CHW, y_CHW, index_C in zip(h, y, index_NC, strict=True):
        y_PC = y_CHW.permute(1, 2, 0).flatten(0, 1)
        y_PC.copy_(table.index_select(0, index_C).t())
        torch.addcmul(h.new_zeros(()), h_CHW, y_CHW, value=factor, out=y_CHW)
    return y


def _times_rows(h: Tensor, factor: float, keep: Tensor, row: Tensor) -> Tensor:
    """Take each token's mask from the row of its block; all is kept of a token of no block."""
    keep = keep.to(h.dtype)
    y = torch.empty_like(h)
    order = sorted(range(row.ndim), key=y.stride, reverse=True)  # as the tokens lie in memory
    rows = y.permute(*order, -1)
    if not rows.is_contiguous():  # channels are not innermost: what attention's gradients look like
        mask = keep.index_select(0, row.flatten()).reshape(h.shape)
        return torch.addcmul(h.new_zeros(()), h, mask, value=factor, out=y)
    torch.index_select(keep, 0, row.permute(order).flatten(), out=rows.view(-1, h.shape[-1]))
    return torch.addcmul(h.new_zeros(()), h, y, value=factor, out=y)


def _times_keep(h: Tensor, factor: float, keep: Tensor) -> Tensor:
    if keep.shape == h.shape:
        y = torch.empty_like(h).copy_(keep.view(torch.uint8))
        return torch.addcmul(h.new_zeros(()), h, y, value=factor, out=y)
    mask = keep.view(torch.uint8).to(h.dtype)
    if h.dtype.itemsize > 2 and not h.is_contiguous():
        return h * mask.mul_(factor)  # faster there, but rounds the factor to h's dtype
    return torch.addcmul(h.new_zeros(()), h, mask, value=factor)


def _runs_eagerly_on_cpu(h: Tensor) -> bool:
    """Say whether a number may leave a tensor at no cost, for h and what is made from it."""
    return runs_eagerly() and h.device.type == "cpu" and type(h) in (Tensor, torch.nn.Parameter)
