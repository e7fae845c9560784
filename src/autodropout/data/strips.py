"""Images one below the other in lossless pictures: the compact form of CIFAR that is kept for tests."""

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from autodropout.data.images import Pixels
from autodropout.errors import DataError, MissingError

SIDE = 32


def strip_files(folder: Path, part: str, count: int) -> list[Path]:
    """Return the strips of a part in order, after a look at their number and sizes; no picture is read.

    Args:
        folder: Where they are.
        part: What their names begin with: ``PART-*.webp``.
        count: Strips there are.

    Raises:
        DataError: One is missing, or was not copied to the end.
    """
    files = sorted(folder.glob(f"{part}-*.webp"))
    if len(files) != count:
        raise DataError(
            f"{folder} has {len(files)} files {part}-*.webp; expected {count}: copy the whole folder again"
        )
    for file in files:
        if not _is_whole(file):
            raise DataError(f"{file} is no WebP picture, or not copied to the end; copy it again")
    return files


def _is_whole(file: Path) -> bool:
    """Return whether a file is as long as the head of a WebP picture says."""
    try:
        with file.open("rb") as stream:
            head = stream.read(12)
    except OSError as error:
        raise DataError(f"{file} cannot be read ({error.strerror}); check its permissions") from error
    said = 8 + int.from_bytes(head[4:8], "little")
    return (head[:4], head[8:], file.stat().st_size) == (b"RIFF", b"WEBP", said)


def read_strips(files: Sequence[Path]) -> Pixels:
    """Return all images of some strips, (images, 32, 32, 3).

    Args:
        files: Pictures 32 pixels wide, in order; at least one.

    Raises:
        DataError: There are no files, or one is missing or damaged.
        MissingError: Pillow is not installed.
    """
    if not files:
        raise DataError("there are no strips of images to read; expected at least one: copy them again")
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
    with _opened(file, names) as arrays:
        return [arrays[name] for name in names]


def check_arrays(file: Path, names: Sequence[str]) -> None:
    """Refuse what ``read_arrays`` would refuse, as far as it shows without reading the arrays."""
    with _opened(file, names):
        pass


@contextmanager
def _opened(file: Path, names: Sequence[str]) -> Iterator[Mapping[str, NDArray[np.generic]]]:
    try:
        with np.load(file, allow_pickle=False) as arrays:
            _check_names(file, arrays, names)
            yield arrays
    except DataError:
        raise
    except FileNotFoundError as error:
        raise DataError(f"{file} is not there; copy it again with the files that belong to it") from error
    except Exception as error:  # what zipfile, lzma and NumPy raise on damage has no common root
        raise DataError(f"{file} is damaged ({error}); copy it again") from error


def _check_names(file: Path, arrays: Mapping[str, NDArray[np.generic]], names: Sequence[str]) -> None:
    for name in names:
        if name not in arrays:
            raise DataError(f"{file} has no array {name!r}; expected {', '.join(names)}: copy it again")


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
