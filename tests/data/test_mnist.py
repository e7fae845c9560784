import gzip
import hashlib
import os
import re
from pathlib import Path

import pytest
import torch

from autodropout.data import mnist
from autodropout.data.mnist import check_mnist, load_mnist
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


def test_what_torchvision_downloads_is_found(folder):
    (folder / "MNIST").mkdir(exist_ok=True)
    (folder / "mnist").rename(folder / "MNIST" / "raw")
    assert len(load_mnist(str(folder)).train) == 3
    check_mnist(folder)


def test_a_missing_file_says_where_it_comes_from_and_goes(folder):
    file = folder / "mnist" / "t10k-labels-idx1-ubyte.gz"
    file.unlink()
    text = (
        f'MNIST is not at {file}; download it with: python -c "from torchvision.datasets import MNIST; '
        f"MNIST('{folder}', download=True)\" (11 MiB), or put train-images-idx3-ubyte.gz, "
    )
    for asked in (lambda: load_mnist(str(folder)), lambda: check_mnist(folder)):
        with pytest.raises(DataError, match=re.escape(text)) as caught:
            asked()
        assert VARIABLE in str(caught.value)
        assert mnist.SOURCE in str(caught.value)


def test_files_of_the_right_size_are_not_read_by_a_check(folder, monkeypatch):
    sizes = {f"{part}-labels-idx1-ubyte": 8 + count for part, count in (("train", 3), ("t10k", 2))}
    sizes |= {f"{part}-images-idx3-ubyte": 16 + 784 * count for part, count in (("train", 3), ("t10k", 2))}
    monkeypatch.setattr(mnist, "_SIZES", sizes)
    plain = folder / "mnist" / "t10k-labels-idx1-ubyte"
    plain.write_bytes(bytes(10))
    with monkeypatch.context() as patch:
        patch.setattr(mnist, "_content", lambda file: pytest.fail(f"{file} was read"))
        check_mnist(folder)
    plain.write_bytes(bytes(9))
    with pytest.raises(DataError, match="t10k-labels-idx1-ubyte is not the MNIST file of that name"):
        check_mnist(folder)
    plain.unlink()
    packed = plain.with_suffix(".gz")
    for content in (packed.read_bytes()[:-9], b"", b"abc"):
        packed.write_bytes(content)
        with pytest.raises(DataError, match=r"t10k-labels-idx1-ubyte\.gz is (damaged|not the MNIST file)"):
            check_mnist(folder)


def test_a_file_that_may_not_be_read_is_named(folder, monkeypatch):
    def refuse(self):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "read_bytes", refuse)
    with pytest.raises(DataError, match=r"\.gz cannot be read \(Permission denied\); check its permissions"):
        load_mnist(str(folder))


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
