import gzip
import hashlib
import os
import re
from pathlib import Path

import pytest
import torch

from autodropout.data import mnist
from autodropout.data.mnist import load_mnist
from autodropout.data.ptb import VARIABLE
from autodropout.errors import DataError, UsageError

REAL = Path(os.environ.get(VARIABLE, ""), "mnist", "train-images-idx3-ubyte.gz")
PIXELS = {"train": bytes(range(256)) * 10, "t10k": bytes(255 - n for n in range(256)) * 10}


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A folder with three training images and two for the test that pass for the real ones."""
    (tmp_path / "mnist").mkdir()
    sums = {}
    for part, count in (("train", 3), ("t10k", 2)):
        images = bytes(16) + PIXELS[part][: count * 784]
        labels = bytes(8) + bytes(range(4, 4 + count))
        for name, content in ((f"{part}-images-idx3-ubyte", images), (f"{part}-labels-idx1-ubyte", labels)):
            (tmp_path / "mnist" / f"{name}.gz").write_bytes(gzip.compress(content))
            sums[name] = hashlib.sha256(content).hexdigest()
    monkeypatch.setattr(mnist, "_CHECKSUMS", sums)
    mnist._load.cache_clear()
    yield tmp_path
    mnist._load.cache_clear()


def test_what_the_files_hold(folder):
    splits = load_mnist(str(folder), num_validation=1)
    assert [len(part) for part in (splits.train, splits.validation, splits.test)] == [2, 1, 2]
    assert splits.train.labels.tolist() + splits.validation.labels.tolist() == [4, 5, 6]
    assert splits.test.labels.tolist() == [4, 5]
    assert splits.train.inputs.shape == (2, 1, 28, 28)
    whole = torch.cat([splits.train.inputs, splits.validation.inputs]).flatten()
    assert (whole * 255).round().byte().numpy().tobytes() == PIXELS["train"][: 3 * 784]
    assert (whole.min(), whole.max()) == (0.0, 1.0)
    assert (splits.test.inputs[0, 0, 1, 0] * 255).round() == 255 - 28


def test_unpacked_files_and_the_environment(folder, monkeypatch):
    for file in (folder / "mnist").iterdir():
        file.with_suffix("").write_bytes(gzip.decompress(file.read_bytes()))
        file.unlink()
    monkeypatch.setenv(VARIABLE, str(folder))
    assert len(load_mnist().train) == 3


def test_a_missing_file_says_where_it_comes_from_and_goes(folder):
    file = folder / "mnist" / "t10k-labels-idx1-ubyte.gz"
    file.unlink()
    text = f"MNIST is not at {file} (No such file or directory); download train-images-idx3-ubyte.gz"
    with pytest.raises(DataError, match=re.escape(text)) as caught:
        load_mnist(str(folder))
    assert VARIABLE in str(caught.value)
    assert mnist.SOURCE in str(caught.value)


def test_a_damaged_file_is_named(folder):
    file = folder / "mnist" / "t10k-labels-idx1-ubyte.gz"
    whole = file.read_bytes()
    file.write_bytes(whole[:-9])
    with pytest.raises(DataError, match=r"t10k-labels-idx1-ubyte\.gz is damaged"):
        load_mnist(str(folder))
    file.write_bytes(b"no gzip")
    with pytest.raises(DataError, match=r"t10k-labels-idx1-ubyte\.gz is damaged"):
        load_mnist(str(folder))
    file.write_bytes(gzip.compress(b"another file"))
    with pytest.raises(DataError, match="is not the MNIST file of that name: its SHA-256, unpacked"):
        load_mnist(str(folder))


@pytest.mark.parametrize("number", [-1, 60_000, True])
def test_the_number_is_checked(number):
    with pytest.raises(UsageError, match=f"num_validation is {number}; expected a number from 0 to 59999"):
        load_mnist(num_validation=number)


@pytest.mark.skipif(not REAL.exists(), reason=f"MNIST is not in the folder that {VARIABLE} names")
def test_the_real_files():
    splits = load_mnist(num_validation=10_000)
    assert [len(part) for part in (splits.train, splits.validation, splits.test)] == [50_000, 10_000, 10_000]
    assert splits.test.labels.bincount().tolist() == [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009]
    assert splits.train.inputs.mean().item() == pytest.approx(0.1307, abs=5e-4)
