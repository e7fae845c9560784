"""What a data set looks like to a task: examples, split three ways."""

import hashlib
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from autodropout.errors import DataError


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Examples:
    """Inputs and their labels.

    Attributes:
        inputs: float32 images or int64 tokens, the examples along the first axis.
        labels: int64, shape (examples,), or (examples, tokens) where each token has one.
    """

    inputs: Tensor
    labels: Tensor

    def __len__(self) -> int:
        return len(self.labels)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Splits:
    """Three parts of a data set that share no example.

    Attributes:
        train: What a model learns from.
        validation: What a search sees: the reward comes from here.
        test: Held out. Its figures are recorded and reported, never taught.
    """

    train: Examples
    validation: Examples
    test: Examples


def check_checksum(name: str, checksum: str, *arrays: NDArray[np.uint8]) -> None:
    """Compare the SHA-256 of the arrays' bytes, one after the other, with the expected one.

    Raises:
        DataError: They differ.
    """
    digest = hashlib.sha256()
    for array in arrays:
        digest.update(np.ascontiguousarray(array).tobytes())
    if digest.hexdigest() != checksum:
        raise DataError(
            f"the data set {name} has checksum {digest.hexdigest()[:12]}...; expected {checksum[:12]}...: "
            "it is damaged or another version; install or download it again"
        )
