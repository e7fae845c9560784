"""Running text as a language model needs it: token numbers, split three ways, cut into windows."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from autodropout.data.splits import Examples
from autodropout.errors import DataError, UsageError

UNKNOWN = "<unk>"
"""Stands for every word outside the vocabulary."""

END = "<eos>"
"""Ends a line or paragraph."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Corpus:
    """Three running texts as token numbers.

    Attributes:
        train: int64, (tokens,); what a model learns from.
        validation: Likewise; what a search sees.
        test: Likewise, held out.
        vocabulary: The word of each token number.
    """

    train: Tensor
    validation: Tensor
    test: Tensor
    vocabulary: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class CorpusSize:
    """How much of a text to take.

    Attributes:
        vocabulary: Words kept, the most frequent ones of the whole training text; ``<unk>`` is one of them.
        train: Tokens from the beginning of the training text.
        validation: Tokens from the beginning of the validation text.
        test: Tokens from the beginning of the test text.

    Raises:
        UsageError: A size is below 2.
    """

    vocabulary: int = 500
    train: int = 9_000
    validation: int = 10_000
    test: int = 10_000

    def __post_init__(self) -> None:
        for name in ("vocabulary", "train", "validation", "test"):
            if getattr(self, name) < 2:
                raise UsageError(f"{name} is {getattr(self, name)!r}; expected at least 2")


def words_of(text: str) -> list[str]:
    """Return the words between blanks, ``<eos>`` at the end of each line, empty lines included."""
    return text.replace("\n", f" {END} ").split()


def numbered(
    train: Sequence[str], validation: Sequence[str], test: Sequence[str], size: CorpusSize
) -> Corpus:
    """Return the beginning of three texts as numbers, rare words as ``<unk>``.

    The most frequent word is number 0; of equally frequent words the one that comes first in the
    alphabet precedes.

    Args:
        train: Words of the training text; all of them are counted for the vocabulary.
        validation: Words of the validation text.
        test: Words of the test text.
        size: How much to take.

    Raises:
        DataError: A text is shorter than that, or has fewer different words.
    """
    vocabulary = _vocabulary(train, size.vocabulary)
    numbers = {word: number for number, word in enumerate(vocabulary)}

    def part(name: str, words: Sequence[str], length: int) -> Tensor:
        if len(words) < length:
            raise DataError(f"the {name} text has {len(words)} tokens; expected at least {length}")
        return torch.tensor([numbers.get(word, numbers[UNKNOWN]) for word in words[:length]])

    return Corpus(
        train=part("training", train, size.train),
        validation=part("validation", validation, size.validation),
        test=part("test", test, size.test),
        vocabulary=vocabulary,
    )


def windows(tokens: Tensor, length: int) -> Examples:
    """Cut a text into windows one after the other; what follows each token is its label.

    Args:
        tokens: int64, (tokens,).
        length: Tokens per window; an incomplete last window is left out.

    Returns:
        Inputs and labels, int64, (windows, length).

    Raises:
        UsageError: The text has not one whole window.
    """
    number = (len(tokens) - 1) // length
    if number < 1:
        raise UsageError(f"{len(tokens)} tokens make no window of {length}; expected at least {length + 1}")
    end = number * length
    return Examples(
        inputs=tokens[:end].view(number, length),
        labels=tokens[1 : end + 1].view(number, length),
    )


def _vocabulary(words: Sequence[str], size: int) -> tuple[str, ...]:
    counts = Counter(words)
    del counts[UNKNOWN]
    if len(counts) < size - 1:
        raise DataError(f"the training text has {len(counts) + 1} different words; expected at least {size}")
    kept = sorted(counts, key=lambda word: (-counts[word], word))[: size - 1]
    return (*kept, UNKNOWN)
