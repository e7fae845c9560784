"""The tiles of a conv pattern on a map, as tensors: which pixels they cover, for any placement.

However sheared and rotated, a pixel is covered iff its source row lies in a row of tiles and its source
column in a column of them. So two small tables, one per axis, stand for every mask of a pattern.

Shape suffixes: N samples, C channels, K placements along an axis, P pixels of a map in row-major order.
"""

from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor
from torch.nn import functional as F

from autodropout import geometry
from autodropout.geometry import Extent
from autodropout.pattern import ConvPattern
from autodropout.tables import SHARED
from autodropout.tracing import at_trace_time

_NUM_AXES = 1024


@dataclass(frozen=True, slots=True)
class Axis:
    """One axis (0 rows, 1 columns) of a pattern on a map: all that its coverage depends on."""

    which: int
    height: int
    width: int
    size: Extent
    stride: int
    repeat: int | str
    turned: tuple[float, float, float]


@dataclass(frozen=True, slots=True)
class _Sources:
    """Every pixel's source along an axis, int64 (P), and the offset of its first placement."""

    table: Tensor
    first: int
    axis: Axis


@at_trace_time
def placements(pattern: ConvPattern, height: int, width: int) -> tuple[int, int]:
    """Return how many placements of the tiles are drawn from along rows and along columns.

    Args:
        pattern: A pattern that is not off.
        height: Rows of the map, at least 1.
        width: Columns of the map, at least 1.
    """
    rows, columns = (_placements(axis_of(pattern, (height, width), which)) for which in (0, 1))
    return rows[0], columns[0]


def in_tiles(pattern: ConvPattern, size: tuple[int, int], which: int, index_NC: Tensor) -> Tensor:
    """Say which pixels' sources lie in a row of tiles, or in a column of them.

    Args:
        pattern: A pattern that is not off.
        size: (H, W), both at least 1.
        which: 0 for rows, 1 for columns.
        index_NC: int64, number of the placement; number 0 lies at ``geometry.first_offset``.

    Returns:
        Bool, shape (N, C, H * W).
    """
    plane_KP = plane(pattern, size, which, index_NC.device)
    if plane_KP is not None:
        return F.embedding(index_NC, plane_KP) != 0  # a table's rows by number, of any dtype
    sources = _sources(pattern, size, which, index_NC.device)
    return _covered(sources.table - (index_NC + sources.first).unsqueeze(-1), sources.axis)


def in_both(pattern: ConvPattern, size: tuple[int, int], row_NC: Tensor, column_NC: Tensor) -> Tensor:
    """Say which pixels' sources lie in a row and in a column of tiles: those that are dropped.

    Both tables come from one call, because PyTorch 2.14 takes two constants of one function for the same.

    Args:
        pattern: A pattern that is not off.
        size: (H, W), both at least 1.
        row_NC: int64, number of the placement along rows.
        column_NC: The same along columns.

    Returns:
        Bool, shape (N, C, H * W).
    """
    tables = _both_planes(pattern, size, row_NC.device)
    if tables is None:
        return in_tiles(pattern, size, 0, row_NC) & in_tiles(pattern, size, 1, column_NC)
    row_KP, column_KP = tables
    return (F.embedding(row_NC, row_KP) & F.embedding(column_NC, column_KP)) != 0


@at_trace_time
def _both_planes(
    pattern: ConvPattern, size: tuple[int, int], device: torch.device
) -> tuple[Tensor, Tensor] | None:
    row_KP, column_KP = (plane(pattern, size, which, device) for which in (0, 1))
    return None if row_KP is None or column_KP is None else (row_KP, column_KP)


@at_trace_time
def plane(pattern: ConvPattern, size: tuple[int, int], which: int, device: torch.device) -> Tensor | None:
    """Return which pixels' sources every placement along an axis covers.

    Args:
        pattern: A pattern that is not off.
        size: (H, W), both at least 1.
        which: 0 for rows, 1 for columns.
        device: Where the table is wanted.

    Returns:
        uint8, 1 = covered, shape (K + 1, H * W): row k for placement k, the last for no tiles at all. None
        if there is no room for it.
    """
    axis = axis_of(pattern, size, which)
    num_bytes = (_placements(axis)[0] + 1) * axis.height * axis.width
    return SHARED.get(("plane", axis, device), num_bytes, lambda: _plane(axis, device))


@at_trace_time
def _sources(pattern: ConvPattern, size: tuple[int, int], which: int, device: torch.device) -> "_Sources":
    axis = axis_of(pattern, size, which)
    return _Sources(_source_table(axis, device), _placements(axis)[1], axis)


def _plane(axis: Axis, device: torch.device) -> Tensor:
    count, first = _placements(axis)
    offset_K1 = torch.arange(first, first + count, device=device).unsqueeze(-1)
    covered_KP = _covered(_source_table(axis, device) - offset_K1, axis)
    return torch.cat([covered_KP, torch.zeros_like(covered_KP[:1])]).to(torch.uint8)


def _source_table(axis: Axis, device: torch.device) -> Tensor:
    sources = geometry.source_table(axis.height, axis.width, *axis.turned)[axis.which]
    return torch.tensor(sources, device=device)


def _covered(distance: Tensor, axis: Axis) -> Tensor:
    """Do what ``geometry.is_covered`` does, for a tensor of distances."""
    if isinstance(axis.size, str):
        return torch.ones_like(distance, dtype=torch.bool)
    in_tile = distance % (axis.size + axis.stride) < axis.size
    if isinstance(axis.repeat, str):
        return in_tile
    extent = geometry.tiles_extent(axis.size, axis.stride, axis.repeat)
    return in_tile & (distance >= 0) & (distance < extent)


@lru_cache(maxsize=_NUM_AXES)  # also makes equal keys one object, which is found faster
def axis_of(pattern: ConvPattern, size: tuple[int, int], which: int) -> Axis:
    """Return one axis of a pattern on a map of size (H, W)."""
    side = (pattern.height, pattern.width)[which]
    turned = (pattern.rotate, pattern.shear_x, pattern.shear_y)
    return Axis(which, *size, side, pattern.stride, pattern.repeat, turned)


@lru_cache(maxsize=_NUM_AXES)
def _placements(axis: Axis) -> tuple[int, int]:
    """Return the number of placements along the axis and the offset of the first."""
    smallest, largest = geometry.source_span(axis.height, axis.width, *axis.turned)[axis.which]
    tiles = (axis.size, axis.stride, axis.repeat)
    return geometry.num_offsets(largest - smallest + 1, *tiles), geometry.first_offset(smallest, *tiles)
