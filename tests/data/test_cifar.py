import hashlib
import os
import re
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from autodropout.data import cifar, cifar_small
from autodropout.data.cifar import Cifar
from autodropout.data.cifar_small import CifarSmall
from autodropout.data.files import VARIABLE
from autodropout.errors import DataError

Image = pytest.importorskip("PIL.Image", reason="strips are read by Pillow, which comes with torchvision")
torchvision = pytest.importorskip("torchvision", reason="CIFAR is read by torchvision")
FOLDER = Path(os.environ.get(VARIABLE, ""))
needs_data = pytest.mark.skipif(
    not (FOLDER / cifar.SMALL_FILE).exists(), reason=f"CIFAR-10 is not in the folder that {VARIABLE} names"
)


@pytest.fixture(autouse=True)
def forgetful():
    yield
    cifar._whole.cache_clear()
    cifar_small._part.cache_clear()


def pixels(count, seed):
    return np.random.RandomState(seed).randint(0, 256, (count, 32, 32, 3)).astype(np.uint8)


@pytest.fixture
def whole(tmp_path, monkeypatch):
    """A folder that torchvision finds CIFAR in: 40 images to train, 20 for the test."""
    train, test = pixels(40, 0), pixels(20, 1)

    def made(root, *, train):
        assert root == str(tmp_path)
        data, count = (train_images, 40) if train else (test, 20)
        return SimpleNamespace(data=data, targets=[place % 10 for place in range(count)])

    train_images = train
    monkeypatch.setattr(torchvision.datasets, "CIFAR10", made)
    (tmp_path / "cifar-10-batches-py").mkdir()
    return SimpleNamespace(folder=str(tmp_path), train=train, test=test)


def test_the_whole_set_is_split_by_class(whole):
    data = Cifar(num_validation=10).load(whole.folder)
    splits = data.splits
    assert [len(part) for part in (splits.train, splits.validation, splits.test)] == [30, 10, 20]
    assert splits.validation.labels.bincount().tolist() == [1] * 10
    both = np.concatenate([splits.train.inputs.numpy(), splits.validation.inputs.numpy()])
    found = {image.transpose(1, 2, 0).tobytes() for image in both}
    assert found == {image.tobytes() for image in whole.train}
    assert splits.test.inputs[3].numpy().transpose(1, 2, 0).tobytes() == whole.test[3].tobytes()


def test_a_missing_set_says_what_to_do_where_it_goes_and_what_else_can_be_run(tmp_path):
    place = tmp_path / "cifar-10-batches-py"
    for found in (Cifar().check, CifarSmall().check, Cifar().load, CifarSmall().load):
        with pytest.raises(DataError) as caught:
            found(str(tmp_path))
        text = str(caught.value)
        assert text.startswith(f"CIFAR-10 is not at {place}; download it with: python -c")
        assert f"CIFAR10('{tmp_path}', download=True)" in text
        assert "--data" in text
        assert VARIABLE in text
        assert text.endswith(
            "meanwhile the tasks digits and pydoc-lm need no download (autodropout tasks lists all)"
        )
    with pytest.raises(DataError, match=r"CIFAR-100 is not at .*cifar-100-python; .*CIFAR100"):
        Cifar(classes=100).check(str(tmp_path))


def test_half_a_download_is_refused(tmp_path):
    place = tmp_path / "cifar-10-batches-py"
    place.mkdir()
    (place / "data_batch_1").write_bytes(b"half")
    text = f"CIFAR-10 in {tmp_path} is not whole: a file is missing, or its checksum is another one; remove"
    with pytest.raises(DataError, match=re.escape(text)):
        Cifar().load(str(tmp_path))


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
    content = file.read_bytes()
    file.write_bytes(content[: len(content) // 2])
    with pytest.raises(DataError, match=re.escape(f"{file} is damaged")):
        CifarSmall().load(str(small))
    np.savez(file, x_train=np.zeros(3))
    with pytest.raises(DataError, match=r"has no array .*; expected x_train, y_train"):
        CifarSmall().load(str(small))


def test_another_file_of_that_name(small, monkeypatch):
    wrong = dict(cifar_small._SMALL_CHECKSUMS, y_valid="0" * 64)
    monkeypatch.setattr(cifar_small, "_SMALL_CHECKSUMS", wrong)
    with pytest.raises(
        DataError, match=r"the part y_valid of CIFAR-10 in .* has checksum .*expected 000000000000"
    ):
        CifarSmall(num_train=20, num_validation=10).load(str(small))


def test_a_strip_that_is_none(tmp_path):
    file = tmp_path / "train-00.webp"
    file.write_bytes(b"no picture")
    with pytest.raises(DataError, match=re.escape(f"{file} cannot be read as a picture")):
        cifar_small.read_strips([file])
    Image.fromarray(np.zeros((40, 32, 3), np.uint8)).save(file, lossless=True)
    with pytest.raises(DataError, match=r"has 32x40 pixels; expected a strip 32 wide"):
        cifar_small.read_strips([file])


@needs_data
def test_the_real_part_of_cifar100():
    data = CifarSmall(classes=100, num_train=6000, num_validation=2000, small_side=32).load(None)
    splits = data.splits
    assert data.num_classes == 100
    assert [len(part) for part in (splits.train, splits.validation, splits.test)] == [6000, 2000, 2000]
    assert splits.train.labels.bincount().tolist() == [60] * 100
    assert data.mean == pytest.approx((0.507, 0.487, 0.441), abs=0.006)


@needs_data
@pytest.mark.slow
def test_the_real_cifar10_and_the_same_small_part_drawn_from_it():
    data = Cifar().load(None)
    assert [len(part) for part in (data.splits.train, data.splits.validation)] == [45_000, 5000]
    assert data.splits.train.labels.bincount().tolist() == [4500] * 10
    assert data.mean == pytest.approx((0.4914, 0.4822, 0.4465), abs=1e-3)
    drawn = cifar_small._drawn_from(cifar.read_cifar(FOLDER.absolute(), 10))
    for array, checksum in zip(drawn, cifar_small._SMALL_CHECKSUMS.values(), strict=True):
        assert hashlib.sha256(array.tobytes()).hexdigest() == checksum
