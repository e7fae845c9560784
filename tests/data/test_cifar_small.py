import hashlib
import os
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from noise_on_disk import pixels, refuses, write_strip

from autodropout.data import cifar, cifar_small
from autodropout.data.cifar_small import CifarSmall
from autodropout.data.files import VARIABLE
from autodropout.errors import DataError

pytest.importorskip("PIL.Image", reason="strips are read by Pillow, which comes with torchvision")
FOLDER = Path(os.environ.get(VARIABLE, ""))
SUBSET = CifarSmall(classes=100, num_train=100, num_validation=100, small_side=8)


@pytest.fixture(autouse=True)
def forgetful():
    yield
    cifar_small._part.cache_clear()


@pytest.fixture
def small(tmp_path, monkeypatch):
    """A small file that passes for the real one: 40, 20 and 10 images."""
    arrays, sums = {}, {}
    for number, (part, count) in enumerate((("train", 40), ("valid", 20), ("test", 10))):
        arrays[f"x_{part}"] = pixels(count, number)
        arrays[f"y_{part}"] = (np.arange(count) % 10).astype(np.uint8)
    for name, array in arrays.items():
        sums[name] = hashlib.sha256(array.tobytes()).hexdigest()
    order = [name for part in ("train", "valid", "test") for name in (f"x_{part}", f"y_{part}")]
    monkeypatch.setattr(cifar_small, "_SMALL_CHECKSUMS", {name: sums[name] for name in order})
    np.savez(tmp_path / cifar.SMALL_FILE, **arrays)
    return tmp_path


def test_the_small_file(small):
    data = CifarSmall(num_train=20, num_validation=10, small_side=8).load(str(small))
    parts = (data.splits.train, data.splits.validation, data.splits.test)
    assert [tuple(part.inputs.shape) for part in parts] == [(20, 3, 8, 8), (10, 3, 8, 8), (10, 3, 8, 8)]
    assert all(set(part.labels.tolist()) == set(range(10)) for part in parts)
    everything = CifarSmall(num_train=40, num_validation=20, small_side=32).load(str(small)).splits
    assert everything.train.inputs[5].numpy().transpose(1, 2, 0).tobytes() == pixels(40, 0)[5].tobytes()


def test_a_damaged_small_file(small):
    file = small / cifar.SMALL_FILE
    CifarSmall().check(str(small))
    content = file.read_bytes()
    file.write_bytes(content[: len(content) // 2])
    refuses(CifarSmall(), small, f"{file} is damaged (")
    np.savez(file, x_train=np.zeros(3))
    refuses(CifarSmall(), small, "has no array 'y_train'; expected x_train, y_train")


def test_another_file_of_that_name(small, monkeypatch):
    wrong = dict(cifar_small._SMALL_CHECKSUMS, y_valid="0" * 64)
    monkeypatch.setattr(cifar_small, "_SMALL_CHECKSUMS", wrong)
    with pytest.raises(
        DataError, match=r"the part y_valid of CIFAR-10 in .* has checksum .*expected 000000000000"
    ):
        CifarSmall(num_train=20, num_validation=10).load(str(small))


@pytest.fixture
def subset(tmp_path, monkeypatch):
    """Two training images and one for the test of each of a hundred classes, that pass for CIFAR-100's."""
    place = tmp_path / "cifar100-subset"
    place.mkdir()
    images = {"train": pixels(200, 0), "test": pixels(100, 1)}
    labels = {"train": np.repeat(np.arange(100), 2), "test": np.arange(100)}
    sums = {}
    for part in images:
        write_strip(place / f"{part}-00.webp", images[part])
        sums[f"x_{part}"] = hashlib.sha256(images[part].tobytes()).hexdigest()
    for part in labels:  # after both parts' images
        sums[f"y_{part}"] = hashlib.sha256(labels[part].astype(np.uint8).tobytes()).hexdigest()
    np.savez(place / "index.npz", **{f"y_{part}": labels[part] for part in labels})
    monkeypatch.setattr(cifar_small, "_SUBSET_CHECKSUMS", sums)
    monkeypatch.setattr(cifar_small, "_SUBSET_STRIPS", {"train": 1, "test": 1})
    return SimpleNamespace(place=place, folder=str(tmp_path), labels=labels)


def test_the_part_of_cifar100(subset):
    SUBSET.check(subset.folder)
    splits = SUBSET.load(subset.folder).splits
    assert [len(part) for part in (splits.train, splits.validation, splits.test)] == [100, 100, 100]
    assert splits.test.labels.tolist() == list(range(100))


def test_a_part_of_cifar100_that_is_not_whole_is_refused(subset):
    place = subset.place
    (place / "test-00.webp").unlink()
    text = f"{place} has 0 files test-*.webp; expected 1: copy the whole folder again"
    refuses(SUBSET, subset.folder, text)
    for file in place.iterdir():
        file.unlink()
    refuses(SUBSET, subset.folder, f"{place / 'index.npz'} is not there; copy it again with")


def test_other_labels_of_the_part_of_cifar100_are_refused(subset):
    wrong = subset.labels["train"][::-1].copy()
    np.savez(subset.place / "index.npz", y_train=wrong, y_test=subset.labels["test"])
    with pytest.raises(DataError, match=r"the part y_train of CIFAR-100 in .* has checksum"):
        SUBSET.load(subset.folder)


@pytest.mark.skipif(
    not (FOLDER / cifar.SMALL_FILE).exists(), reason=f"{VARIABLE} names no folder with {cifar.SMALL_FILE}"
)
def test_the_real_part_of_cifar10():
    CifarSmall().check(None)
    data = CifarSmall(small_side=32).load(None)
    splits = data.splits
    assert data.num_classes == 10
    assert [len(part) for part in (splits.train, splits.validation, splits.test)] == [4000, 2000, 3000]
    assert (splits.train.labels.bincount() / 4000).tolist() == pytest.approx([0.1] * 10, abs=0.005)
    assert data.mean == pytest.approx((0.4914, 0.4822, 0.4465), abs=0.006)


@pytest.mark.skipif(
    not (FOLDER / "cifar100-subset").exists(), reason=f"{VARIABLE} names no folder with cifar100-subset/"
)
def test_the_real_part_of_cifar100():
    CifarSmall(classes=100).check(None)
    data = CifarSmall(classes=100, num_train=6000, num_validation=2000, small_side=32).load(None)
    splits = data.splits
    assert data.num_classes == 100
    assert [len(part) for part in (splits.train, splits.validation, splits.test)] == [6000, 2000, 2000]
    assert splits.train.labels.bincount().tolist() == [60] * 100
    assert data.mean == pytest.approx((0.507, 0.487, 0.441), abs=0.006)
