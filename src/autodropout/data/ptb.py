"""Penn Treebank, word level: the Wall Street Journal in Mikolov's lower-cased form of 10,000 words."""

import hashlib
import os
from functools import lru_cache
from pathlib import Path

from autodropout.data.text import END, Corpus, CorpusSize, numbered
from autodropout.errors import DataError

VARIABLE = "AUTODROPOUT_DATA"
"""Environment variable that names the folder of data sets."""

SOURCE = "https://github.com/tomsercu/lstm/tree/master/data"

_CHECKSUMS = {
    "ptb.train.txt": "fcea919f6cf83f35d4d00c6cbf08040d13d4155226340912e2fef9c9c4102cbf",
    "ptb.valid.txt": "c9fe6985fe0d4ccb578183407d7668fc6066c20700cb4cf87d8ff1cc34df1bf2",
    "ptb.test.txt": "dd65dff31e70846b2a6030a87482edcd5d199130cdcfa1f3dccbb033728deee0",
}


def data_folder(folder: str | None = None) -> Path:
    """Return the folder of data sets: the one given, or the environment's.

    Args:
        folder: None stands for what the variable ``AUTODROPOUT_DATA`` says, ``data`` where it is not set.
    """
    return Path(folder or os.environ.get(VARIABLE) or "data")


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
    return _load(data_folder(folder).absolute() / "ptb", size or CorpusSize())


@lru_cache(maxsize=4)
def _load(folder: Path, size: CorpusSize) -> Corpus:
    train, validation, test = (_words(folder / name) for name in _CHECKSUMS)
    return numbered(train, validation, test, size)


def _words(file: Path) -> list[str]:
    try:
        content = file.read_bytes()
    except OSError as error:
        raise DataError(
            f"Penn Treebank is not at {file} ({error.strerror}); download {', '.join(_CHECKSUMS)} from "
            f"{SOURCE} into a folder ptb/, and name the folder that holds ptb/ by --data or by the "
            f"environment variable {VARIABLE}"
        ) from error
    if hashlib.sha256(content).hexdigest() != _CHECKSUMS[file.name]:
        raise DataError(
            f"{file} is not the Penn Treebank file of that name: its SHA-256 is not "
            f"{_CHECKSUMS[file.name][:12]}...; download it again from {SOURCE}"
        )
    return content.decode().replace("\n", f" {END} ").split()
