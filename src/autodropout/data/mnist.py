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

_CHECKSUMS = {  # of what is inside, so that it does not matter who compressed it
    "train-images-idx3-ubyte": "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
    "train-labels-idx1-ubyte": "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
    "t10k-images-idx3-ubyte": "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
    "t10k-labels-idx1-ubyte": "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
}
_HEADER = {"idx3": 16, "idx1": 8}
"""Bytes before the first pixel or label."""


def load_mnist(folder: str | None = None, num_validation: int = 0) -> Splits:
    """Return MNIST with its own test set, the last training images set apart for validation.

    The four files are looked for in the subfolder ``mnist``, compressed (``.gz``) or not.

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
    images, labels, test_images, test_labels = _load(data_folder(folder).absolute() / "mnist")
    num_train = len(labels) - num_validation
    return Splits(
        train=Examples(inputs=images[:num_train], labels=labels[:num_train]),
        validation=Examples(inputs=images[num_train:], labels=labels[num_train:]),
        test=Examples(inputs=test_images, labels=test_labels),
    )


@lru_cache(maxsize=1)
def _load(folder: Path) -> tuple[Tensor, ...]:
    return tuple(_tensor(folder, name, checksum) for name, checksum in _CHECKSUMS.items())


def _tensor(folder: Path, name: str, checksum: str) -> Tensor:
    content = _content(folder, name)
    if hashlib.sha256(content).hexdigest() != checksum:
        raise DataError(
            f"{folder / name} is not the MNIST file of that name: its SHA-256, unpacked, is not "
            f"{checksum[:12]}...; download it again from {SOURCE}"
        )
    kind = name.split("-")[2]
    values = torch.from_numpy(np.frombuffer(content, np.uint8, offset=_HEADER[kind]).copy())
    return values.long() if kind == "idx1" else values.reshape(-1, 1, SIDE, SIDE).float().div_(255)


def _content(folder: Path, name: str) -> bytes:
    plain, packed = folder / name, folder / f"{name}.gz"
    try:
        return plain.read_bytes() if plain.exists() else gzip.decompress(packed.read_bytes())
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise DataError(f"{packed} is damaged ({error}); download it again from {SOURCE}") from error
    except OSError as error:
        files = ", ".join(f"{name}.gz" for name in _CHECKSUMS)
        raise DataError(
            f"MNIST is not at {packed} ({error.strerror}); download {files} from {SOURCE} into a folder "
            "mnist/, and name the folder that holds mnist/ by --data or by the environment variable "
            f"{VARIABLE}"
        ) from error
