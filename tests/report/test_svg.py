import re
import xml.etree.ElementTree as ET

import numpy as np
import pytest

from autodropout.report import svg

FRAME = svg.frame((400.0, 200.0), (0.0, 10.0), (1.0, 2.0), ("trials", "reward"))


def parsed(markup):
    return ET.fromstring(markup)


def painted(path, shape):
    """Which squares a mask's path fills."""
    filled = np.zeros(shape, dtype=bool)
    for x, y, width in re.findall(r"M(\d+) (\d+)h(\d+)v1h-\3Z", path):
        assert not filled[int(y), int(x) : int(x) + int(width)].any()
        filled[int(y), int(x) : int(x) + int(width)] = True
    return filled


@pytest.mark.parametrize("shape", [(1, 1), (3, 7), (8, 32)])
def test_a_mask_fills_exactly_what_is_dropped(shape):
    keep = np.random.default_rng(0).random(shape) < 0.6
    picture = parsed(svg.mask(keep, "a mask"))
    paths = {path.get("class"): path.get("d") for path in picture.iter("path")}
    assert (painted(paths["dropped"], shape) == ~keep).all()
    assert picture.get("viewBox") == f"0 0 {shape[1]} {shape[0]}"
    assert picture.get("aria-label") == "a mask"


def test_large_masks_have_no_grid():
    assert "grid" in svg.mask(np.ones((40, 40), dtype=bool), "")
    assert "grid" not in svg.mask(np.ones((41, 8), dtype=bool), "")


@pytest.mark.parametrize(
    ("low", "high", "most", "labels"),
    [
        (0.0, 1.0, 5, ["0.0", "0.2", "0.4", "0.6", "0.8", "1.0"]),
        (0.941, 0.972, 4, ["0.95", "0.96", "0.97"]),
        (-3.0, 12.0, 3, ["0", "5", "10"]),
        (0.0, 16384.0, 4, ["0", "5,000", "10,000", "15,000"]),
        (1e-9, 2e-9, 2, ["1e-09", "1.5e-09", "2e-09"]),
    ],
)
def test_ticks_are_round(low, high, most, labels):
    assert [label for _, label in svg.ticks(low, high, most)] == labels


def test_ticks_of_counts_are_whole():
    assert [label for _, label in svg.ticks(1.0, 3.0, 8, whole=True)] == ["1", "2", "3"]


def test_values_land_within_the_frame():
    assert FRAME.x(0.0) == FRAME.x.start > 0.0
    assert FRAME.x(10.0) == FRAME.x.end < 400.0
    assert FRAME.y(1.0) > FRAME.y(2.0) > 0.0


def test_an_axis_of_one_value_has_some_width():
    for value in (0.0, 3.0, -3.0):
        low, high = svg.spread((value, value))
        assert low < value < high


def test_a_picture_is_one_labelled_image():
    picture = parsed(svg.picture(FRAME, "a < b", svg.line(FRAME, [(0.0, 1.0), (1.0, 2.0)], "best")))
    assert picture.get("role") == "img"
    assert picture.get("aria-label") == "a < b"
    assert [text.text for text in picture.iter("text")][-2:] == ["10", "trials"]


def test_steps_keep_a_value_until_the_next():
    path = parsed(svg.steps(FRAME, [(0.0, 1.0), (5.0, 2.0)], 10.0, "best")).get("d")
    x, y = FRAME.x, FRAME.y
    corners = [(x(0.0), y(1.0)), (x(5.0), y(1.0)), (x(5.0), y(2.0)), (x(10.0), y(2.0))]
    read = [tuple(map(float, corner.split())) for corner in path[1:].split("L")]
    assert read == [pytest.approx(corner, abs=0.01) for corner in corners]


def test_a_band_is_cut_off_at_the_frame():
    path = parsed(svg.band(FRAME, [(0.0, -5.0, 9.0), (10.0, 1.2, 1.5)], "mean")).get("d")
    ys = [float(corner.split()[1]) for corner in path[1:-1].split("L")]
    assert min(ys) >= FRAME.y.end - 0.01
    assert max(ys) <= FRAME.y.start + 0.01


def test_a_point_below_the_frame_is_a_mark_at_its_edge():
    marks = svg.dots(FRAME, [(1.0, 1.5), (2.0, -9.0)], ["in", "out"], "")
    inside, outside = parsed(f"<g>{marks}</g>")
    assert (inside.tag, outside.tag) == ("circle", "path")
    assert outside.get("data-tip") == "out"


def test_many_points_become_one_path():
    points = [(float(i % 10), 1.5) for i in range(svg.MOST_TIPS + 1)]
    path = parsed(svg.dots(FRAME, points, [""] * len(points), ""))
    assert path.get("d").count("M") == len(points)
