"""Whether what a language model is called with are numbers of words."""

import torch
from torch import Tensor

from autodropout.errors import ShapeError, UsageError


def check_numbers(tokens: Tensor) -> None:
    """Refuse tokens of another dtype.

    Raises:
        ShapeError: They are no whole numbers.
    """
    if tokens.dtype not in (torch.int64, torch.int32):
        raise ShapeError(f"tokens are {tokens.dtype}; expected torch.int64, the numbers of words")


def check_within(tokens: Tensor, vocabulary: int) -> None:
    """Refuse tokens that are numbers of no words; where they are on a GPU this waits for it.

    Args:
        tokens: Whole numbers, at least one.
        vocabulary: How many words there are.

    Raises:
        UsageError: One is outside.
    """
    least, most = int(tokens.min()), int(tokens.max())
    if least < 0 or most >= vocabulary:
        raise UsageError(f"tokens are from {least} to {most}; expected 0 to {vocabulary - 1}, the vocabulary")
