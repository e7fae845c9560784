import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from autodropout import geometry

SIZES = st.integers(1, 12)
ANGLES = st.sampled_from([0.0, 15.0, 30.0, 45.0, 60.0, 75.0, 90.0, 135.0, 180.0, 270.0, -30.0, 17.3])
SHEARS = st.sampled_from([-0.4, -0.2, 0.0, 0.2, 0.4, 1.0])


def oracle(height, width, rotate, shear_x, shear_y):
    """Solve A source = pixel with numpy's linear algebra, A written forwards, (x, y) with y down."""
    angle = math.radians(rotate)
    turn = np.array([[math.cos(angle), math.sin(angle)], [-math.sin(angle), math.cos(angle)]])
    matrix = turn @ np.array([[1.0, 0.0], [shear_y, 1.0]]) @ np.array([[1.0, shear_x], [0.0, 1.0]])
    centre = np.array([(width - 1) / 2, (height - 1) / 2])
    rows, columns = [], []
    for y in range(height):
        for x in range(width):
            source = np.linalg.solve(matrix, np.array([x, y]) - centre) + centre
            columns.append(math.floor(round(source[0], 9) + 0.5))
            rows.append(math.floor(round(source[1], 9) + 0.5))
    return tuple(rows), tuple(columns)


@given(SIZES, SIZES, ANGLES, SHEARS, SHEARS)
def test_source_table_inverts_the_transformation(height, width, rotate, shear_x, shear_y):
    table = geometry.source_table(height, width, rotate, shear_x, shear_y)
    assert table == oracle(height, width, rotate, shear_x, shear_y)


@given(SIZES, SIZES, ANGLES, SHEARS, SHEARS)
def test_source_span_is_the_range_of_the_table(height, width, rotate, shear_x, shear_y):
    rows, columns = geometry.source_table(height, width, rotate, shear_x, shear_y)
    spans = geometry.source_span(height, width, rotate, shear_x, shear_y)
    assert spans == ((min(rows), max(rows)), (min(columns), max(columns)))


@given(SIZES, SIZES)
def test_without_transformation_every_pixel_is_its_own_source(height, width):
    rows, columns = geometry.source_table(height, width, 0.0, 0.0, 0.0)
    pixels = [(y, x) for y in range(height) for x in range(width)]
    assert list(zip(rows, columns, strict=True)) == pixels


@given(SIZES, SIZES, ANGLES, SHEARS, SHEARS)
def test_a_full_turn_changes_nothing(height, width, rotate, shear_x, shear_y):
    tables = [
        geometry.source_table(height, width, rotate + turns, shear_x, shear_y)
        for turns in (0.0, 360.0, -720.0)
    ]
    assert tables[0] == tables[1] == tables[2]


@pytest.mark.parametrize("quarters", [0, 1, 2, 3])
@pytest.mark.parametrize("side", [1, 2, 3, 4, 7])
def test_quarter_turns_of_a_square_are_exact_and_counter_clockwise(side, quarters):
    picture = np.arange(side * side).reshape(side, side)
    rows, columns = geometry.source_table(side, side, 90.0 * quarters, 0.0, 0.0)
    turned = picture[list(rows), list(columns)].reshape(side, side)
    assert (turned == np.rot90(picture, quarters)).all()


@pytest.mark.parametrize(("height", "width"), [(2, 4), (3, 5), (1, 5), (4, 2)])
def test_a_half_turn_of_any_map_is_exact(height, width):
    picture = np.arange(height * width).reshape(height, width)
    rows, columns = geometry.source_table(height, width, 180.0, 0.0, 0.0)
    assert (picture[list(rows), list(columns)].reshape(height, width) == picture[::-1, ::-1]).all()


def test_a_quarter_turn_of_a_3_by_5_map_swaps_the_spans():
    assert geometry.source_span(3, 5, 90.0, 0.0, 0.0) == ((-1, 3), (1, 3))


def test_halves_are_rounded_up_like_everything_else():
    # On a 2 x 3 map a quarter turn sends the centre row to a half: floor(v + 1/2) takes the upper one.
    rows, columns = geometry.source_table(2, 3, 90.0, 0.0, 0.0)
    assert rows == (0, 1, 2, 0, 1, 2)
    assert columns == (2, 2, 2, 1, 1, 1)


def test_shears_move_columns_per_row_and_rows_per_column():
    rows, columns = geometry.source_table(3, 3, 0.0, 1.0, 0.0)
    assert rows == (0, 0, 0, 1, 1, 1, 2, 2, 2)
    assert columns == (1, 2, 3, 0, 1, 2, -1, 0, 1)
    rows, columns = geometry.source_table(3, 3, 0.0, 0.0, 1.0)
    assert rows == (1, 0, -1, 2, 1, 0, 3, 2, 1)
    assert columns == (0, 1, 2, 0, 1, 2, 0, 1, 2)


AXES = st.tuples(
    st.one_of(st.just("whole"), st.integers(1, 7)),
    st.integers(0, 5),
    st.one_of(st.just("fill"), st.integers(1, 4)),
)


@given(AXES, st.integers(-9, 9), st.integers(1, 20))
def test_every_coordinate_is_covered_by_equally_many_offsets(axis, smallest, span):
    size, stride, repeat = axis
    first = geometry.first_offset(smallest, size, stride, repeat)
    offsets = range(first, first + geometry.num_offsets(span, size, stride, repeat))
    for coordinate in range(smallest, smallest + span):
        covered = sum(geometry.is_covered(coordinate - o, size, stride, repeat) for o in offsets)
        assert covered == geometry.covered_offsets(size, repeat)


@given(st.integers(1, 7), st.integers(0, 5), st.integers(1, 4), st.integers(-9, 9), st.integers(1, 20))
def test_offsets_are_all_placements_that_touch_the_map(size, stride, repeat, smallest, span):
    extent = geometry.tiles_extent(size, stride, repeat)
    box = set(range(smallest, smallest + span))
    touching = [o for o in range(smallest - 99, smallest + 99) if box & set(range(o, o + extent))]
    first = geometry.first_offset(smallest, size, stride, repeat)
    assert touching == list(range(first, first + geometry.num_offsets(span, size, stride, repeat)))


def test_tiles_lie_where_the_definition_puts_them():
    tiled = [geometry.is_covered(d, 2, 1, 3) for d in range(-1, 10)]
    assert tiled == [False, True, True, False, True, True, False, True, True, False, False]
    assert geometry.tiles_extent(2, 1, 3) == 8
    filled = [geometry.is_covered(d, 2, 1, "fill") for d in range(-3, 4)]
    assert filled == [True, True, False, True, True, False, True]
    share = Fraction(geometry.covered_offsets(2, "fill"), geometry.num_offsets(99, 2, 1, "fill"))
    assert share == Fraction(2, 3)
