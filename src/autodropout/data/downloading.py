"""Published data sets, fetched when somebody asks for it: nothing else in this library does."""

import gzip
import hashlib
import logging
import os
import shutil
import zlib
from collections.abc import Callable, Mapping
from contextlib import suppress
from http.client import HTTPException
from pathlib import Path
from types import MappingProxyType
from urllib.request import urlopen

from autodropout.data.files import Remote, data_folder
from autodropout.data.multi30k import MULTI30K, MULTI30K_EN_FR
from autodropout.data.ptb import ptb_files
from autodropout.data.wikitext2 import wikitext2_files
from autodropout.errors import DataError, UsageError
from autodropout.suggesting import suggested

_CHUNK = 2**20  # bytes
_PATIENCE = 60.0  # seconds without a byte
_log = logging.getLogger(__name__)

SETS: Mapping[str, Callable[[], tuple[Remote, ...]]] = MappingProxyType(
    {
        "ptb": lambda: ptb_files().remotes(),
        "wikitext-2": lambda: wikitext2_files().remotes(),
        "multi30k": lambda: tuple(dict.fromkeys([*MULTI30K.remotes(), *MULTI30K_EN_FR.remotes()])),
    }
)
"""What can be fetched, by the names of the subfolders."""


def download(name: str, folder: str | None = None) -> Path:
    """Fetch a data set's files from where others publish them, and compare their checksums.

    What is there already is left alone; a file with another checksum is replaced. The texts are other
    people's: pass them on only under their terms.

    Args:
        name: Which, one of ``SETS``.
        folder: Folder of data sets, see ``autodropout.data.files.data_folder``.

    Returns:
        The folder with the files.

    Raises:
        UsageError: There is none of this name.
        DataError: A file cannot be fetched or written, or is another one than was published; the files before
            it are there.
    """
    if name not in SETS:
        remedy = suggested(name, SETS, f"what can be fetched: {', '.join(SETS)}")
        raise UsageError(f"there is no data set {name!r} to fetch; {remedy}")
    data = data_folder(folder).absolute()
    for remote in SETS[name]():
        fetch(remote, data)
    return data / name


def fetch(remote: Remote, data: Path) -> None:
    """Fetch one file, under another name until it is whole and known to be the right one.

    Args:
        remote: Which.
        data: The folder of data sets.

    Raises:
        DataError: It cannot be fetched or written, or is another one; what was there is left.
    """
    file = data / remote.file
    if file.is_file() and _checksum(file) == remote.checksum:
        return
    draft = file.with_name(f".{os.getpid()}-{file.name}")
    try:
        _stream(remote.address, draft, file)
        if _checksum(draft) != remote.checksum:
            raise DataError(
                f"{remote.address} is another file than was published there: its SHA-256 is not "
                f"{remote.checksum[:12]}...; get {file.name} elsewhere and put it into {file.parent}"
            )
        _put(draft, file)
    finally:
        with suppress(OSError):
            draft.unlink()
    _log.info("fetched %s from %s", file, remote.address)


def _stream(address: str, draft: Path, file: Path) -> None:
    try:
        draft.parent.mkdir(parents=True, exist_ok=True)
        with urlopen(address, timeout=_PATIENCE) as answer, draft.open("wb") as copy:
            shutil.copyfileobj(answer, copy, _CHUNK)
    except (OSError, HTTPException) as error:
        raise DataError(
            f"{address} could not be fetched ({error}); without a network, fetch it elsewhere and put it "
            f"here as {file}"
        ) from error


def _put(draft: Path, file: Path) -> None:
    try:
        draft.replace(file)
    except OSError as error:
        raise DataError(f"{file} cannot be written ({error.strerror}); name another folder") from error


def _checksum(file: Path) -> str | None:
    """Return the SHA-256 of a file's content, None where it cannot be read."""
    digest = hashlib.sha256()
    try:
        with gzip.open(file) if file.suffix == ".gz" else file.open("rb") as stream:
            while chunk := stream.read(_CHUNK):
                digest.update(chunk)
    except (OSError, EOFError, zlib.error):
        return None
    return digest.hexdigest()
