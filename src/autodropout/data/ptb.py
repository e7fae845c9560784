"""Penn Treebank, word level: the Wall Street Journal in Mikolov's lower-cased form of 10,000 words."""

from functools import lru_cache
from pathlib import Path

from autodropout.data.files import VARIABLE as VARIABLE
from autodropout.data.files import Published
from autodropout.data.files import data_folder as data_folder
from autodropout.data.text import Corpus, CorpusSize, numbered, words_of

SOURCE = "https://github.com/tomsercu/lstm/tree/master/data"

_RAW = "https://raw.githubusercontent.com/tomsercu/lstm/master/data"
_CHECKSUMS = {
    "ptb.train.txt": "fcea919f6cf83f35d4d00c6cbf08040d13d4155226340912e2fef9c9c4102cbf",
    "ptb.valid.txt": "c9fe6985fe0d4ccb578183407d7668fc6066c20700cb4cf87d8ff1cc34df1bf2",
    "ptb.test.txt": "dd65dff31e70846b2a6030a87482edcd5d199130cdcfa1f3dccbb033728deee0",
}


WHOLE_PTB = CorpusSize(vocabulary=10_000, train=929_589, validation=73_760, test=82_430)
"""All of it, over its full vocabulary."""


def check_ptb(folder: str | None = None) -> None:
    """Look for the three files without making numbers of their words.

    Args:
        folder: Folder of data sets, see ``data_folder``.

    Raises:
        DataError: A file is missing or damaged.
    """
    ptb_files().read(data_folder(folder))


def load_ptb(folder: str | None = None, size: CorpusSize | None = None) -> Corpus:
    """Return the beginning of Penn Treebank's three texts over its most frequent words.

    The files ``ptb.train.txt``, ``ptb.valid.txt`` and ``ptb.test.txt`` are looked for in the subfolder
    ``ptb``. Each line is a sentence and ends with ``<eos>``.

    Args:
        folder: Folder of data sets, see ``data_folder``.
        size: How much to take; None for the sizes of ``CorpusSize``.

    Raises:
        DataError: A file is missing or damaged, or the text is shorter than asked for.
    """
    return _load(data_folder(folder).absolute(), size or CorpusSize())


@lru_cache(maxsize=4)
def _load(data: Path, size: CorpusSize) -> Corpus:
    train, validation, test = map(words_of, ptb_files().texts(data))
    return numbered(train, validation, test, size)


def ptb_files() -> Published:
    """Return which files they are and where they come from."""
    return Published(
        title="Penn Treebank",
        folder="ptb",
        checksums=_CHECKSUMS,
        advice=f"{', '.join(_CHECKSUMS)} from {SOURCE}",
        addresses={name: f"{_RAW}/{name}" for name in _CHECKSUMS},
    )
