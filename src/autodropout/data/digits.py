"""Handwritten digits that ship inside scikit-learn: 1,797 real images of 8x8 pixels, no download."""

from functools import lru_cache

import numpy as np
import torch
from numpy.typing import NDArray

from autodropout.data.splits import Examples, Splits, check_checksum
from autodropout.errors import DataError, UsageError

NUM_CLASSES = 10
NUM_EXAMPLES = 1797
SIDE = 8
"""Height and width of an image in pixels."""

_CHECKSUM = "87ff0c9e40dc7e2c0e34e7257799c2e3f3aec1a016363bb11cad869ec428a826"
_LARGEST = 16  # a pixel counts the ink in a 4x4 field of the original scan
_FEWEST = 174  # examples of the rarest digit
_SPLIT_SEED = 0


@lru_cache(maxsize=4)
def load_digits(num_train: int = 300) -> Splits:
    """Return the digits, split once and for ever.

    Each digit gives ``num_train`` / 10 training images; its others go in turn to validation and test.
    The order is drawn by NumPy's frozen generator, so that every machine has the same split.

    Args:
        num_train: Training images, a multiple of 10 from 10 to 1,720.

    Returns:
        float32 images in [0, 1], shape (examples, 1, 8, 8), and int64 labels; with 300 training images
        there are 751 for validation and 746 for the test.

    Raises:
        DataError: scikit-learn is not installed, or ships other data.
        UsageError: num_train is out of range.
    """
    per_class, rest = divmod(num_train, NUM_CLASSES)
    if rest or not 1 <= per_class <= _FEWEST - 2:
        raise UsageError(
            f"num_train is {num_train!r}; expected a multiple of {NUM_CLASSES} "
            f"from {NUM_CLASSES} to {NUM_CLASSES * (_FEWEST - 2)}"
        )
    images, labels = _read()
    check_checksum("digits", _CHECKSUM, images, labels)
    train, validation, test = _split(labels, per_class)
    return Splits(
        train=_examples(images, labels, train),
        validation=_examples(images, labels, validation),
        test=_examples(images, labels, test),
    )


def _read() -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    try:
        from sklearn import datasets
    except ImportError as error:
        raise DataError(
            "the digits come with scikit-learn, which is not installed; "
            "install it with: pip install scikit-learn"
        ) from error
    bunch = datasets.load_digits()
    return bunch.images.astype(np.uint8), bunch.target.astype(np.uint8)


def _split(labels: NDArray[np.uint8], per_class: int) -> tuple[list[int], list[int], list[int]]:
    seen = [0] * NUM_CLASSES
    parts: tuple[list[int], list[int], list[int]] = ([], [], [])
    for index in np.random.RandomState(_SPLIT_SEED).permutation(len(labels)).tolist():
        rank = seen[labels[index]]
        parts[0 if rank < per_class else 1 + (rank - per_class) % 2].append(index)
        seen[labels[index]] += 1
    return parts


def _examples(images: NDArray[np.uint8], labels: NDArray[np.uint8], indices: list[int]) -> Examples:
    return Examples(
        inputs=torch.from_numpy(images[indices]).float().div_(_LARGEST).unsqueeze(1),
        labels=torch.from_numpy(labels[indices]).long(),
    )
