"""CIFAR-10 and CIFAR-100 (Krizhevsky 2009): 60,000 photographs of 32x32 pixels in 10 or 100 classes."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from autodropout.data.drawing import SPLIT_SEED, held_out
from autodropout.data.files import VARIABLE, data_folder
from autodropout.data.images import ImageData, Pixels, chosen, examples, image_data
from autodropout.data.source import ELSEWHERE
from autodropout.data.strips import check_arrays, check_bytes, read_arrays, read_strips, strip_files
from autodropout.errors import DataError, MissingError

Arrays = tuple[Pixels, NDArray[np.generic], Pixels, NDArray[np.generic]]
"""Training images and labels, test images and labels, in the original order."""

SIDE = 32
SOURCE = "https://www.cs.toronto.edu/~kriz/cifar.html"

SMALL_FILE = "cifar10-small.npz"
"""17,000 images of CIFAR-10 with their places in the original order."""

_BATCH = 10_000 * 3 * SIDE**2  # bytes of 10,000 images, which are not compressed
_LEAST_SIZES = {  # bytes of the files that torchvision unpacks
    10: {**{f"data_batch_{n}": _BATCH for n in range(1, 6)}, "test_batch": _BATCH, "batches.meta": 1},
    100: {"train": 5 * _BATCH, "test": _BATCH, "meta": 1},
}
_COMPACT = "cifar10"
_STRIPS = 86
_INDEX_ARRAYS = ("y", "rest")
_SMALL_ARRAYS = tuple(f"{kind}_{part}" for kind in ("x", "idx") for part in ("train", "valid", "test"))

_CHECKSUMS = {  # of the arrays' bytes; the compact form holds 98 images of CIFAR-10 as decoded JPEGs
    "x_train": "c7c6557433f8d7c52900e0fc5549bd21bf6f33fefee1f478f5adbc5499bb11c7",
    "y_train": "2b7cd2f24487317614016b72ffd53071c3062f592f0eb300c18a770d41ae1253",
    "x_test": "25a508aee148b4ccf689df271258bb61c79db1edd6c7bdc2d32e0f748c0bf68c",
    "y_test": "cec8a24a1e92aa2ecaa0bbd3dbfa86bf6cd8759fbd209a832824c8cf0afca9d5",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Cifar:
    """All 60,000 images of CIFAR-10 or CIFAR-100.

    They are read by torchvision from what it downloads (``cifar-10-batches-py``, ``cifar-100-python``, whose
    checksums it compares), or, CIFAR-10 only, from the compact form in the subfolder ``cifar10``.

    Attributes:
        classes: 10 or 100.
        num_validation: Training images set apart for the reward, the same share of each class. The paper has
            10% of CIFAR-10: 5,000.
        seed: Of that split.
    """

    channels: ClassVar[int] = 3
    side: ClassVar[int] = SIDE

    classes: Literal[10, 100] = 10
    num_validation: int = 5000
    seed: int = SPLIT_SEED

    @property
    def num_classes(self) -> int:
        """Classes there are."""
        return self.classes

    @property
    def needs(self) -> str:
        """Which files it needs and where they are looked for."""
        folder = "cifar-10-batches-py" if self.classes == 10 else "cifar-100-python"
        return f"CIFAR-{self.classes}, 163 MiB as torchvision downloads it: {folder}/ below {VARIABLE}"

    def check(self, folder: str | None) -> None:
        """Raise a DataError where a file is missing or too short; what is in them is not read."""
        check_cifar(data_folder(folder).absolute(), self.classes)

    def load(self, folder: str | None) -> ImageData:
        """Return the images, split."""
        return _whole(data_folder(folder).absolute(), self)


@lru_cache(maxsize=2)
def _whole(folder: Path, source: Cifar) -> ImageData:
    images, labels, test_images, test_labels = read_cifar(folder, source.classes)
    rest, held = held_out(labels, source.num_validation, source.seed)
    train = examples(images, labels)
    return image_data(chosen(train, rest), chosen(train, held), examples(test_images, test_labels))


def read_cifar(folder: Path, classes: Literal[10, 100]) -> Arrays:
    """Return all images of CIFAR-10 or CIFAR-100 in the original order.

    Args:
        folder: Folder of data sets.
        classes: Which of the two.

    Raises:
        DataError: Files are missing or damaged.
    """
    check_cifar(folder, classes)
    return _from_torchvision(folder, classes) if _original(folder, classes).is_dir() else _compact(folder)


def check_cifar(folder: Path, classes: Literal[10, 100]) -> None:
    """Refuse a folder without all files of CIFAR-10 or CIFAR-100; names and sizes are looked at.

    Args:
        folder: Folder of data sets.
        classes: Which of the two.

    Raises:
        DataError: It has neither of the two forms, or not all of it.
    """
    place = _original(folder, classes)
    if place.is_dir():
        _check_original(folder, classes)
    elif classes == 10 and (folder / _COMPACT).is_dir():
        _check_compact(folder)
    else:
        raise DataError(
            f"CIFAR-{classes} is not at {place}; download it with: {_downloading(folder, classes)}, or name "
            f"the folder that holds {place.name}/ by --data or by the environment variable {VARIABLE}; "
            f"{ELSEWHERE}"
        )


def _check_original(folder: Path, classes: Literal[10, 100]) -> None:
    place = _original(folder, classes)
    for name, least in _LEAST_SIZES[classes].items():
        file = place / name
        size = file.stat().st_size if file.is_file() else None
        if size is None or size < least:
            wrong = "is missing" if size is None else f"has {size:,} bytes; expected at least {least:,}"
            raise DataError(
                f"CIFAR-{classes} in {folder} is not whole: {place.name}/{name} {wrong}; remove {place} and "
                f"download it again with: {_downloading(folder, classes)}; {ELSEWHERE}"
            )


def _check_compact(folder: Path) -> None:
    place, small = folder / _COMPACT, folder / SMALL_FILE
    if not small.is_file():
        raise DataError(
            f"{small} is not there, and {place} holds only the images that are not in it; copy it there, or "
            f"download all of CIFAR-10 with: {_downloading(folder, 10)}; {ELSEWHERE}"
        )
    check_arrays(small, _SMALL_ARRAYS)
    check_arrays(place / "index.npz", _INDEX_ARRAYS)
    strip_files(place, "rest", _STRIPS)


def _downloading(folder: Path, classes: Literal[10, 100]) -> str:
    name = f"CIFAR{classes}"
    call = f"from torchvision.datasets import {name}; {name}('{folder}', download=True)"
    return f'python -c "{call}" (163 MiB, {SOURCE})'


def _original(folder: Path, classes: Literal[10, 100]) -> Path:
    return folder / ("cifar-10-batches-py" if classes == 10 else "cifar-100-python")


def _from_torchvision(folder: Path, classes: Literal[10, 100]) -> Arrays:
    try:
        from torchvision.datasets import CIFAR10, CIFAR100
    except ImportError as error:
        raise MissingError(
            "CIFAR is read by torchvision; install it with: pip install torchvision"
        ) from error
    kind: Callable[..., CIFAR10] = CIFAR10 if classes == 10 else CIFAR100
    try:
        train, test = kind(str(folder), train=True), kind(str(folder), train=False)
    except (RuntimeError, OSError, EOFError) as error:
        raise DataError(
            f"CIFAR-{classes} in {folder} is not whole: a file is missing, or its checksum is another one; "
            f"remove {_original(folder, classes)} and download it again with: {_downloading(folder, classes)}"
        ) from error
    return train.data, np.asarray(train.targets), test.data, np.asarray(test.targets)


def _compact(folder: Path) -> Arrays:
    place = folder / _COMPACT
    labels, rest = read_arrays(place / "index.npz", _INDEX_ARRAYS)
    arrays = dict(zip(_SMALL_ARRAYS, read_arrays(folder / SMALL_FILE, _SMALL_ARRAYS), strict=True))
    strips = read_strips(strip_files(place, "rest", _STRIPS))
    if len(strips) != len(rest):
        raise DataError(
            f"the strips in {place} hold {len(strips)} images; expected {len(rest)}: copy the whole folder "
            "again"
        )
    images = np.zeros((60_000, SIDE, SIDE, 3), np.uint8)
    images[rest] = strips
    for part, shift in (("train", 0), ("valid", 0), ("test", 50_000)):
        images[shift + arrays[f"idx_{part}"]] = arrays[f"x_{part}"]
    found = (images[:50_000], labels[:50_000], images[50_000:], labels[50_000:])
    for array, (name, checksum) in zip(found, _CHECKSUMS.items(), strict=True):
        check_bytes(f"CIFAR-10's {name} in {folder}", array, checksum)
    return found
