"""Photographs in a folder for each class, as ImageNet comes: too many for memory, read when needed."""

import hashlib
from collections.abc import Iterator, Sequence
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

    Attributes:
        folder: Subfolder of the folder of data sets.
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

    folder: str = "imagenet"
    classes: int = 1000
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
        size = "ImageNet (ILSVRC 2012), 145 GiB" if self.folder == "imagenet" else "photographs"
        return f"{size}: {self.folder}/train/CLASS/*.JPEG and {self.folder}/val/CLASS/*.JPEG below {VARIABLE}"

    def check(self, folder: str | None) -> None:
        """Raise a DataError where the folders of all classes are not there; no image is looked at."""
        for part in ("train", "val"):
            _classes(data_folder(folder).absolute() / self.folder / part, self.classes)

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
    names = _classes(place / "train", source.classes)
    if _classes(place / "val", source.classes) != names:
        raise DataError(f"{place} has other classes in train/ than in val/; expected the same names")
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
    return sorted(path for path in folder.iterdir() if path.suffix.lower() in _ENDINGS)


def _files(pairs: Sequence[tuple[Path, int]], side: int) -> Files:
    return Files(tuple(path for path, _ in pairs), tuple(label for _, label in pairs), side)


def _classes(folder: Path, count: int) -> list[str]:
    try:
        names = sorted(child.name for child in _folders(folder))
    except OSError as error:
        raise DataError(
            f"there are no photographs at {folder} ({error.strerror}); ImageNet is downloaded from "
            "https://image-net.org after registration and unpacked into a folder for each class; name the "
            f"folder that holds it by --data or by the environment variable {VARIABLE}; {ELSEWHERE}"
        ) from error
    if len(names) != count:
        raise DataError(
            f"{folder} has {len(names)} folders of classes; expected {count}: is it the right folder, and "
            "unpacked to the end?"
        )
    return names


def _folders(folder: Path) -> Iterator[Path]:
    return (child for child in folder.iterdir() if child.is_dir())
