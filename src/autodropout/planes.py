"""All masks of a conv pattern on a map, by number: as two planes, or as a bank of ready rows.

Mask number i has its tiles at row placement i // columns and column placement i % columns; number
rows * columns keeps everything.

Shape suffixes: N samples, C channels, K placements along an axis, P = H * W pixels.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from autodropout.pattern import ConvPattern
from autodropout.tables import SHARED
from autodropout.tiling import axis_of, placements, plane
from autodropout.tracing import at_trace_time


@dataclass(frozen=True, slots=True)
class Planes:
    """A pixel is dropped iff its row plane and its column plane say 1.

    Attributes:
        row_planes: uint8, shape (rows + 1, H * W); the last row is 0.
        column_planes: uint8, shape (columns + 1, H * W); the last row is 0.
        kept: int64, shape (rows * columns + 1): how many pixels each mask keeps.
        rows: Placements along rows.
        columns: Placements along columns.
        size: (H, W).
    """

    row_planes: Tensor
    column_planes: Tensor
    kept: Tensor
    rows: int
    columns: int
    size: tuple[int, int]

    def dropped(self, index_NC: Tensor) -> Tensor:
        """Return the masks of these numbers, uint8, 1 = dropped, shape (N, C, H, W)."""
        index = index_NC.flatten()
        row = self.row_planes.index_select(0, index // self.columns)
        column = self.column_planes.index_select(0, index % self.columns)
        return (row & column).reshape(*index_NC.shape, *self.size)


@at_trace_time
def planes(pattern: ConvPattern, size: tuple[int, int], device: torch.device) -> Planes | None:
    """Return the planes of a pattern; None if there is no room for them.

    Args:
        pattern: A pattern that is not off.
        size: (H, W), both at least 1.
        device: Where the tables are wanted.
    """
    rows, columns = placements(pattern, *size)
    row_KP, column_KP = (plane(pattern, size, which, device) for which in (0, 1))
    if row_KP is None or column_KP is None:
        return None
    key = "kept", axis_of(pattern, size, 0), axis_of(pattern, size, 1), device
    kept = SHARED.get(key, 8 * (rows * columns + 1), lambda: _kept(row_KP, column_KP))
    return None if kept is None else Planes(row_KP, column_KP, kept, rows, columns, size)


def bank(
    pattern: ConvPattern, size: tuple[int, int], device: torch.device, dtype: torch.dtype
) -> Tensor | None:
    """Return every mask of a pattern, 1 = kept, shape (rows * columns + 1, H * W); None if too large.

    Args:
        pattern: A pattern that is not off, and whose planes there is room for.
        size: (H, W), both at least 1.
        device: Where the table is wanted.
        dtype: Of the ones and zeros.
    """
    rows, columns = placements(pattern, *size)
    num_bytes = (rows * columns + 1) * size[0] * size[1] * dtype.itemsize
    key = "bank", axis_of(pattern, size, 0), axis_of(pattern, size, 1), device, dtype
    return SHARED.get(key, num_bytes, lambda: _bank(pattern, size, device, dtype))


def _kept(row_KP: Tensor, column_KP: Tensor) -> Tensor:
    """Return H W - A B^T, flat, and H W; exact in float32, as no table has so many as 2^24 pixels."""
    num_pixels = row_KP.shape[1]
    dropped = (row_KP[:-1].float() @ column_KP[:-1].float().t()).flatten().to(torch.int64)
    return torch.cat([num_pixels - dropped, torch.full_like(dropped[:1], num_pixels)])


def _bank(pattern: ConvPattern, size: tuple[int, int], device: torch.device, dtype: torch.dtype) -> Tensor:
    table = planes(pattern, size, device)
    if table is None:
        raise AssertionError("a bank is asked for only where there are planes")
    row_KP, column_KP = table.row_planes[:-1], table.column_planes[:-1]
    keep = ((row_KP[:, None] & column_KP[None]) == 0).flatten(0, 1)
    return torch.cat([keep, torch.ones_like(keep[:1])]).to(dtype)
