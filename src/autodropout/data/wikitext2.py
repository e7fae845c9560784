"""WikiText-2, word level: 720 articles of Wikipedia (Merity, Xiong, Bradbury and Socher 2017)."""

from functools import lru_cache
from pathlib import Path

from autodropout.data.files import Published, data_folder
from autodropout.data.text import Corpus, CorpusSize, numbered, words_of

SOURCE = "https://github.com/pytorch/examples/tree/main/word_language_model/data/wikitext-2"

WHOLE_WIKITEXT2 = CorpusSize(vocabulary=33_278, train=2_088_628, validation=217_646, test=245_569)
"""All of it, over its full vocabulary."""

_RAW = "https://raw.githubusercontent.com/pytorch/examples/main/word_language_model/data/wikitext-2"
_CHECKSUMS = {
    "wiki.train.tokens": "9e9fa1ad55b1c2c95b08e37dd8e653f638fac2c6de904b79e813611eefbc985f",
    "wiki.valid.tokens": "f0737ed31fc1329026e95cb8b98e19c2a182c39c240ab909dc31abf2f8af58e8",
    "wiki.test.tokens": "d790b833ef8cf03a90db7bf1271b7520b83c45ce07ba3c1a9699df81e239eca0",
}


def check_wikitext2(folder: str | None = None) -> None:
    """Look for the three files without making numbers of their words.

    Args:
        folder: Folder of data sets, see ``autodropout.data.files.data_folder``.

    Raises:
        DataError: A file is missing or damaged.
    """
    wikitext2_files().read(data_folder(folder))


def load_wikitext2(folder: str | None = None, size: CorpusSize | None = None) -> Corpus:
    """Return the beginning of WikiText-2's three texts over its most frequent words.

    The files ``wiki.train.tokens``, ``wiki.valid.tokens`` and ``wiki.test.tokens`` are looked for in the
    subfolder ``wikitext-2``. Each line, empty ones included, ends with ``<eos>``. Words keep their case.

    Args:
        folder: Folder of data sets, see ``autodropout.data.files.data_folder``.
        size: How much to take; None for the sizes of ``CorpusSize``, ``WHOLE_WIKITEXT2`` for all.

    Raises:
        DataError: A file is missing or damaged, or the text is shorter than asked for.
    """
    return _load(data_folder(folder).absolute(), size or CorpusSize())


@lru_cache(maxsize=4)
def _load(data: Path, size: CorpusSize) -> Corpus:
    train, validation, test = map(words_of, wikitext2_files().texts(data))
    return numbered(train, validation, test, size)


def wikitext2_files() -> Published:
    """Return which files they are and where they come from."""
    first, second, third = _CHECKSUMS
    return Published(
        title="WikiText-2",
        folder="wikitext-2",
        checksums=_CHECKSUMS,
        advice=f"train.txt, valid.txt and test.txt from {SOURCE} as {first}, {second} and {third}",
        addresses={name: f"{_RAW}/{name.split('.')[1]}.txt" for name in _CHECKSUMS},
    )
