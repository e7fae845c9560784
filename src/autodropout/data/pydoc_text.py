"""The text that ships inside Python: what ``help()`` says about the language's topics, no download."""

import platform
import re
from functools import lru_cache

import numpy as np

from autodropout.data.text import END, Corpus, CorpusSize, numbered
from autodropout.errors import DataError

VERSION = platform.python_version()
"""The text changes with Python's version, so that figures on it hold for one version only."""

_SHARES = (0.5, 0.75)  # where validation and test begin
_SPLIT_SEED = 0
_TOKEN = re.compile(r"[a-z]+|[0-9]+|([^\sa-z0-9])\1*")


@lru_cache(maxsize=4)
def load_pydoc(size: CorpusSize | None = None) -> Corpus:
    """Return the text of ``pydoc_data.topics`` over its most frequent words.

    The topics, in an order drawn once, are put one after the other; a paragraph that several topics share
    is kept where it first comes, so that no part of the text repeats what is in another. The first half is
    for training, a quarter each for validation and test. Letters are lower-cased; a run of one sign, such as
    a rule below a title, is one token; each paragraph ends with ``<eos>``.

    Args:
        size: How much to take of each part; None for the sizes of ``CorpusSize``.

    Raises:
        DataError: This Python has no such text, or it is shorter than asked for.
    """
    words = _words()
    first, second = (int(share * len(words)) for share in _SHARES)
    return numbered(words[:first], words[first:second], words[second:], size or CorpusSize())


def _words() -> list[str]:
    topics = _topics()
    names = sorted(topics)
    order = np.random.RandomState(_SPLIT_SEED).permutation(len(names))
    paragraphs = dict.fromkeys(
        " ".join(paragraph.split())
        for place in order.tolist()
        for paragraph in topics[names[place]].lower().split("\n\n")
    )
    return [
        word
        for paragraph in paragraphs
        if paragraph
        for word in (*(found.group() for found in _TOKEN.finditer(paragraph)), END)
    ]


def _topics() -> dict[str, str]:
    try:
        from pydoc_data.topics import topics
    except ImportError as error:
        raise DataError(
            "this Python has no module pydoc_data.topics, the text of its help(); "
            "use another build of Python, or another task"
        ) from error
    return topics
