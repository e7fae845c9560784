"""A few thousand images of CIFAR-10 or CIFAR-100, drawn once, at a lower resolution."""

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from autodropout.data.cifar import SMALL_FILE, Arrays, check_cifar, read_cifar
from autodropout.data.drawing import held_out
from autodropout.data.files import VARIABLE, data_folder
from autodropout.data.images import ImageData, chosen, examples, image_data, shrunk
from autodropout.data.splits import Examples
from autodropout.data.strips import check_arrays, check_bytes, read_arrays, read_strips, strip_files

_SUBSET = "cifar100-subset"
_SUBSET_CHECKSUMS = {
    "x_train": "bfd8a86f095aa68c25e19f6e68ba20518b7e0d86715776400f15c04cf519f47b",
    "x_test": "be2594cff4e548b6f5b872de2800b8bb852aa7fa60450e7098ce041ef9e094f9",
    "y_train": "7335f3ca04ad4876c5479947470a13b869b8fe2143b1077bb51b95a0c23892b1",
    "y_test": "295ffbd9866862d33ccf9f4f70ab2915d9d79fb9229a4eb5d7a594f706af9b69",
}
_SUBSET_LABELS = ("y_train", "y_test")
_SUBSET_STRIPS = {"train": 20, "test": 4}
_SMALL_CHECKSUMS = {
    "x_train": "c9352c712184e0c51d0feb2dad7a119be32ee28c15ac5888506355da38d34e55",
    "y_train": "67e83c6b609e9f7cf6d5b47ab80929986b45fe4ed1811ce3c09900f973314ee1",
    "x_valid": "5675c6aa167557bf33053ac997256d08c31265e354990e65c5fe9c8681e94761",
    "y_valid": "1c3cd30c13b3d00f0d4297c63c54dae58c3a3ceab57f7457b4b33964f09bbfb8",
    "x_test": "a6c9442311c2e4d1ffa10ad02c9d0b94cedbb309065218c979d03fdc9f2f391e",
    "y_test": "357fda05a6d609085d9f15f993fa2bdec5cb84c4603d068c7aff05021ba45c15",
}

# The compact form of CIFAR-10 has these of its 60,000 images only as JPEGs; they are never drawn.
# fmt: off
_LOSSY = frozenset((
    4298, 5949, 7066, 7237, 7248, 7630, 8006, 8831, 8968, 9415, 10336, 10408, 12762, 12834, 13546,
    21493, 25728, 26098, 26927, 27621, 28435, 28728, 29694, 29747, 30329, 31066, 31367, 31462, 31625,
    31663, 32777, 33641, 33661, 34067, 34276, 34387, 34825, 35160, 35646, 36733, 37329, 37474, 37567,
    38384, 38925, 39358, 39385, 39613, 39840, 39888, 39971, 40805, 41779, 42004, 42389, 42611, 43357,
    43883, 44882, 45168, 45240, 46175, 46435, 46538, 46624, 47393, 47597, 48081, 48124, 48333, 48821,
    48836, 49321, 49429, 49631, 49830, 49857, 50722, 51259, 51369, 51422, 52245, 52737, 52935, 53695,
    53718, 54085, 54496, 55791, 55896, 56286, 57580, 57707, 57724, 57832, 58117, 58551, 59254,
))
# fmt: on


@dataclass(frozen=True, slots=True, kw_only=True)
class CifarSmall:
    """A few thousand images of CIFAR-10 or CIFAR-100, drawn once, and at a lower resolution.

    Of CIFAR-10, 12,000 images to train, 2,000 for validation and 3,000 for the test were drawn once; of
    CIFAR-100 the first 100 images of each class for training and validation, and the first 20 for the test.
    They are read from compact files where those are, ``cifar10-small.npz`` and ``cifar100-subset``, and from
    the whole set otherwise; checksums say that it is the same images either way.

    Attributes:
        classes: 10 or 100.
        num_train: Images to learn from; fewer than there are keep the share of each class.
        num_validation: Images for the reward.
        small_side: Height and width they are shrunk to: a divisor of 32.
    """

    channels: ClassVar[int] = 3

    classes: Literal[10, 100] = 10
    num_train: int = 4000
    num_validation: int = 2000
    small_side: int = 16

    @property
    def num_classes(self) -> int:
        """Classes there are."""
        return self.classes

    @property
    def side(self) -> int:
        """Height and width of an image in pixels."""
        return self.small_side

    @property
    def needs(self) -> str:
        """Which files it needs and where they are looked for."""
        if self.classes == 10:
            return f"part of CIFAR-10, 38 MiB: {SMALL_FILE} below {VARIABLE}, or all of CIFAR-10"
        return f"part of CIFAR-100, 19 MiB: {_SUBSET}/ below {VARIABLE}, or all of CIFAR-100"

    def check(self, folder: str | None) -> None:
        """Raise a DataError where a file is missing or too short; what is in them is not read."""
        place = data_folder(folder).absolute()
        if self.classes == 10 and (place / SMALL_FILE).exists():
            check_arrays(place / SMALL_FILE, tuple(_SMALL_CHECKSUMS))
        elif self.classes == 100 and (place / _SUBSET).is_dir():
            check_arrays(place / _SUBSET / "index.npz", _SUBSET_LABELS)
            for part, count in _SUBSET_STRIPS.items():
                strip_files(place / _SUBSET, part, count)
        else:
            check_cifar(place, self.classes)

    def load(self, folder: str | None) -> ImageData:
        """Return the images, split."""
        return _part(data_folder(folder).absolute(), self)


@lru_cache(maxsize=4)
def _part(folder: Path, source: CifarSmall) -> ImageData:
    if source.classes == 10:
        train, validation, test = (shrunk(part, source.small_side) for part in _parts_of_10(folder))
        _, kept = held_out(train.labels.numpy(), source.num_train)
        _, rewarding = held_out(validation.labels.numpy(), source.num_validation)
        return image_data(chosen(train, kept), chosen(validation, rewarding), test)
    train, test = (shrunk(part, source.small_side) for part in _parts_of_100(folder))
    rest, held = held_out(train.labels.numpy(), source.num_validation)
    _, kept = held_out(train.labels.numpy()[rest], source.num_train)
    return image_data(chosen(train, rest[kept]), chosen(train, held), test)


def _parts_of_10(folder: Path) -> tuple[Examples, ...]:
    """Return 12,000 images to train, 2,000 for validation and 3,000 for the test."""
    if (folder / SMALL_FILE).exists():
        arrays = read_arrays(folder / SMALL_FILE, tuple(_SMALL_CHECKSUMS))
    else:
        arrays = _drawn_from(read_cifar(folder, 10))
    for array, (name, checksum) in zip(arrays, _SMALL_CHECKSUMS.items(), strict=True):
        check_bytes(f"the part {name} of CIFAR-10 in {folder}", array, checksum)
    pairs = zip(arrays[::2], arrays[1::2], strict=True)
    return tuple(examples(images.astype(np.uint8, copy=False), labels) for images, labels in pairs)


def _drawn_from(whole: Arrays) -> list[NDArray[np.generic]]:
    """Draw from all of CIFAR-10 what the small file holds, byte for byte."""
    random = np.random.default_rng(0)
    train, test = (
        np.asarray([place for place in random.permutation(count) if shift + place not in _LOSSY])
        for count, shift in ((50_000, 0), (10_000, 50_000))
    )
    images, labels, test_images, test_labels = whole
    found: list[NDArray[np.generic]] = []
    for pixels, classes, places in (
        (images, labels, train[:12_000]),
        (images, labels, train[12_000:14_000]),
        (test_images, test_labels, test[:3000]),
    ):
        order = np.sort(places)
        found += [pixels[order], classes[order].astype(np.uint8)]
    return found


def _parts_of_100(folder: Path) -> tuple[Examples, Examples]:
    """Return the first 100 training and the first 20 test images of each class, sorted by class."""
    place = folder / _SUBSET
    if place.is_dir():
        labels = read_arrays(place / "index.npz", _SUBSET_LABELS)
        images = [read_strips(strip_files(place, part, count)) for part, count in _SUBSET_STRIPS.items()]
    else:
        whole = read_cifar(folder, 100)
        orders = [_first(whole[1], 100), _first(whole[3], 20)]
        labels = [whole[1][orders[0]], whole[3][orders[1]]]
        images = [whole[0][orders[0]], whole[2][orders[1]]]
    found = (*images, *(classes.astype(np.uint8) for classes in labels))
    for array, (name, checksum) in zip(found, _SUBSET_CHECKSUMS.items(), strict=True):
        check_bytes(f"the part {name} of CIFAR-100 in {folder}", array, checksum)
    train, test = (examples(pixels, classes) for pixels, classes in zip(images, labels, strict=True))
    return train, test


def _first(labels: NDArray[np.generic], count: int) -> NDArray[np.int64]:
    """Return the places of the first ``count`` examples of each class, sorted by class."""
    return np.concatenate([np.flatnonzero(labels == number)[:count] for number in np.unique(labels)])
