import pytest
import torch

from autodropout import planes as planes_of
from autodropout import tiling
from autodropout.mask import conv_keep_at
from autodropout.pattern import ConvPattern
from autodropout.planes import bank, planes
from autodropout.tables import Tables
from autodropout.tiling import placements

CPU = torch.device("cpu")
PATTERNS = [
    ConvPattern(height=2, width=2),
    ConvPattern(height=2, width=3, stride=2, repeat=3, rotate=30.0),
    ConvPattern(height=2, width=2, stride=1, repeat="fill", shear_x=0.4, shear_y=-0.2),
    ConvPattern(height="whole", width=2, stride=1, repeat=2, rotate=75.0, shear_x=-0.4),
    ConvPattern(height="whole", width="whole", rate=0.5),
]


@pytest.fixture
def tables(monkeypatch):
    fresh = Tables()
    for module in (tiling, planes_of):
        monkeypatch.setattr(module, "SHARED", fresh)
    return fresh


@pytest.mark.parametrize("size", [(5, 5), (4, 7), (1, 1)])
@pytest.mark.parametrize("pattern", PATTERNS)
def test_every_number_stands_for_the_mask_of_its_placement(pattern, size):
    rows, columns = placements(pattern, *size)
    row, column = torch.cartesian_prod(torch.arange(rows), torch.arange(columns)).unsqueeze(1).unbind(-1)
    expected = conv_keep_at(pattern, size, row, column)
    table, number = planes(pattern, size, CPU), torch.arange(rows * columns).unsqueeze(1)
    assert torch.equal(table.dropped(number) == 0, expected)
    assert table.kept[:-1].tolist() == expected.sum((1, 2, 3)).tolist()
    ready = bank(pattern, size, CPU, torch.float32)
    assert torch.equal(ready[:-1], expected.flatten(1).float())
    for everything in (table.dropped(torch.tensor([[rows * columns]])) == 0, ready[-1]):
        assert everything.all()
    assert table.kept[-1] == size[0] * size[1]


def test_equal_layers_share_tables_and_other_dtypes_have_a_bank_of_their_own(tables):
    pattern = PATTERNS[1]
    for _ in range(2):
        assert bank(pattern, (5, 5), CPU, torch.float32) is bank(pattern, (5, 5), CPU, torch.float32)
    assert tables.num_built == 4  # two planes, kept counts, the bank
    assert bank(pattern, (5, 5), CPU, torch.float16).dtype == torch.float16
    assert tables.num_built == 5


def test_without_room_there_is_none(tables):
    tables.largest = 5000
    assert planes(PATTERNS[1], (5, 5), CPU) is not None
    assert bank(PATTERNS[1], (5, 5), CPU, torch.float64) is None
    assert planes(PATTERNS[1], (40, 40), CPU) is None
    tables.clear()
    tables.largest = 8 * 5 * 5
    assert planes(PATTERNS[4], (5, 5), CPU) is not None
    assert planes(PATTERNS[0], (5, 5), CPU) is None  # too many kept counts
