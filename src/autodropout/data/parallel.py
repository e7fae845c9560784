"""Parallel text: two files, line n of one the translation of line n of the other."""

import gzip
import hashlib
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from autodropout.data.files import VARIABLE, Remote, fetching
from autodropout.errors import DataError

PARTS = ("train", "validation", "test")

_READ_BY_CHECK = 32 * 2**20  # bytes of a file: that is read in a second


@dataclass(frozen=True, slots=True, kw_only=True)
class Pairs:
    """Sentences and their translations.

    Attributes:
        source: What is translated.
        target: The translations, as many.
    """

    source: tuple[str, ...]
    target: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.source)


@dataclass(frozen=True, slots=True, kw_only=True)
class ParallelFiles:
    """Where the three parts of a parallel corpus lie: files named after part and language.

    ``train.de`` holds the German sentences to learn from, one a line, in UTF-8; ``train.de.gz`` may take
    its place.

    Attributes:
        title: What people call it.
        folder: Subfolder of the folder of data sets.
        source: Language that is translated, the ending of its files.
        target: Language of the translations.
        names: Names of the files of the parts ``train``, ``validation`` and ``test``, without ending.
        advice: Where to get the files, the end of a sentence that begins with "put".
        checksums: SHA-256 of what is inside, by name with ending; files that are not named may be any.
        address: The folder on the web that has them, packed, so that ``download`` can fetch them under the
            name of ``folder``; None where nobody publishes them so.
    """

    title: str
    folder: str
    source: str
    target: str
    names: tuple[str, str, str]
    advice: str
    checksums: Mapping[str, str] = field(hash=False)
    address: str | None = None

    def remotes(self) -> tuple[Remote, ...]:
        """Return what there is to fetch."""
        if self.address is None:
            return ()
        return tuple(
            Remote(
                address=f"{self.address}/{name}.gz",
                file=f"{self.folder}/{name}.gz",
                checksum=self.checksums[name],
            )
            for part in PARTS
            for name in self._sides(part)
        )

    def check(self, data: Path) -> None:
        """Look whether all files are there, and up to 32 MiB whether they fit together.

        Larger ones take minutes, and are looked at when they are read.

        Raises:
            DataError: A file is missing, or what ``read`` says of a part.
        """
        files = [[self._file(data, name) for name in self._sides(part)] for part in PARTS]
        for part, both in zip(PARTS, files, strict=True):
            if max(file.stat().st_size for file in both) <= _READ_BY_CHECK:
                self.read(data, part)

    def read(self, data: Path, part: str) -> Pairs:
        """Return a part.

        Args:
            data: The folder of data sets.
            part: One of ``PARTS``.

        Raises:
            DataError: A file is missing, damaged or not in UTF-8, a line is empty, or the two files have
                not the same number of lines.
        """
        names = self._sides(part)
        source, target = (self._lines(data, name) for name in names)
        if len(source) != len(target):
            raise DataError(
                f"{names[0]} has {len(source)} lines and {names[1]} {len(target)} in "
                f"{data.absolute() / self.folder}; line n of one must be the translation of line n of the "
                "other"
            )
        return Pairs(source=source, target=target)

    def _sides(self, part: str) -> tuple[str, str]:
        name = self.names[PARTS.index(part)]
        return f"{name}.{self.source}", f"{name}.{self.target}"

    def _file(self, data: Path, name: str) -> Path:
        folder = data.absolute() / self.folder
        for file in (folder / name, folder / f"{name}.gz"):
            if file.is_file():
                return file
        raise DataError(
            f"{self.title} is not at {folder}: there is no {name} or {name}.gz; put {self.advice} into a "
            f"folder {self.folder}/, and name the folder that holds {self.folder}/ by --data or by the "
            f"environment variable {VARIABLE}{self._or_fetch(data)}"
        )

    def _or_fetch(self, data: Path) -> str:
        if self.address is None:
            return ""
        return f"; or have them fetched: {fetching(self.folder, data.absolute())}"

    def _lines(self, data: Path, name: str) -> tuple[str, ...]:
        file = self._file(data, name)
        content = _unpacked(file)
        expected = self.checksums.get(name)
        if expected is not None and hashlib.sha256(content).hexdigest() != expected:
            raise DataError(
                f"{file} is not the {self.title} file of that name: the SHA-256 of its text is not "
                f"{expected[:12]}...; get it again"
            )
        return _sentences(content, file)


def _unpacked(file: Path) -> bytes:
    try:
        content = file.read_bytes()
        return gzip.decompress(content) if file.suffix == ".gz" else content
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise DataError(f"{file} is damaged ({error}); get it again") from error
    except OSError as error:
        raise DataError(f"{file} cannot be read ({error.strerror}); check its permissions") from error


def _sentences(content: bytes, file: Path) -> tuple[str, ...]:
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise DataError(
            f"{file}, line {line} is no UTF-8 ({error.reason} at byte {error.start} of the file); store the "
            "file in this encoding"
        ) from error
    lines = tuple(line.strip() for line in text.removesuffix("\n").split("\n"))
    if "" in lines:
        raise DataError(
            f"{file}, line {lines.index('') + 1} is empty; take this line out of the files of both languages"
        )
    return lines
