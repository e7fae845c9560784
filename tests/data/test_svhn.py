import re
from types import SimpleNamespace

import numpy as np
import pytest

from autodropout.data import svhn
from autodropout.data.svhn import Svhn
from autodropout.errors import DataError

torchvision = pytest.importorskip("torchvision", reason="SVHN is read by torchvision")


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "svhn").mkdir()
    for name in ("train_32x32.mat", "test_32x32.mat"):
        (tmp_path / "svhn" / name).write_bytes(b"half a download")
    yield tmp_path
    svhn._load.cache_clear()


def test_what_torchvision_reads_is_split(folder, monkeypatch):
    pixels = np.random.RandomState(0).randint(0, 256, (30, 3, 32, 32)).astype(np.uint8)

    def made(root, part):
        assert root == str(folder / "svhn")
        count = 30 if part == "train" else 10
        return SimpleNamespace(data=pixels[:count], labels=np.arange(count) % 10)

    monkeypatch.setattr(torchvision.datasets, "SVHN", made)
    splits = Svhn(num_validation=10).load(str(folder)).splits
    assert [len(part) for part in (splits.train, splits.validation, splits.test)] == [20, 10, 10]
    assert np.array_equal(splits.test.inputs.numpy(), pixels[:10])


def test_a_missing_file_says_what_to_do(folder):
    (folder / "svhn" / "test_32x32.mat").unlink()
    place = folder / "svhn" / "test_32x32.mat"
    with pytest.raises(
        DataError, match=re.escape(f"SVHN is not at {place}; download it with: python -c")
    ) as caught:
        Svhn().check(str(folder))
    assert str(caught.value).endswith("(autodropout tasks lists all)")


def test_a_damaged_file_is_named(folder):
    file = folder / "svhn" / "train_32x32.mat"
    with pytest.raises(
        DataError, match=re.escape(f"{file} is not the file of SVHN: its checksum is another")
    ):
        Svhn().load(str(folder))
