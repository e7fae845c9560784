"""Photographs in a folder for each class, as ImageNet comes: too many for memory, read when needed."""

import hashlib
import os
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import ClassVar

from autodropout.atomic import write_text
from autodropout.data.drawing import SPLIT_SEED
from autodropout.data.files import VARIABLE, data_folder
from autodropout.data.source import ELSEWHERE
from autodropout.errors import DataError, UsageError

MEAN = (0.485, 0.456, 0.406)
"""Of ImageNet's channels, as everybody has them."""

DEVIATION = (0.229, 0.224, 0.225)

_ENDINGS = (".jpg", ".jpeg", ".png", ".webp")
_PARTS = ("train", "val")

_IMAGENET = "imagenet"
_IMAGENET_CLASSES = 1000
_PUBLISHED = {"train": 1_281_167, "val": 50_000}
"""Images of all of ImageNet (ILSVRC 2012, Russakovsky et al. 2015)."""


@dataclass(frozen=True, slots=True, eq=False)
class Files:
    """Photographs by name.

    Attributes:
        paths: Where each is.
        labels: Class of each, from 0.
        side: Height and width that they are brought to.
    """

    paths: tuple[Path, ...]
    labels: tuple[int, ...]
    side: int

    def __len__(self) -> int:
        return len(self.paths)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class PhotographData:
    """A data set of photographs, split.

    Attributes:
        train: What a model learns from.
        validation: What gives the reward.
        test: Held out.
        num_classes: Classes there are.
        unlabelled: What a model may learn from without labels; None where all labels are known.
        mean: Of each channel, pixels counted from 0 to 1.
        deviation: Likewise.
    """

    train: Files
    validation: Files
    test: Files
    num_classes: int
    unlabelled: Files | None = None
    mean: tuple[float, ...] = MEAN
    deviation: tuple[float, ...] = DEVIATION


@dataclass(frozen=True, slots=True, kw_only=True)
class Photographs:
    """ImageNet, or any folder with ``train/CLASS/*`` and ``val/CLASS/*``; ``val`` is the test.

    Training and validation images are drawn from ``train`` once: each class's images are put in the order of
    the SHA-256 of "SEED CLASS/NAME", so that the draw depends on names alone and is the same on every
    computer. The first ones of that order are for training, the last ones for validation. Hence the images
    of a smaller ``train_per_class`` are among those of a larger: the paper's 80,000 search images (80 of each
    class, and 5 for validation) are within its 10% (128 of each class).

    A class of ``train`` without images in ``val`` is refused, and the other way round. The draw depends on
    all names of a class; so that half a download is no other draw, 1,000 classes in the folder ``imagenet``
    are taken for all of ImageNet, and have to be as many images as were published. Photographs of your own
    belong in another folder, or are other than 1,000 classes.

    Attributes:
        folder: Subfolder of the folder of data sets; ``imagenet`` with 1,000 classes is all of ImageNet.
        classes: Classes there are.
        train_per_class: Images to learn from in each class; None for all that are not for validation.
        validation_per_class: Images for the reward in each class.
        side: Height and width that images are brought to.
        unlabelled: With all images that are not for validation as images without labels.
        seed: Of the draw.

    Raises:
        UsageError: A number is too small.
    """

    channels: ClassVar[int] = 3

    folder: str = _IMAGENET
    classes: int = _IMAGENET_CLASSES
    train_per_class: int | None = None
    validation_per_class: int = 5
    side: int = 224
    unlabelled: bool = False
    seed: int = SPLIT_SEED

    def __post_init__(self) -> None:
        least = {"classes": 2, "train_per_class": 1, "validation_per_class": 0, "side": 1}
        for name, number in least.items():
            value = getattr(self, name)
            if value is not None and value < number:
                raise UsageError(f"{name} is {value!r}; expected at least {number}")

    @property
    def num_classes(self) -> int:
        """Classes there are."""
        return self.classes

    @property
    def needs(self) -> str:
        """Which files it needs and where they are looked for."""
        size = "ImageNet (ILSVRC 2012), 145 GiB" if _is_imagenet(self) else "photographs"
        return f"{size}: {self.folder}/train/CLASS/*.JPEG and {self.folder}/val/CLASS/*.JPEG below {VARIABLE}"

    def check(self, folder: str | None) -> None:
        """Raise a DataError where classes or images are missing; names are counted, no image is opened."""
        _check(data_folder(folder).absolute() / self.folder, self)

    def load(self, folder: str | None) -> PhotographData:
        """Return the names of the images, split; nothing is read yet."""
        return _load(data_folder(folder).absolute() / self.folder, self)

    def write_split(self, folder: str | None, path: Path) -> None:
        """Write down which images are drawn: one name a line, the training images first.

        Args:
            folder: As for ``load``.
            path: The file.
        """
        data = self.load(folder)
        lines = [
            f"{part} {file.parent.name}/{file.name}"
            for part, files in (("train", data.train), ("validation", data.validation))
            for file in files.paths
        ]
        write_text(path, "\n".join(lines) + "\n")


@lru_cache(maxsize=2)
def _load(place: Path, source: Photographs) -> PhotographData:
    names = _check(place, source)
    train: list[tuple[Path, int]] = []
    validation: list[tuple[Path, int]] = []
    unlabelled: list[tuple[Path, int]] = []
    for label, name in enumerate(names):
        drawn = _drawn(place / "train" / name, source)
        end = len(drawn) - source.validation_per_class
        train += [(path, label) for path in drawn[: source.train_per_class or end]]
        validation += [(path, label) for path in drawn[end:]]
        unlabelled += [(path, label) for path in drawn[:end]]
    test = [(path, label) for label, name in enumerate(names) for path in _images(place / "val" / name)]
    return PhotographData(
        train=_files(train, source.side),
        validation=_files(validation, source.side),
        test=_files(test, source.side),
        num_classes=source.classes,
        unlabelled=_files(unlabelled, source.side) if source.unlabelled else None,
    )


def _drawn(folder: Path, source: Photographs) -> list[Path]:
    """Return the images of a class in the order of the draw."""
    found = sorted(_images(folder), key=lambda path: _rank(path, source.seed))
    least = (source.train_per_class or 1) + source.validation_per_class
    if len(found) < least:
        raise DataError(
            f"{folder} has {len(found)} images; expected at least {least}, {source.validation_per_class} of "
            "them for validation; was it unpacked to the end?"
        )
    return found


def _rank(path: Path, seed: int) -> bytes:
    return hashlib.sha256(f"{seed} {path.parent.name}/{path.name}".encode()).digest()


def _images(folder: Path) -> list[Path]:
    return [folder / name for name in sorted(_image_names(folder))]


def _image_names(folder: Path) -> list[str]:
    try:
        return [name for name in os.listdir(folder) if name.lower().endswith(_ENDINGS)]
    except OSError as error:
        raise DataError(f"{folder} cannot be read ({error.strerror}); check its permissions") from error


def _files(pairs: Sequence[tuple[Path, int]], side: int) -> Files:
    return Files(tuple(path for path, _ in pairs), tuple(label for _, label in pairs), side)


def _is_imagenet(source: Photographs) -> bool:
    return (source.folder, source.classes) == (_IMAGENET, _IMAGENET_CLASSES)


def _check(place: Path, source: Photographs) -> tuple[str, ...]:
    """Return the names of the classes, each of which has images in both parts."""
    names = _classes(place, source.classes)
    if _is_imagenet(source):
        _check_imagenet(place, names)
    else:
        for part in _PARTS:
            _num_images(place / part, names)
    return names


@lru_cache(maxsize=2)  # a second for 1.3 million names, and a dozen tasks ask in a row
def _check_imagenet(place: Path, names: tuple[str, ...]) -> None:
    for part, expected in _PUBLISHED.items():
        found = _num_images(place / part, names)
        if found == expected:
            continue
        reason = (
            "the download is incomplete, or was not unpacked to the end; get the rest"
            if found < expected
            else "images of another set lie among them; remove these"
        )
        raise DataError(
            f"{place / part} has {found:,} images; expected the {expected:,} of ImageNet (ILSVRC 2012): "
            f"{reason}. A set of your own belongs in a folder of another name, Photographs(folder=...)"
        )


def _num_images(folder: Path, names: Sequence[str]) -> int:
    """Return how many images the classes have together; none may be without."""
    counts = {name: len(_image_names(folder / name)) for name in names}
    empty = [name for name, count in counts.items() if not count]
    if empty:
        raise DataError(
            f"{folder} has no images ({', '.join(_ENDINGS)}) of {_some(empty)}; expected some of each class: "
            "was it unpacked to the end?"
        )
    return sum(counts.values())


def _classes(place: Path, count: int) -> tuple[str, ...]:
    train, val = (_folders(place / part) for part in _PARTS)
    if len(train) != count:
        raise DataError(
            f"{place / 'train'} has {len(train)} folders of classes; expected {count}: is it the right "
            "folder, and unpacked to the end?"
        )
    for part, here, there in (("val", val, train), ("train", train, val)):
        if missing := sorted(there - here):
            raise DataError(
                f"{place / part} has no folder of {_some(missing)}; expected the same classes in train/ and "
                "val/: was it unpacked to the end, and sorted into a folder for each class?"
            )
    return tuple(sorted(train))


def _folders(folder: Path) -> set[str]:
    try:
        return {child.name for child in folder.iterdir() if child.is_dir()}
    except OSError as error:
        raise DataError(
            f"there are no photographs at {folder} ({error.strerror}); ImageNet is downloaded from "
            "https://image-net.org after registration and unpacked into a folder for each class; name the "
            f"folder that holds it by --data or by the environment variable {VARIABLE}; {ELSEWHERE}"
        ) from error


def _some(names: Sequence[str]) -> str:
    """Return the first few names, for a sentence."""
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    return ", ".join(names[:3]) + more
