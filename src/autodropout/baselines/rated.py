"""What all baseline modules share: a drop probability that may change without a recompilation."""

import math
from collections.abc import Callable
from typing import Self

import torch
from torch import Tensor, nn
from torch.nn.modules.dropout import _DropoutNd

from autodropout.errors import ShapeError, UsageError

Probability = float | Tensor
"""A number between 0 and 1, or a 0-dim tensor of one, which compiled code reads anew on every call."""


class Rated(_DropoutNd):
    """Base of the baseline modules: holds ``p``, has no parameters and nothing in its state_dict.

    It is one of PyTorch's dropout modules to everything that looks for them. ``p`` reads and sets a float;
    the compiled graph sees a 0-dim buffer that follows the device, so a schedule compiles once.

    Args:
        p: Drop probability, 0 to 1.

    Raises:
        UsageError: ``p`` is no probability.
    """

    _rate: Tensor

    def __init__(self, p: float) -> None:
        nn.Module.__init__(self)  # the parent's own would assign p before there is a buffer to hold it
        self.inplace = False
        self.register_buffer("_rate", torch.zeros((), dtype=torch.float32), persistent=False)
        self.p = p

    @property
    def p(self) -> float:
        """Drop probability."""
        return self._p

    @p.setter
    def p(self, value: float) -> None:
        self._p = checked_float(value)
        self._rate.fill_(self._p)

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Self:
        # Casts round the buffer and to_empty() leaves it unset; the float knows better.
        super()._apply(fn, recurse)  # type: ignore[no-untyped-call]
        self._rate = torch.full((), self._p, dtype=torch.float32, device=self._rate.device)
        return self

    def extra_repr(self) -> str:
        """Return what stands between the brackets of the module's repr."""
        return f"p={self.p:g}"


def checked_float(p: object) -> float:
    """Return a probability as a float.

    Raises:
        UsageError: It is not a number between 0 and 1.
    """
    if isinstance(p, bool) or not isinstance(p, int | float) or not math.isfinite(p) or not 0.0 <= p <= 1.0:
        raise UsageError(f"p is {p!r}; expected a drop probability between 0 and 1")
    return float(p)


def checked_probability(p: Probability) -> Probability:
    """Return a probability, or a 0-dim tensor of one as it is: its value is not read.

    Raises:
        UsageError: It is neither.
    """
    if not isinstance(p, Tensor):
        return checked_float(p)
    if p.ndim != 0:
        raise UsageError(f"p has shape {tuple(p.shape)}; expected a number or a 0-dim tensor")
    return p.detach()


def check_input(x: Tensor, least: int, form: str) -> None:
    """Refuse a tensor with too few axes or without a gradient's dtype.

    Args:
        x: The tensor.
        least: Smallest number of axes.
        form: The axes expected, such as ``"(N, C, H, W)"``.

    Raises:
        ShapeError: It has fewer axes, or no float dtype.
    """
    if x.ndim < least:
        raise ShapeError(f"x has shape {tuple(x.shape)}; expected {form}")
    if not x.is_floating_point():
        raise ShapeError(f"x has dtype {x.dtype}; expected a float dtype")
