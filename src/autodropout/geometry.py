"""Where a pixel comes from, and how often it is dropped: the one table behind masks and rates.

A conv pattern is drawn on an upright grid and then sheared and rotated about the map's centre.
Masks and drop rates ask the inverse question, "which upright cell does this pixel show?", here.
"""

import math
from functools import lru_cache

Extent = int | str
"""Side of a tile: pixels, or ``"whole"`` for the whole axis."""

_DIGITS = 9  # coordinates are rounded to this before flooring, so that ties do not hang on the last bit


@lru_cache(maxsize=256)
def source_table(
    height: int, width: int, rotate: float, shear_x: float, shear_y: float
) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Return each pixel's rounded source row and source column.

    source = A^-1 (pixel - centre) + centre, A = Rotate(rotate) Shear_y Shear_x, rounded as
    floor(v + 1/2). Shears and rotation act about ((height-1)/2, (width-1)/2); a positive angle
    turns the pattern counter-clockwise as the picture is seen.

    Args:
        height: Rows of the map, at least 1.
        width: Columns of the map, at least 1.
        rotate: Degrees.
        shear_x: Columns moved per row.
        shear_y: Rows moved per column.

    Returns:
        Two tuples of height * width integers in row-major order: source rows, source columns.
    """
    centre = (height - 1) / 2, (width - 1) / 2
    pixels = [(y, x) for y in range(height) for x in range(width)]
    sources = [_source(y, x, centre, rotate, shear_x, shear_y) for y, x in pixels]
    return tuple(row for row, _ in sources), tuple(column for _, column in sources)


def source_span(
    height: int, width: int, rotate: float, shear_x: float, shear_y: float
) -> tuple[tuple[int, int], tuple[int, int]]:
    """Return (smallest, largest) source row and (smallest, largest) source column.

    The map is affine and rounding is monotone, so the four corners decide.
    """
    centre = (height - 1) / 2, (width - 1) / 2
    corners = [(y, x) for y in (0, height - 1) for x in (0, width - 1)]
    sources = [_source(y, x, centre, rotate, shear_x, shear_y) for y, x in corners]
    rows, columns = [row for row, _ in sources], [column for _, column in sources]
    return (min(rows), max(rows)), (min(columns), max(columns))


def tiles_extent(size: int, stride: int, repeat: int) -> int:
    """Return E = repeat * size + (repeat - 1) * stride, the length of a row of tiles."""
    return repeat * size + (repeat - 1) * stride


def num_offsets(span: int, size: Extent, stride: int, repeat: int | str) -> int:
    """Return how many offsets are drawn from along an axis.

    All placements whose extent touches the box (span + E - 1), one period for ``"fill"``,
    one for ``"whole"``.

    Args:
        span: R, the number of source coordinates along the axis.
        size: Tile side in pixels, or ``"whole"``.
        stride: Kept pixels between tiles.
        repeat: Tiles along the axis, or ``"fill"``.
    """
    if isinstance(size, str):
        return 1
    if isinstance(repeat, str):
        return size + stride
    return span + tiles_extent(size, stride, repeat) - 1


def covered_offsets(size: Extent, repeat: int | str) -> int:
    """Return how many of those offsets put a tile over any one given pixel."""
    if isinstance(size, str):
        return 1
    return size if isinstance(repeat, str) else repeat * size


def is_covered(distance: int, size: Extent, stride: int, repeat: int | str) -> bool:
    """Say whether a source coordinate, ``distance`` past the offset, lies in a tile."""
    if isinstance(size, str):
        return True
    if isinstance(repeat, str):
        return distance % (size + stride) < size
    return 0 <= distance < tiles_extent(size, stride, repeat) and distance % (size + stride) < size


def first_offset(smallest: int, size: Extent, stride: int, repeat: int | str) -> int:
    """Return the lowest offset drawn; the others follow it without a gap.

    Args:
        smallest: The axis's smallest source coordinate.
        size: Tile side in pixels, or ``"whole"``.
        stride: Kept pixels between tiles.
        repeat: Tiles along the axis, or ``"fill"``.
    """
    if isinstance(size, str) or isinstance(repeat, str):
        return 0
    return smallest - tiles_extent(size, stride, repeat) + 1


def _source(
    y: int, x: int, centre: tuple[float, float], rotate: float, shear_x: float, shear_y: float
) -> tuple[int, int]:
    cosine, sine = _cos_sin(rotate)
    centre_y, centre_x = centre
    down, right = y - centre_y, x - centre_x
    right, down = cosine * right - sine * down, sine * right + cosine * down  # undo the rotation
    down -= shear_y * right
    right -= shear_x * down
    return _round(down + centre_y), _round(right + centre_x)


def _round(value: float) -> int:
    return math.floor(round(value, _DIGITS) + 0.5)


def _cos_sin(degrees: float) -> tuple[float, float]:
    quarter, rest = divmod(degrees % 360.0, 90.0)
    cosine, sine = math.cos(math.radians(rest)), math.sin(math.radians(rest))
    match int(quarter) % 4:
        case 0:
            return cosine, sine
        case 1:
            return -sine, cosine
        case 2:
            return -cosine, -sine
        case _:
            return sine, -cosine
