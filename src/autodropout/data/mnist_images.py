"""MNIST as image tasks read it: bytes, with the split of their own that a search needs."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from typing import ClassVar

from torch import Tensor

from autodropout.data.drawing import SPLIT_SEED, held_out
from autodropout.data.files import VARIABLE, data_folder
from autodropout.data.images import ImageData, chosen, image_data, shrunk
from autodropout.data.mnist import SIDE, check_mnist, load_mnist
from autodropout.data.source import ELSEWHERE
from autodropout.data.splits import Examples
from autodropout.errors import DataError


@dataclass(frozen=True, slots=True, kw_only=True)
class Mnist:
    """MNIST with its own test set; validation and training images are drawn from its 60,000 once.

    Attributes:
        num_train: Images to learn from, the same share of each class.
        num_validation: Images for the reward.
        small_side: Height and width they are shrunk to: 28, 14 or 7.
        seed: Of the draw.
    """

    num_classes: ClassVar[int] = 10
    channels: ClassVar[int] = 1

    num_train: int = 54_000
    num_validation: int = 6000
    small_side: int = SIDE
    seed: int = SPLIT_SEED

    @property
    def side(self) -> int:
        """Height and width of an image in pixels."""
        return self.small_side

    @property
    def needs(self) -> str:
        """Which files it needs and where they are looked for."""
        return f"MNIST, 11 MiB: the four files in mnist/ or MNIST/raw/ below {VARIABLE}"

    def check(self, folder: str | None) -> None:
        """Raise a DataError where a file is missing, or damaged as far as its size tells."""
        with _advised():
            check_mnist(data_folder(folder).absolute())

    def load(self, folder: str | None) -> ImageData:
        """Return the images, split."""
        return _load(str(data_folder(folder).absolute()), self)


@lru_cache(maxsize=4)
def _load(folder: str, source: Mnist) -> ImageData:
    with _advised():
        splits = load_mnist(folder)
    whole, test = _bytes(splits.train), _bytes(splits.test)
    rest, held = held_out(whole.labels.numpy(), source.num_validation, source.seed)
    _, kept = held_out(whole.labels.numpy()[rest], source.num_train, source.seed)
    train = chosen(whole, rest[kept])
    parts = (shrunk(part, source.small_side) for part in (train, chosen(whole, held), test))
    return image_data(*parts)


@contextmanager
def _advised() -> Iterator[None]:
    """Say what else can be run where files are missing."""
    try:
        yield
    except DataError as error:
        raise DataError(f"{error}; {ELSEWHERE}") from error


def _bytes(part: Examples) -> Examples:
    inputs: Tensor = (part.inputs * 255.0).round().byte()
    return Examples(inputs=inputs, labels=part.labels)
