"""Parts of a data set drawn once and for ever, from a seed that is written down."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from autodropout.errors import UsageError

Places = NDArray[np.int64]

SPLIT_SEED = 0
"""Seed of every split of images here; NumPy's RandomState is frozen, so that all machines draw the same."""


def held_out(labels: NDArray[np.generic], count: int, seed: int = SPLIT_SEED) -> tuple[Places, Places]:
    """Return the places of what is left and of ``count`` examples to hold out, classes held in proportion.

    Each class gives its share of the ``count``; what rounding leaves over comes from the largest remainders,
    lower classes first. The paper says 10% of CIFAR-10's training set and not which: here 500 of each class.

    Args:
        labels: Class of each example.
        count: Examples to hold out, from 0 to all.
        seed: Of the draw.

    Returns:
        Two rising sequences of places, which together are all.

    Raises:
        UsageError: The count is out of range.
    """
    if isinstance(count, bool) or not 0 <= count <= len(labels):
        raise UsageError(f"{count!r} examples are to be held out; expected a number from 0 to {len(labels)}")
    classes, sizes = np.unique(labels, return_counts=True)
    quotas = _quotas(sizes, count)
    random = np.random.RandomState(seed)
    held = np.zeros(len(labels), bool)
    for number, quota in zip(classes, quotas, strict=True):
        places = random.permutation(np.flatnonzero(labels == number))
        held[places[:quota]] = True
    return np.flatnonzero(~held), np.flatnonzero(held)


@dataclass(frozen=True, slots=True, eq=False)
class FewLabels:
    """A training set of which only some examples show their label.

    Attributes:
        labelled: Places of the examples to learn from with their labels.
        validation: Places of those whose labels give the reward.
        unlabelled: Places of the examples to learn from without labels: all, as in the papers that UDA
            compares with, whether or not their label is known elsewhere.
    """

    labelled: Places
    validation: Places
    unlabelled: Places


def few_labels(
    labels: NDArray[np.generic], count: int, num_validation: int, seed: int = SPLIT_SEED
) -> FewLabels:
    """Draw the few examples that show their label, the same number of each class, and split them.

    The paper has 4,000 labels on CIFAR-10, split into 3,600 and 400.

    Args:
        labels: Class of each training example.
        count: Labels shown, validation included.
        num_validation: How many of them are for validation.
        seed: Of the draw.

    Raises:
        UsageError: A number is out of range.
    """
    _, shown = held_out(labels, count, seed)
    labelled, validation = held_out(labels[shown], num_validation, seed + 1)
    return FewLabels(shown[labelled], shown[validation], np.arange(len(labels)))


def _quotas(sizes: NDArray[np.int64], count: int) -> NDArray[np.int64]:
    whole, remainders = np.divmod(sizes * count, sizes.sum())
    largest = np.argsort(-remainders, kind="stable")[: count - whole.sum()]
    whole[largest] += 1
    quotas: NDArray[np.int64] = whole
    return quotas
