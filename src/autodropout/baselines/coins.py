"""Methods that toss one coin per cell and differ only in what a cell is: unit, channel, token, sample.

    y = x * b / (1 - p), b = 0 with probability p and 1 otherwise, one b per cell

The factor is applied in float32, for float64 in float64, whatever x's dtype.
"""

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor

from autodropout.baselines.rated import Probability, Rated, check_input, checked_float, checked_probability
from autodropout.errors import ShapeError, UsageError

Mode = Literal["batch", "row"]

_FINEST = 2.0**-24  # smallest step of a float32 draw


def drop_units(x: Tensor, p: Probability = 0.5, training: bool = True) -> Tensor:
    """Drop units, one coin each: Dropout (Srivastava et al. 2014).

    Args:
        x: Hidden state, any float dtype and shape.
        p: Drop probability.
        training: Return ``x`` itself if False.

    Raises:
        ShapeError: ``x`` has no float dtype.
        UsageError: ``p`` is no probability.
    """
    check_input(x, 0, "any shape")
    return _toss(x, p, x.shape, training)


def drop_channels(x: Tensor, p: Probability = 0.5, training: bool = True) -> Tensor:
    """Drop whole channels of maps, one coin per sample and channel: SpatialDropout (Tompson et al. 2015).

    For sequences of shape (N, T, C), whose channels come last, use ``drop_features``.

    Args:
        x: Maps of shape (N, C, ...), at least three axes.
        p: Drop probability.
        training: Return ``x`` itself if False.

    Raises:
        ShapeError: ``x`` has fewer axes or no float dtype.
        UsageError: ``p`` is no probability.
    """
    check_input(x, 3, "(N, C, ...) with at least one spatial axis")
    return _toss(x, p, (*x.shape[:2], *(1,) * (x.ndim - 2)), training)


def drop_path(x: Tensor, p: Probability, mode: Mode = "row", training: bool = True) -> Tensor:
    """Drop a residual branch for whole samples: Stochastic Depth (Huang et al. 2016).

    The paper keeps the scale in training and shrinks it in test; here, as in torchvision and timm, what
    survives is scaled up in training and nothing happens in test.

    Args:
        x: The branch's output before it is added to the shortcut, shape (N, ...).
        p: Drop probability.
        mode: ``"row"``: one coin per sample; ``"batch"``: one coin for all, as in the paper.
        training: Return ``x`` itself if False.

    Raises:
        ShapeError: ``x`` has no axis or no float dtype.
        UsageError: ``p`` is no probability, or the mode is unknown.
    """
    check_input(x, 1, "(N, ...)")
    _check_mode(mode)
    first = 1 if mode == "batch" else x.shape[0]
    return _toss(x, p, (first, *(1,) * (x.ndim - 1)), training)


def drop_words(x: Tensor, p: Probability, training: bool = True) -> Tensor:
    """Drop tokens with all their channels, one coin per token: word dropout (Iyyer et al. 2015).

    Every occurrence of a word has a coin of its own; Gal and Ghahramani (2016) drop word types instead.

    Args:
        x: Embeddings or hidden states of shape (..., C): all axes but the last count tokens.
        p: Drop probability.
        training: Return ``x`` itself if False.

    Raises:
        ShapeError: ``x`` has fewer than two axes or no float dtype.
        UsageError: ``p`` is no probability.
    """
    check_input(x, 2, "(..., T, C)")
    return _toss(x, p, (*x.shape[:-1], 1), training)


def drop_features(x: Tensor, p: Probability, training: bool = True, time_dim: int = -2) -> Tensor:
    """Drop the same channels at every time step: variational dropout (Gal and Ghahramani 2016).

    Args:
        x: Hidden states, by default of shape (..., T, C).
        p: Drop probability.
        training: Return ``x`` itself if False.
        time_dim: Axis of time, along which one coin holds; 0 for (T, N, C).

    Raises:
        ShapeError: ``x`` has fewer than two axes, no such axis, or no float dtype.
        UsageError: ``p`` is no probability.
    """
    check_input(x, 2, "(..., T, C)")
    if not -x.ndim <= time_dim < x.ndim:
        raise ShapeError(
            f"x has shape {tuple(x.shape)} and no axis {time_dim}; set time_dim to its axis of time"
        )
    shape = list(x.shape)
    shape[time_dim] = 1
    return _toss(x, p, shape, training)


def linear_decay(p: float, num_blocks: int) -> tuple[float, ...]:
    """Return a drop probability for every residual block, growing with depth.

    p_l = p * l / L for l = 1 ... L          (Stochastic Depth, Eq. 4, there as 1 - p_l)

    timm starts at 0 instead: p * (l - 1) / (L - 1).

    Args:
        p: Drop probability of the last block.
        num_blocks: L, at least 1.

    Raises:
        UsageError: An argument is out of range.

    Example:
        >>> linear_decay(0.2, 4)
        (0.05, 0.1, 0.15000000000000002, 0.2)
    """
    if isinstance(num_blocks, bool) or not isinstance(num_blocks, int) or num_blocks < 1:
        raise UsageError(f"num_blocks is {num_blocks!r}; expected a whole number of at least 1")
    last = checked_float(p)
    return tuple(last * block / num_blocks for block in range(1, num_blocks + 1))


class Dropout(Rated):
    """Module twin of ``drop_units``.

    Args:
        p: Drop probability.

    Raises:
        UsageError: ``p`` is no probability.
    """

    def __init__(self, p: float = 0.5) -> None:
        super().__init__(p)

    def forward(self, x: Tensor) -> Tensor:
        """Apply ``drop_units``."""
        return drop_units(x, self._rate, self.training)


class SpatialDropout(Rated):
    """Module twin of ``drop_channels``.

    Args:
        p: Drop probability.

    Raises:
        UsageError: ``p`` is no probability.
    """

    def __init__(self, p: float = 0.5) -> None:
        super().__init__(p)

    def forward(self, x: Tensor) -> Tensor:
        """Apply ``drop_channels``."""
        return drop_channels(x, self._rate, self.training)


class StochasticDepth(Rated):
    """Module twin of ``drop_path``.

    Args:
        p: Drop probability.
        mode: ``"row"``: one coin per sample; ``"batch"``: one coin for all.

    Raises:
        UsageError: ``p`` is no probability, or the mode is unknown.
    """

    def __init__(self, p: float, mode: Mode = "row") -> None:
        _check_mode(mode)
        super().__init__(p)
        self.mode: Mode = mode

    def forward(self, x: Tensor) -> Tensor:
        """Apply ``drop_path``."""
        return drop_path(x, self._rate, self.mode, self.training)

    def extra_repr(self) -> str:
        """Return what stands between the brackets of the module's repr."""
        return f"{super().extra_repr()}, mode={self.mode}"


class WordDropout(Rated):
    """Module twin of ``drop_words``.

    Args:
        p: Drop probability.

    Raises:
        UsageError: ``p`` is no probability.
    """

    def forward(self, x: Tensor) -> Tensor:
        """Apply ``drop_words``."""
        return drop_words(x, self._rate, self.training)


class VariationalDropout(Rated):
    """Module twin of ``drop_features``.

    Args:
        p: Drop probability.
        time_dim: Axis of time, along which one coin holds.

    Raises:
        UsageError: ``p`` is no probability.
    """

    def __init__(self, p: float, time_dim: int = -2) -> None:
        super().__init__(p)
        self.time_dim = time_dim

    def forward(self, x: Tensor) -> Tensor:
        """Apply ``drop_features``."""
        return drop_features(x, self._rate, self.training, self.time_dim)

    def extra_repr(self) -> str:
        """Return what stands between the brackets of the module's repr."""
        return f"{super().extra_repr()}, time_dim={self.time_dim}"


def _toss(x: Tensor, p: Probability, cells: Sequence[int], training: bool) -> Tensor:
    p = checked_probability(p)
    if not training:
        return x
    keep = torch.rand(tuple(cells), dtype=torch.float32, device=x.device) >= p
    exact = torch.float64 if x.dtype == torch.float64 else torch.float32
    # Selecting keeps one byte a cell for the backward pass, and what is infinite does not survive as NaN.
    return torch.where(keep, x.to(exact) / _survival(p), 0.0).to(x.dtype)


def _survival(p: Probability) -> Probability:
    """Return 1 - p, but never 0: at p = 1 nothing is kept, and 0 / 0 must not reach the gradient."""
    return (1.0 - p).clamp(min=_FINEST) if isinstance(p, Tensor) else max(1.0 - p, _FINEST)


def _check_mode(mode: object) -> None:
    if mode not in ("batch", "row"):
        raise UsageError(f'mode is {mode!r}; expected "batch" or "row"')
