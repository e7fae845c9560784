"""The tiles of a conv pattern on a map, as tensors: which pixels they cover, for any placement.

However sheared and rotated, a pixel is covered iff its source row lies in a row of tiles and its source
column in a column of them. So two small tables, one per axis, stand for every mask of a pattern.

Shape suffixes: N samples, C channels, K placements along an axis, P pixels of a map in row-major order.
"""

from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor

from autodropout import geometry
from autodropout.geometry import Extent
from autodropout.pattern import ConvPattern
from autodropout.tracing import at_trace_time

_LARGEST_TABLE = 2**20  # bytes; beyond it the coverage of the placements drawn is computed each time
_NUM_TABLES = 256


@dataclass(frozen=True, slots=True)
class _Axis:
    """One axis (0 rows, 1 columns) of a pattern on a map: all that its coverage depends on."""

    which: int
    height: int
    width: int
    size: Extent
    stride: int
    repeat: int | str
    turned: tuple[float, float, float]


@dataclass(frozen=True, slots=True)
class _Coverage:
    """Coverage of every placement (K, P), or else of none; the pixels' sources (P); the first offset."""

    table: Tensor | None
    source: Tensor
    first: int


@at_trace_time
def placements(pattern: ConvPattern, height: int, width: int) -> tuple[int, int]:
    """Return how many placements of the tiles are drawn from along rows and along columns.

    Args:
        pattern: A pattern that is not off.
        height: Rows of the map, at least 1.
        width: Columns of the map, at least 1.
    """
    rows, columns = (_placements(_axis(pattern, (height, width), which)) for which in (0, 1))
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
    coverage = _coverage(pattern, size, which, index_NC.device)
    if coverage.table is not None:
        shape = (*index_NC.shape, coverage.table.shape[-1])
        return coverage.table.index_select(0, index_NC.flatten()).reshape(shape)
    offset_NC1 = (index_NC + coverage.first).unsqueeze(-1)
    return _covered(coverage.source - offset_NC1, _axis(pattern, size, which))


@at_trace_time
def _coverage(pattern: ConvPattern, size: tuple[int, int], which: int, device: torch.device) -> _Coverage:
    axis = _axis(pattern, size, which)
    # Under a fake tensor mode what is built is fake too, and must not stay behind in the cache.
    real = type(torch.empty(0, device=device)) is Tensor
    return (_built if real else _built.__wrapped__)(axis, device)


@lru_cache(maxsize=_NUM_TABLES)
def _built(axis: _Axis, device: torch.device) -> _Coverage:
    count, first = _placements(axis)
    sources = geometry.source_table(axis.height, axis.width, *axis.turned)[axis.which]
    with torch.inference_mode(False):
        source_P = torch.tensor(sources, device=device)
        if count * len(sources) > _LARGEST_TABLE:
            return _Coverage(None, source_P, first)
        offset_K1 = torch.arange(first, first + count, device=device).unsqueeze(-1)
        return _Coverage(_covered(source_P - offset_K1, axis), source_P, first)


def _covered(distance: Tensor, axis: _Axis) -> Tensor:
    """Do what ``geometry.is_covered`` does, for a tensor of distances."""
    if isinstance(axis.size, str):
        return torch.ones_like(distance, dtype=torch.bool)
    in_tile = distance % (axis.size + axis.stride) < axis.size
    if isinstance(axis.repeat, str):
        return in_tile
    extent = geometry.tiles_extent(axis.size, axis.stride, axis.repeat)
    return in_tile & (distance >= 0) & (distance < extent)


def _axis(pattern: ConvPattern, size: tuple[int, int], which: int) -> _Axis:
    side = (pattern.height, pattern.width)[which]
    turned = (pattern.rotate, pattern.shear_x, pattern.shear_y)
    return _Axis(which, *size, side, pattern.stride, pattern.repeat, turned)


@lru_cache(maxsize=_NUM_TABLES)
def _placements(axis: _Axis) -> tuple[int, int]:
    """Return the number of placements along the axis and the offset of the first."""
    smallest, largest = geometry.source_span(axis.height, axis.width, *axis.turned)[axis.which]
    tiles = (axis.size, axis.stride, axis.repeat)
    return geometry.num_offsets(largest - smallest + 1, *tiles), geometry.first_offset(smallest, *tiles)
