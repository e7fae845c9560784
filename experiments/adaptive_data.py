"""The images of adaptive.py, at full size or as the small sibling has them."""

import io
import zipfile
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from autodropout.data.augmentation import Crops, Flips
from autodropout.data.cifar import Cifar
from autodropout.data.cifar_small import CifarSmall
from autodropout.data.files import data_folder
from autodropout.data.images import ImageData, examples, image_data, scaled, shrunk
from autodropout.data.photographs import Photographs
from autodropout.data.reading import middle_crops
from autodropout.data.source import ImageSource
from autodropout.data.splits import Examples
from autodropout.errors import DataError
from autodropout.tasks.batches import Batch
from autodropout.tasks.images.batches import Changes, ImageBatches, in_order
from autodropout.tasks.images.photograph_batches import PhotographBatches

Name = Literal["cifar10", "cifar100", "imagenet"]
TINY = "tiny-imagenet-10"
TINY_CLASSES = (
    "n01443537",
    "n02056570",
    "n02106662",
    "n02123045",
    "n02279972",
    "n02814860",
    "n04146614",
    "n04285008",
    "n04398044",
    "n07873807",
)
"""Those that our figures are of: goldfish, king penguin, German shepherd, tabby, monarch, beacon, school bus,
sports car, teapot, pizza."""

CHUNK = 250


@dataclass(frozen=True, slots=True, kw_only=True)
class Loaded:
    """Images that a network trains on and is tested on.

    Attributes:
        num_classes: Classes there are.
        batches: (images per batch, seed) to endless batches.
        test: Gives all test images, scaled, and labels, some at a time.
    """

    num_classes: int
    batches: Callable[[int, int], Iterable[Batch]]
    test: Callable[[], Iterable[tuple[Tensor, Tensor]]]


def check(name: Name, small: bool, folder: str | None) -> None:
    """Raise a DataError where the images are not there; what is in them is not read."""
    if (source := _source(name, small)) is not None:
        source.check(folder)
    elif not (place := _tiny_file(folder)).exists():
        raise DataError(
            f"there is no {place}; ImageNet's sibling is ten classes of Stanford's Tiny ImageNet, "
            f"{', '.join(TINY_CLASSES)}: zip their images as train/CLASS/*.JPEG and val/CLASS/*.JPEG"
        )


def load(name: Name, small: bool, folder: str | None, *, augment: bool = False) -> Loaded:
    """Return images; validation images are none of them.

    Args:
        name: Of the data set.
        small: Whether they are those of the sibling.
        folder: Folder of data sets.
        augment: Whether images are cropped out of their padding and mirrored; ImageNet's are changed anyway.

    Raises:
        DataError: They are not there, or damaged.
    """
    check(name, small, folder)
    if name == "imagenet" and not small:
        return _photographs(folder)
    return in_memory(_images(name, small, folder), augment=augment)


def _source(name: Name, small: bool) -> ImageSource | None:
    if name == "imagenet":
        return None if small else Photographs(validation_per_class=0)
    classes: Literal[10, 100] = 10 if name == "cifar10" else 100
    if small:
        return CifarSmall(classes=classes, num_train=4000 if classes == 10 else 8000)
    return Cifar(classes=classes, num_validation=0)


@lru_cache(maxsize=1)
def _images(name: Name, small: bool, folder: str | None) -> ImageData:
    source = _source(name, small)
    found = _tiny(_tiny_file(folder)) if source is None else source.load(folder)
    assert isinstance(found, ImageData)
    return found


def in_memory(data: ImageData, *, augment: bool = False) -> Loaded:
    """Return images that fit into memory."""
    stored = (Crops(), Flips()) if augment else ()
    changes = Changes(mean=data.mean, deviation=data.deviation, stored=stored)

    def batches(size: int, seed: int) -> Iterable[Batch]:
        return ImageBatches(examples=data.splits.train, batch_size=size, seed=seed, change=changes)

    def test() -> Iterable[tuple[Tensor, Tensor]]:
        for images, labels in in_order(data.splits.test, CHUNK):
            yield scaled(images, data.mean, data.deviation), labels

    return Loaded(num_classes=data.num_classes, batches=batches, test=test)


def _photographs(folder: str | None) -> Loaded:
    """Return ImageNet as it is usually read: random crops and flips to train, the middle to test."""
    data = Photographs(validation_per_class=0).load(folder)
    changes = Changes(mean=data.mean, deviation=data.deviation, stored=(Flips(),))
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")

    def batches(size: int, seed: int) -> Iterable[Batch]:
        return PhotographBatches(files=data.train, batch_size=size, seed=seed, change=changes, device=device)

    def test() -> Iterable[tuple[Tensor, Tensor]]:
        for images, labels in middle_crops(data.test, CHUNK):
            yield scaled(images, data.mean, data.deviation), labels

    return Loaded(num_classes=data.num_classes, batches=batches, test=test)


def _tiny_file(folder: str | None) -> Path:
    return data_folder(folder).absolute() / TINY / f"{TINY}.zip"


def _tiny(path: Path) -> ImageData:
    """Return ten classes of Tiny ImageNet at 32x32."""
    from PIL import Image

    parts: dict[str, list[tuple[np.ndarray[tuple[int, ...], np.dtype[np.uint8]], str]]] = {
        "train": [],
        "val": [],
    }
    try:
        with zipfile.ZipFile(path) as archive:
            for name in sorted(n for n in archive.namelist() if n.endswith(".JPEG")):
                part, kind, *_ = Path(name).parts[-3:]
                pixels = np.asarray(Image.open(io.BytesIO(archive.read(name))).convert("RGB"))
                parts[part].append((pixels, kind))
    except (OSError, ValueError, zipfile.BadZipFile) as error:
        raise DataError(f"{path} is damaged ({error}); copy it again") from error
    except KeyError as error:
        raise DataError(
            f"{path} has images in {error}; expected train/CLASS/*.JPEG and val/CLASS/*.JPEG"
        ) from error
    kinds = sorted({kind for _, kind in parts["train"]})
    if not kinds or {kind for _, kind in parts["val"]} != set(kinds):
        raise DataError(f"{path} has not the same classes in train and val; expected images of each in both")
    train, test = (
        shrunk(examples(np.stack([p for p, _ in part]), [kinds.index(kind) for _, kind in part]), 32)
        for part in parts.values()
    )
    nothing = Examples(inputs=train.inputs[:0], labels=train.labels[:0])
    return image_data(train, nothing, test)
