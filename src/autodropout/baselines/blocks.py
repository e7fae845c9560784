"""DropBlock as published: many square blocks, seeded by coin where a whole block fits."""

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from autodropout.baselines.rated import Probability, Rated, check_input, checked_float, checked_probability
from autodropout.errors import ShapeError, UsageError
from autodropout.mask import drop


def drop_block(
    x: Tensor, p: Probability, block_size: int, share_c: bool = False, training: bool = True
) -> Tensor:
    """Drop square blocks of maps: DropBlock (Ghiasi et al. 2018).

    Seeds are tossed with gamma = p / b^2 * H W / ((H - b + 1) (W - b + 1)) wherever a block of side b lies
    inside the map, each seed drops its block, and y = x * keep * Size(keep) / Sum(keep).

    Blocks overlap, so somewhat less than ``p`` is dropped on average, and less at the borders than inside:
    ``block_drop_rate`` says how much. Where peers differ: torchvision refuses even blocks, and its scale is
    0 in float16 once more than 65,504 elements are kept; timm tosses gamma over the whole map without
    correcting it, so it drops about twice what is asked of a small map.

    Args:
        x: Maps of shape (N, C, H, W).
        p: Share to be dropped, before overlaps.
        block_size: b in pixels, at least 1; cut to the shorter side of the map.
        share_c: One draw for all channels of a sample, otherwise one per channel as in the paper's best runs.
        training: Return ``x`` itself if False.

    Returns:
        Same shape and dtype as ``x``.

    Raises:
        ShapeError: ``x`` is not of shape (N, C, H, W) or has no float dtype.
        UsageError: ``p`` is no probability, or ``block_size`` no positive whole number.
    """
    check_input(x, 4, "(N, C, H, W)")
    if x.ndim != 4:
        raise ShapeError(f"x has shape {tuple(x.shape)}; expected (N, C, H, W)")
    p = checked_probability(p)
    _check_block(block_size)
    if not training:
        return x
    n, c, height, width = x.shape
    side = min(block_size, height, width)
    places = (n, 1 if share_c else c, height - side + 1, width - side + 1)
    seeds = torch.rand(places, dtype=torch.float32, device=x.device) < p * _gamma_per_p(height, width, side)
    return drop(x, ~_grown(seeds, side))


def block_drop_rate(p: float, height: int, width: int, block_size: int) -> float:
    """Return the exact expected share of a map that ``drop_block`` drops.

    mean over pixels of 1 - (1 - gamma)^(number of blocks that hold the pixel)

    Args:
        p: Share asked for.
        height: Rows of the map, at least 1.
        width: Columns of the map, at least 1.
        block_size: Side of a block in pixels, cut to the shorter side of the map.

    Raises:
        UsageError: An argument is out of range.

    Example:
        >>> round(block_drop_rate(0.1, 14, 14, 7), 4)
        0.0929
    """
    _check_block(block_size)
    if min(height, width) < 1:
        raise UsageError(f"the map is {height} x {width}; expected at least 1 x 1")
    side = min(block_size, height, width)
    gamma = checked_float(p) * _gamma_per_p(height, width, side)
    counts = [rows * columns for rows in _holders(height, side) for columns in _holders(width, side)]
    return math.fsum(1.0 - (1.0 - gamma) ** count for count in counts) / len(counts)


class DropBlock(Rated):
    """Module twin of ``drop_block``.

    Args:
        p: Share to be dropped, before overlaps.
        block_size: Side of a block in pixels, at least 1.
        share_c: One draw for all channels of a sample, otherwise one per channel.

    Raises:
        UsageError: ``p`` is no probability, or ``block_size`` no positive whole number.
    """

    def __init__(self, p: float, block_size: int, share_c: bool = False) -> None:
        _check_block(block_size)
        super().__init__(p)
        self.block_size = block_size
        self.share_c = share_c

    def forward(self, x: Tensor) -> Tensor:
        """Apply ``drop_block``."""
        return drop_block(x, self._rate, self.block_size, self.share_c, self.training)

    def extra_repr(self) -> str:
        """Return what stands between the brackets of the module's repr."""
        return f"{super().extra_repr()}, block_size={self.block_size}, share_c={self.share_c}"


def _gamma_per_p(height: int, width: int, side: int) -> float:
    return height * width / (side**2 * (height - side + 1) * (width - side + 1))


def _grown(seeds: Tensor, side: int) -> Tensor:
    """Return True within the block whose upper left corner a seed is."""
    padded = F.pad(seeds.to(torch.float32), [side - 1] * 4)
    rows = F.max_pool2d(padded, kernel_size=(side, 1), stride=1)
    return F.max_pool2d(rows, kernel_size=(1, side), stride=1).to(torch.bool)


def _holders(length: int, side: int) -> list[int]:
    """Return for each place along an axis how many blocks cover it."""
    return [min(place, length - side) - max(place - side + 1, 0) + 1 for place in range(length)]


def _check_block(block_size: object) -> None:
    if isinstance(block_size, bool) or not isinstance(block_size, int) or block_size < 1:
        raise UsageError(f"block_size is {block_size!r}; expected a whole number of at least 1")
