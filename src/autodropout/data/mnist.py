"""MNIST: 70,000 handwritten digits of 28x28 pixels, from the four files of LeCun, Cortes and Burges."""

import gzip
import hashlib
import zlib
from functools import lru_cache
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from autodropout.data.files import VARIABLE, data_folder
from autodropout.data.splits import Examples, Splits
from autodropout.errors import DataError, UsageError

SIDE = 28
"""Height and width of an image in pixels."""

NUM_TRAIN = 60_000
SOURCE = "https://ossci-datasets.s3.amazonaws.com/mnist/"

_PLACES = ("mnist", "MNIST/raw")
"""Folders of the files: as people keep them, and as torchvision downloads them."""

_CHECKSUMS = {  # of what is inside, so that it does not matter who compressed it
    "train-images-idx3-ubyte": "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
    "train-labels-idx1-ubyte": "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
    "t10k-images-idx3-ubyte": "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
    "t10k-labels-idx1-ubyte": "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
}
_SIZES = {  # bytes of what is inside
    "train-images-idx3-ubyte": 16 + NUM_TRAIN * SIDE**2,
    "train-labels-idx1-ubyte": 8 + NUM_TRAIN,
    "t10k-images-idx3-ubyte": 16 + 10_000 * SIDE**2,
    "t10k-labels-idx1-ubyte": 8 + 10_000,
}
_HEADER = {"idx3": 16, "idx1": 8}
"""Bytes before the first pixel or label."""


def load_mnist(folder: str | None = None, num_validation: int = 0) -> Splits:
    """Return MNIST with its own test set, the last training images set apart for validation.

    The four files are looked for in the subfolder ``mnist`` and where torchvision puts them, ``MNIST/raw``,
    compressed (``.gz``) or not.

    Args:
        folder: Folder of data sets; None for what the variable ``AUTODROPOUT_DATA`` says, or ``data``.
        num_validation: Images for validation, from 0 to 59,999.

    Returns:
        float32 images in [0, 1], shape (examples, 1, 28, 28), and int64 labels.

    Raises:
        DataError: A file is missing or damaged.
        UsageError: The number is out of range.
    """
    if isinstance(num_validation, bool) or not 0 <= num_validation < NUM_TRAIN:
        raise UsageError(f"num_validation is {num_validation!r}; expected a number from 0 to {NUM_TRAIN - 1}")
    images, labels, test_images, test_labels = _load(data_folder(folder).absolute())
    num_train = len(labels) - num_validation
    return Splits(
        train=Examples(inputs=images[:num_train], labels=labels[:num_train]),
        validation=Examples(inputs=images[num_train:], labels=labels[num_train:]),
        test=Examples(inputs=test_images, labels=test_labels),
    )


def check_mnist(folder: Path) -> None:
    """Refuse a folder without MNIST; a file is read only where its size is not the one it should have.

    Args:
        folder: Folder of data sets.

    Raises:
        DataError: A file is missing or damaged.
    """
    for name, checksum in _CHECKSUMS.items():
        if _size(_file(folder, name)) != _SIZES[name]:
            _tensor(folder, name, checksum)


@lru_cache(maxsize=1)
def _load(folder: Path) -> tuple[Tensor, ...]:
    return tuple(_tensor(folder, name, checksum) for name, checksum in _CHECKSUMS.items())


def _tensor(folder: Path, name: str, checksum: str) -> Tensor:
    file = _file(folder, name)
    content = _content(file)
    if hashlib.sha256(content).hexdigest() != checksum:
        raise DataError(
            f"{file} is not the MNIST file of that name: its SHA-256, unpacked, is not {checksum[:12]}...; "
            f"remove it and download it again from {SOURCE}"
        )
    kind = name.split("-")[2]
    values = torch.from_numpy(np.frombuffer(content, np.uint8, offset=_HEADER[kind]).copy())
    return values.long() if kind == "idx1" else values.reshape(-1, 1, SIDE, SIDE).float().div_(255)


def _file(folder: Path, name: str) -> Path:
    """Return where a file is, compressed or not."""
    for place in _PLACES:
        for file in (folder / place / name, folder / place / f"{name}.gz"):
            if file.is_file():
                return file
    files = ", ".join(f"{name}.gz" for name in _CHECKSUMS)
    raise DataError(
        f"MNIST is not at {folder / _PLACES[0] / name}.gz; download it with: python -c "
        f"\"from torchvision.datasets import MNIST; MNIST('{folder}', download=True)\" (11 MiB), or put "
        f"{files} from {SOURCE} into a folder mnist/; name the folder that holds mnist/ or MNIST/ by --data "
        f"or by the environment variable {VARIABLE}"
    )


def _size(file: Path) -> int:
    """Return how many bytes are inside, as a compressed file says at its end."""
    try:
        if file.suffix != ".gz":
            return file.stat().st_size
        with file.open("rb") as stream:
            stream.seek(max(0, file.stat().st_size - 4))
            return int.from_bytes(stream.read(4), "little")
    except OSError as error:
        raise _unreadable(file, error) from error


def _content(file: Path) -> bytes:
    try:
        content = file.read_bytes()
        return gzip.decompress(content) if file.suffix == ".gz" else content
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise DataError(
            f"{file} is damaged ({error}); remove it and download it again from {SOURCE}"
        ) from error
    except OSError as error:
        raise _unreadable(file, error) from error


def _unreadable(file: Path, error: OSError) -> DataError:
    return DataError(f"{file} cannot be read ({error.strerror}); check its permissions")
