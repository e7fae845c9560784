"""A hidden state times a mask times a number, as one operation of autograd.

The mask is made from what was drawn, in the forward pass and once more in the backward pass, so that nothing
of the hidden state's size is kept in between, unless every element has a coin of its own.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from autodropout.mask import size_over_sum
from autodropout.tracing import runs_eagerly

Times = Callable[..., Tensor]
"""times(h, factor, *drawn): h * mask * factor, the mask made from what was drawn."""

_EXACT = 2**24  # float32 holds every whole number up to it


def dropped_by(h: Tensor, size: int, kept: Tensor, times: Times, *drawn: Tensor) -> Tensor:
    """Return h with its mask at work, scaled as AutoDropout's Eq. 1 has it.

    Args:
        h: Hidden state of a float dtype, any shape.
        size: Elements of the mask, those that take no part not counted.
        kept: 0-dim integer, how many of them are kept.
        times: Multiplies it by mask and factor.
        drawn: What ``times`` makes the mask from.

    Returns:
        Same shape and dtype as h.
    """
    y: Tensor = _Dropped.apply(h, _factor(size, kept, h.dtype), times, *drawn)
    return y


def _factor(size: int, kept: Tensor, dtype: torch.dtype) -> float:
    """Return what ``size_over_sum`` returns, as a number: it will be rounded to float32 where it is used."""
    if size > _EXACT:  # the sizes themselves would be rounded there
        return size_over_sum(size, kept, dtype).item()
    return size / max(int(kept), 1)


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


def times_keep(h: Tensor, factor: float, keep: Tensor) -> Tensor:
    """Return h * keep * factor for a keep mask, bool or bytes, that broadcasts to h.

    It lies in memory as h does where the mask is as large as h, and as torch's products do elsewhere.
    """
    if keep.shape == h.shape:
        y = torch.empty_like(h).copy_(keep.view(torch.uint8))
        return torch.addcmul(h.new_zeros(()), h, y, value=factor, out=y)
    mask = keep.view(torch.uint8).to(h.dtype)
    if not is_short(h) and not h.is_contiguous():
        return h * mask.mul_(factor)  # faster there, but rounds the factor to h's dtype
    return torch.addcmul(h.new_zeros(()), h, mask, value=factor)


def is_short(h: Tensor) -> bool:
    """Say whether a factor would be rounded to fewer bits than float32's in h's dtype."""
    return h.dtype.itemsize <= 2


def runs_eagerly_on_cpu(h: Tensor) -> bool:
    """Say whether a number may leave a tensor at no cost, for h and what is made from it."""
    return runs_eagerly() and h.device.type == "cpu" and type(h) in (Tensor, torch.nn.Parameter)
