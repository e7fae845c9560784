"""The images of demystifying.py, brought into the shape in which each of its networks sees them."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

from torch import Tensor

from autodropout.data.augmentation import Crops, Flips
from autodropout.data.cifar import Cifar
from autodropout.data.cifar_small import CifarSmall
from autodropout.data.images import ImageData, chosen, image_data, scaled, shrunk
from autodropout.data.mnist import load_mnist
from autodropout.data.splits import Examples
from autodropout.data.svhn import Svhn
from autodropout.data.whitening import Zca, contrast_normalised
from autodropout.tasks.batches import Batch, shuffled_batches
from autodropout.tasks.images.batches import Changes, ImageBatches

Name = Literal["mnist", "cifar10", "cifar100", "svhn"]
Looks = Literal["unit", "mean-image", "channels", "whitened"]
"""Pixels times 1/256; pixels from 0 to 255 less the training images' mean image; channels of mean 0 and
deviation 1; contrast-normalised and whitened."""

CHUNK = 500


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Prepared:
    """Images as a network sees them.

    Attributes:
        train: float32, or uint8 where ``changes`` scales each batch.
        test: float32.
        num_classes: Classes there are.
        changes: What happens to each batch of training images; None leaves them alone.
    """

    train: Examples
    test: Examples
    num_classes: int
    changes: Changes | None = None

    def batches(self, batch_size: int, seed: int) -> Iterable[Batch]:
        """Return the batches of a training."""
        if self.changes is None:
            return shuffled_batches(self.train, batch_size, seed)
        return ImageBatches(examples=self.train, batch_size=batch_size, seed=seed, change=self.changes)


@lru_cache(maxsize=1)
def prepared(data: Name, looks: Looks, augment: bool, size: tuple[int, int], folder: str | None) -> Prepared:
    """Read images and bring them into the shape in which a network sees them.

    Args:
        data: Name of the data set.
        looks: See ``Looks``.
        augment: Whether images are cropped out of their padding and mirrored.
        size: Training images and their side, of the small sibling; 0 images are all.
        folder: Folder of data sets.

    Raises:
        DataError: They are not there, or damaged.
    """
    if data == "mnist":
        splits = load_mnist(folder)
        count = size[0] or len(splits.train)
        part = Examples(inputs=splits.train.inputs[:count], labels=splits.train.labels[:count])
        return Prepared(train=_unit(part), test=_unit(splits.test), num_classes=10)
    found = _images(data, *size, folder)
    train, test = found.splits.train, found.splits.test
    if looks == "channels":
        changes = Changes(
            mean=found.mean, deviation=found.deviation, stored=(Crops(), Flips()) if augment else ()
        )
        seen = Examples(inputs=scaled(test.inputs, found.mean, found.deviation), labels=test.labels)
        return Prepared(train=train, test=seen, num_classes=found.num_classes, changes=changes)
    if looks == "mean-image":
        mean = train.inputs.float().mean(0)
        return _through(lambda images: images.float() - mean, train, test, found.num_classes)
    normalised = contrast_normalised(train.inputs)
    whitened = Zca.fitted(normalised)
    return _through(lambda images: whitened(contrast_normalised(images)), train, test, found.num_classes)


def _images(data: Name, small: int, side: int, folder: str | None) -> ImageData:
    if data == "svhn":
        found = Svhn(num_validation=0).load(folder)
        few = chosen(found.splits.train, range(small))
        parts = (few, found.splits.validation, found.splits.test)
        return image_data(*(shrunk(part, side) for part in parts)) if small else found
    classes: Literal[10, 100] = 10 if data == "cifar10" else 100
    if not small:
        return Cifar(classes=classes, num_validation=0).load(folder)
    return CifarSmall(classes=classes, num_train=small, small_side=side).load(folder)


def _unit(part: Examples) -> Examples:
    """Return images whose white is 255/256, as Caffe's example has them."""
    return Examples(inputs=part.inputs * (255 / 256), labels=part.labels)


def _through(see: Callable[[Tensor], Tensor], train: Examples, test: Examples, num_classes: int) -> Prepared:
    parts = [Examples(inputs=see(part.inputs), labels=part.labels) for part in (train, test)]
    return Prepared(train=parts[0], test=parts[1], num_classes=num_classes)


def chunks(examples: Examples) -> Iterable[tuple[Tensor, Tensor]]:
    """Return all examples in their order, some at a time."""
    return zip(examples.inputs.split(CHUNK), examples.labels.split(CHUNK), strict=True)
