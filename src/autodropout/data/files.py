"""Files of a published data set: where they are looked for, and whether they are the right ones."""

import hashlib
import json
import os
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from autodropout.errors import DataError

VARIABLE = "AUTODROPOUT_DATA"
"""Environment variable that names the folder of data sets."""


def data_folder(folder: str | None = None) -> Path:
    """Return the folder of data sets: the one given, or the environment's.

    Args:
        folder: None stands for what the variable ``AUTODROPOUT_DATA`` says, ``data`` where it is not set.
    """
    return Path(folder or os.environ.get(VARIABLE) or "data")


@dataclass(frozen=True, slots=True, kw_only=True)
class Remote:
    """A file that somebody publishes.

    Attributes:
        address: Where.
        file: Where it belongs below the folder of data sets.
        checksum: SHA-256 of its content; of what is inside, if it ends in ``.gz``.
    """

    address: str
    file: str
    checksum: str


def fetching(name: str, data: Path) -> str:
    """Return the command that fetches a data set, see ``autodropout.data.downloading``."""
    given = ", ".join(json.dumps(part, ensure_ascii=False) for part in (name, str(data)))
    call = f"from autodropout.data.downloading import download; download({given})"
    return f"python -c {shlex.quote(call)}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Published:
    """The files of a data set.

    Attributes:
        title: What people call it.
        folder: Subfolder of the folder of data sets, and what ``download`` calls it.
        checksums: SHA-256 of each file by its name.
        advice: Where to download what, the end of a sentence that begins with "download".
        addresses: Where each file is published.
    """

    title: str
    folder: str
    checksums: Mapping[str, str]
    advice: str
    addresses: Mapping[str, str]

    def remotes(self) -> tuple[Remote, ...]:
        """Return what there is to fetch."""
        return tuple(
            Remote(address=self.addresses[name], file=f"{self.folder}/{name}", checksum=checksum)
            for name, checksum in self.checksums.items()
        )

    def read(self, data: Path) -> tuple[bytes, ...]:
        """Return the content of each file.

        Args:
            data: The folder of data sets.

        Raises:
            DataError: A file is missing or another one.
        """
        return tuple(self._content(data.absolute(), name) for name in self.checksums)

    def texts(self, data: Path) -> tuple[str, ...]:
        """Return the content of each file as text.

        Args:
            data: The folder of data sets.

        Raises:
            DataError: A file is missing, another one, or not in UTF-8.
        """
        return tuple(
            _decoded(content, data / self.folder / name)
            for name, content in zip(self.checksums, self.read(data), strict=True)
        )

    def _content(self, data: Path, name: str) -> bytes:
        file = data / self.folder / name
        try:
            content = file.read_bytes()
        except OSError as error:
            raise DataError(
                f"{self.title} is not at {file} ({error.strerror}); download {self.advice} into a folder "
                f"{self.folder}/, and name the folder that holds {self.folder}/ by --data or by the "
                f"environment variable {VARIABLE}; or have them fetched: {fetching(self.folder, data)}"
            ) from error
        expected = self.checksums[name]
        if hashlib.sha256(content).hexdigest() != expected:
            raise DataError(
                f"{file} is not the {self.title} file of that name: its SHA-256 is not {expected[:12]}...; "
                f"download {self.advice} again, or: {fetching(self.folder, data)}"
            )
        return content


def _decoded(content: bytes, file: Path) -> str:
    try:
        return content.decode()
    except UnicodeDecodeError as error:
        raise DataError(
            f"{file} is no UTF-8 at byte {error.start} ({error.reason}); store it in this encoding"
        ) from error
