"""A token pattern dropped from a sequence at once, on the processor: see ``fused``.

Where the tokens of a block share their coins, every block is a row of a small table, and each token takes its
mask from the row of its block. Two more rows stand for the tokens of no block, of which all is kept, and for
those that take no part, which are left as they are.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from autodropout.mask import drawn_token_keep, drawn_tokens, drop, num_blocks, num_phases, token_keep_at
from autodropout.masked import Times, dropped_by, is_short, runs_eagerly_on_cpu, times_keep
from autodropout.noise import Noise
from autodropout.pattern import TokenPattern


def drop_tokens(
    h: Tensor, pattern: TokenPattern, noise: Noise, strength: float | Tensor | None, valid: Tensor | None
) -> Tensor:
    """Do what ``drop_drawn`` does for a token pattern.

    Args:
        h: (..., T, C), of a float dtype, with any strides.
        pattern: What to drop; not off.
        noise: Source of draws.
        strength: Factor on the rate; None is 1.
        valid: Bool with at least one axis, broadcastable to h; None is everywhere.

    Returns:
        Same shape, dtype and memory format as h.
    """
    if h.numel() == 0 or not runs_eagerly_on_cpu(h):
        return drop(h, drawn_token_keep(pattern, h.shape, noise, strength), valid)
    phase, coins = drawn_tokens(pattern, h.shape, noise, strength)
    t, c = h.shape[-2:]
    whole = isinstance(pattern.size, str) and pattern.share_t
    if whole and valid is None:
        kept = (~coins).sum() * t * (c // coins.shape[-1])
        return dropped_by(h, h.numel(), kept, times_keep, ~coins)
    in_rows = whole or (pattern.share_t and not pattern.share_c and num_phases(pattern) > 1)
    if in_rows and (valid is None or valid.shape[-1] == 1):
        return _drop_rows(h, pattern, phase, coins, valid)
    keep = token_keep_at(pattern, t, phase, coins)
    if valid is None:
        return dropped_by(h, keep.numel(), torch.count_nonzero(keep), times_keep, keep)
    both = keep & valid
    kept, size = torch.count_nonzero(both), _num_valid(valid, both.numel())
    return dropped_by(h, size, kept, _Within(times_keep) if is_short(h) else _times_keep_within, valid, keep)


def _drop_rows(
    h: Tensor, pattern: TokenPattern, phase: Tensor, coins: Tensor, valid: Tensor | None
) -> Tensor:
    row = _row_of_token(pattern, h.shape[-2], phase)
    coins = coins.flatten(0, -2)
    keep = torch.ones((len(coins) + 2, coins.shape[-1]), dtype=torch.uint8, device=coins.device)
    torch.bitwise_not(coins, out=keep[:-2].view(torch.bool))
    # Sums of bytes are five times as fast as sums of bools.
    kept_of_row = keep.sum(-1, dtype=torch.int32)
    size = row.numel() * keep.shape[-1]
    if valid is not None:
        row = torch.where(valid.squeeze(-1), row, len(coins) + 1)
        kept_of_row[-1] = 0
        size = _num_valid(valid, size)
    kept = kept_of_row.index_select(0, row.flatten()).sum()
    if valid is not None and is_short(h):
        return dropped_by(h, size, kept, _Within(_times_rows), valid, keep, row)
    return dropped_by(h, size, kept, _times_rows, keep, row)


def _num_valid(valid: Tensor, size: int) -> int:
    """Return how many elements take part, where ``valid`` is expanded to so many."""
    return int(torch.count_nonzero(valid)) * (size // valid.numel())


def _row_of_token(pattern: TokenPattern, t: int, phase: Tensor) -> Tensor:
    """Return for each token the row of coins that it takes, counting over the batch; one more is none."""
    period, blocks = num_phases(pattern), num_blocks(pattern, t)
    first = torch.arange(phase.numel(), device=phase.device).reshape(phase.shape).unsqueeze(-1) * blocks
    if isinstance(pattern.size, str):
        return first.expand(*phase.shape, t)
    place = torch.arange(t, device=phase.device) + phase.unsqueeze(-1)
    return torch.where(place % period < pattern.size, first + place // period, phase.numel() * blocks)


@dataclass(frozen=True, slots=True)
class _Within:
    """Leaves what takes no part as it is."""

    times: Times

    def __call__(self, h: Tensor, factor: float, valid: Tensor, *drawn: Tensor) -> Tensor:
        y = self.times(h, factor, *drawn)
        return torch.where(valid, y, h, out=y)


def _times_rows(h: Tensor, factor: float, keep: Tensor, row: Tensor) -> Tensor:
    """Take each token's mask from the row of its block; the last row is that of what takes no part."""
    mask = keep.to(h.dtype)
    if not is_short(h):
        mask.mul_(factor)
        mask[-1] = 1.0
    y = torch.empty_like(h)
    order = sorted(range(row.ndim), key=y.stride, reverse=True)  # as the tokens lie in memory
    rows = y.permute(*order, -1)
    if mask.shape[-1] == 1 or not rows.is_contiguous():
        # Channels share a mask, or are not innermost: what attention's gradients look like.
        mask = mask.index_select(0, row.flatten()).reshape(*row.shape, -1)
    else:
        torch.index_select(mask, 0, row.permute(order).flatten(), out=rows.view(-1, h.shape[-1]))
        mask = y
    if is_short(h):
        return torch.addcmul(h.new_zeros(()), h, mask, value=factor, out=y)
    return torch.mul(h, mask, out=y)


def _times_keep_within(h: Tensor, factor: float, valid: Tensor, keep: Tensor) -> Tensor:
    factors = h.new_ones(valid.shape).masked_fill_(valid, factor)
    keep = keep | ~valid
    if keep.shape == h.shape:
        return torch.empty_like(h).copy_(keep.view(torch.uint8)).mul_(h).mul_(factors)
    return torch.mul(h, keep * factors, out=torch.empty_like(h))
