"""A parallel corpus as a translation task takes it: one vocabulary, three parts as numbers."""

import logging
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import torch

from autodropout.data.parallel import Pairs, ParallelFiles
from autodropout.data.sentences import NumberedPairs, numbered_pairs
from autodropout.data.subwords import Subwords, SubwordSettings, kept
from autodropout.errors import DataError

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class TranslationCorpus:
    """A parallel corpus as numbers.

    Attributes:
        train: What a model learns from.
        validation: What a search sees.
        test: Held out.
        references: The test's translations as text.
        subwords: The vocabulary.
    """

    train: NumberedPairs
    validation: NumberedPairs
    test: NumberedPairs
    references: tuple[str, ...]
    subwords: Subwords


@dataclass(frozen=True, slots=True, kw_only=True)
class CorpusSettings:
    """What is made of a parallel corpus.

    Attributes:
        subwords: The vocabulary, learned from both languages' training text.
        num_train: Sentence pairs from the beginning of the training text; None for all.
        longest: Most subwords of a sentence with its ends; longer training pairs are left out, others are
            an error.
    """

    subwords: SubwordSettings
    num_train: int | None = None
    longest: int = 256


@lru_cache(maxsize=2)
def load_translation(files: ParallelFiles, data: Path, settings: CorpusSettings) -> TranslationCorpus:
    """Return a parallel corpus as numbers; the last two are remembered.

    How many training pairs are left out as too long is logged at INFO.

    Args:
        files: Where it lies.
        data: The folder of data sets, absolute.
        settings: What to make of it.

    Raises:
        DataError: A file is missing or damaged, the text is too short, or a sentence of validation or test
            is too long.
    """
    train, validation, test = (files.read(data, part) for part in ("train", "validation", "test"))
    train = _first(train, settings.num_train)
    vocabulary = kept([train.source, train.target], settings.subwords)
    numbered = numbered_pairs(train, vocabulary, settings.longest)
    if left_out := len(train) - len(numbered):
        _log.info(
            "%d of %d training pairs are left out: one side has more than %d subwords with its ends",
            left_out,
            len(train),
            settings.longest,
        )
    return TranslationCorpus(
        train=numbered,
        validation=_whole("validation", validation, vocabulary, settings.longest),
        test=_whole("test", test, vocabulary, settings.longest),
        references=test.target,
        subwords=vocabulary,
    )


def _first(pairs: Pairs, number: int | None) -> Pairs:
    if number is not None and number > len(pairs):
        raise DataError(f"the training text has {len(pairs)} sentence pairs; expected at least {number}")
    return Pairs(source=pairs.source[:number], target=pairs.target[:number])


def _whole(part: str, pairs: Pairs, vocabulary: Subwords, longest: int) -> NumberedPairs:
    numbered = numbered_pairs(pairs, vocabulary)
    lengths = torch.maximum(numbered.source.lengths, numbered.target.lengths)
    if int(lengths.max()) > longest:
        row = int(lengths.argmax())
        raise DataError(
            f"line {row + 1} of the {part} text has {int(lengths[row])} subwords with its ends; expected at "
            f"most {longest}: shorten it or take it out of the files of both languages; in Python a recipe "
            "may allow more (CorpusSettings.longest)"
        )
    return numbered
