import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensor, FakeTensorMode

from autodropout import geometry, tiling
from autodropout.mask import conv_keep
from autodropout.pattern import ConvPattern
from autodropout.tables import Tables
from autodropout.tiling import in_tiles, placements, plane

PATTERNS = [
    ConvPattern(height=2, width=3, stride=2, repeat=3, rotate=30.0),
    ConvPattern(height=2, width=1, stride=1, repeat="fill", shear_x=0.4),
    ConvPattern(height="whole", width=4, rotate=75.0),
]


@pytest.mark.parametrize("which", [0, 1])
@pytest.mark.parametrize("pattern", PATTERNS)
def test_coverage_is_that_of_the_geometry(pattern, which):
    size, side = (6, 5), (pattern.height, pattern.width)[which]
    turned = (pattern.rotate, pattern.shear_x, pattern.shear_y)
    tiles = (side, pattern.stride, pattern.repeat)
    first = geometry.first_offset(geometry.source_span(*size, *turned)[which][0], *tiles)
    index = torch.arange(placements(pattern, *size)[which])
    expected = [
        [
            geometry.is_covered(s - first - number, *tiles)
            for s in geometry.source_table(*size, *turned)[which]
        ]
        for number in index.tolist()
    ]
    assert in_tiles(pattern, size, which, index).tolist() == expected


@pytest.fixture
def tables(monkeypatch):
    fresh = Tables()
    monkeypatch.setattr(tiling, "SHARED", fresh)
    return fresh


@pytest.mark.parametrize("which", [0, 1])
@pytest.mark.parametrize("pattern", PATTERNS)
def test_patterns_too_large_for_a_table_are_covered_alike(pattern, which, tables):
    index = torch.arange(placements(pattern, 6, 5)[which]).unsqueeze(1)
    from_table = in_tiles(pattern, (6, 5), which, index)
    tables.clear()
    tables.largest = 0
    assert torch.equal(in_tiles(pattern, (6, 5), which, index), from_table)
    assert tables.num_bytes == 0


@pytest.mark.parametrize("largest", [0, 2**20])
def test_coverage_compiles(tables, largest):
    tables.largest = largest
    pattern, index = PATTERNS[0], torch.arange(5).unsqueeze(1)
    compiled = torch.compile(
        lambda index: in_tiles(pattern, (6, 5), 0, index), fullgraph=True, backend="aot_eager"
    )
    assert torch.equal(compiled(index), in_tiles(pattern, (6, 5), 0, index))


def test_the_last_row_of_a_plane_covers_nothing():
    for which in (0, 1):
        covered = plane(PATTERNS[1], (6, 5), which, torch.device("cpu"))
        assert len(covered) == placements(PATTERNS[1], 6, 5)[which] + 1
        assert not covered[-1].any()
        assert covered[0].any()


def test_a_table_is_built_once_for_patterns_that_differ_in_rate_and_sharing_only(tables):
    for rate, share_c in ((1.0, True), (0.5, False)):
        conv_keep(ConvPattern(height=2, width=2, rate=rate, share_c=share_c), (2, 3, 5, 7))
    assert tables.num_built == 2  # one for rows, one for columns


def test_tables_built_under_a_fake_mode_do_not_stay(tables):
    pattern = PATTERNS[0]
    with FakeTensorMode():
        assert isinstance(conv_keep(pattern, (2, 3, 5, 7)), FakeTensor)
    assert tables.num_bytes == 0
    assert type(conv_keep(pattern, (2, 3, 5, 7))) is torch.Tensor


def test_tables_built_in_inference_mode_serve_training(tables):
    with torch.inference_mode():
        conv_keep(PATTERNS[0], (2, 3, 5, 7))
    assert tables.num_built == 2
    assert not plane(PATTERNS[0], (5, 7), 0, torch.device("cpu")).is_inference()
    assert not in_tiles(PATTERNS[0], (5, 7), 0, torch.arange(2)).is_inference()
