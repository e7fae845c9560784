"""A pattern dropped from a hidden state at once: the masks of ``mask``, by cheaper ways.

What comes out is ``drop(h, keep)`` with the keep mask that ``conv_keep`` or ``token_keep`` would have drawn,
bit for bit. But kept pixels are not counted, their numbers stand in a table; and the backward pass makes the
mask again from what was drawn, so that nothing of h's size is kept for it, unless every element has a coin of
its own: then the coins are the mask.

Shape suffixes: N samples, C channels or 1 where they share a draw, P = H * W pixels, K placements.
"""

import operator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from autodropout.fused_tokens import drop_tokens
from autodropout.mask import drawn_conv_coins, drawn_conv_keep, drop, size_over_sum
from autodropout.masked import dropped_by, runs_eagerly_on_cpu, times_keep
from autodropout.noise import Noise
from autodropout.pattern import ConvPattern, Pattern
from autodropout.planes import Planes, bank, planes

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
    return drop_tokens(h, pattern, noise, strength, valid)


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
    if not runs_eagerly_on_cpu(h):
        return _drop_planes(h, size_over_sum(size, kept, h.dtype), table, index_NC)
    if pattern.share_c:
        return dropped_by(h, size, kept, times_keep, table.dropped(index_NC) ^ 1)
    rows = bank(pattern, (height, width), h.device, h.dtype)
    return dropped_by(h, size, kept, _Planes(table) if rows is None else _Bank(rows), index_NC)


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


def _times_channels_last(h: Tensor, factor: float, index_NC: Tensor, table: Tensor) -> Tensor:
    y = torch.empty_like(h)
    for h_CHW, y_CHW, index_C in zip(h, y, index_NC, strict=True):
        y_PC = y_CHW.permute(1, 2, 0).flatten(0, 1)
        y_PC.copy_(table.index_select(0, index_C).t())
        torch.addcmul(h.new_zeros(()), h_CHW, y_CHW, value=factor, out=y_CHW)
    return y
