"""Images one below the other in lossless pictures: the compact form of CIFAR that is kept for tests."""

import hashlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from autodropout.data.images import Pixels
from autodropout.errors import DataError, MissingError

SIDE = 32


def read_strips(files: Sequence[Path]) -> Pixels:
    """Return all images of some strips, (images, 32, 32, 3).

    Args:
        files: Pictures 32 pixels wide, in order.

    Raises:
        DataError: A file is missing or damaged.
        MissingError: Pillow is not installed.
    """
    try:
        from PIL import Image
    except ImportError as error:
        raise MissingError("pictures are read by Pillow; install it with: pip install torchvision") from error
    strips = []
    for file in files:
        try:
            with Image.open(file) as picture:
                pixels = np.asarray(picture.convert("RGB"))
        except OSError as error:
            raise DataError(f"{file} cannot be read as a picture ({error}); copy it again") from error
        if pixels.shape[1] != SIDE or pixels.shape[0] % SIDE:
            raise DataError(
                f"{file} has {pixels.shape[1]}x{pixels.shape[0]} pixels; expected a strip 32 wide"
            )
        strips.append(pixels.reshape(-1, SIDE, SIDE, 3))
    return np.concatenate(strips)


def read_arrays(file: Path, names: Sequence[str]) -> list[NDArray[np.generic]]:
    """Return arrays of an ``.npz`` file.

    Args:
        file: The file.
        names: Of the arrays in it.

    Raises:
        DataError: The file is missing or damaged, or an array is not in it.
    """
    try:
        with np.load(file, allow_pickle=False) as arrays:
            return [arrays[name] for name in names]
    except FileNotFoundError as error:
        raise DataError(f"{file} is not there") from error
    except KeyError as error:
        raise DataError(f"{file} has no array {error}; expected {', '.join(names)}") from error
    except Exception as error:  # what zipfile, lzma and NumPy raise on damage has no common root
        raise DataError(f"{file} is damaged ({error}); copy it again") from error


def check_bytes(what: str, array: NDArray[np.generic], checksum: str) -> None:
    """Compare the SHA-256 of an array's bytes with the expected one.

    Raises:
        DataError: They differ.
    """
    found = hashlib.sha256(np.ascontiguousarray(array).tobytes()).hexdigest()
    if found != checksum:
        raise DataError(
            f"{what} has checksum {found[:12]}...; expected {checksum[:12]}...: the files are damaged or of "
            "another data set; copy them again"
        )
