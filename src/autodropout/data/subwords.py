"""Byte-pair encoding (Sennrich et al. 2016): text to numbers of subwords and back."""

import hashlib
import importlib.util
import json
import logging
import os
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from importlib import metadata
from itertools import chain
from pathlib import Path
from typing import Any

from autodropout.atomic import write_text
from autodropout.errors import DataError, MissingError, UsageError

PAD, BEGIN, END, UNKNOWN = range(4)
"""Numbers of the tokens that are no subwords: padding, a sentence's ends, characters never seen."""

CACHE_VARIABLE = "AUTODROPOUT_CACHE"
"""Environment variable that names the folder in which vocabularies are kept."""

# Their names have a blank, which no subword has: merges may make "</s>" of a text's own characters.
_SPECIAL = ("<pad >", "<s >", "</s >", "<unk >")
_SCHEMA = 1
_CHUNK = 10_000  # sentences
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class SubwordSettings:
    """How a vocabulary is learned.

    Attributes:
        size: Tokens in it, the four that are no subwords among them.
        split_punctuation: Let no subword join a word and a punctuation mark: for raw text. Text that is
            tokenised already has blanks there, and entities such as ``&apos;`` that should stay whole.

    Raises:
        UsageError: The size is below 8.
    """

    size: int
    split_punctuation: bool = True

    def __post_init__(self) -> None:
        if self.size < 8:
            raise UsageError(f"size is {self.size!r}; expected at least 8 subwords")


class Subwords:
    """A learned vocabulary. Decoding gives the text back, but for runs of blanks and unknown characters.

    Args:
        document: JSON of a ``tokenizers.Tokenizer``.
    """

    def __init__(self, document: str) -> None:
        check_tokenizers()
        from tokenizers import Tokenizer

        self._document = document
        self._tokenizer = Tokenizer.from_str(document)
        self._tokenizer.encode_special_tokens = True  # a text may hold these names

    def __len__(self) -> int:
        return int(self._tokenizer.get_vocab_size())

    @property
    def checksum(self) -> str:
        """SHA-256 of the vocabulary with its merges, a hexadecimal number."""
        return hashlib.sha256(self._document.encode()).hexdigest()

    def encode(self, sentences: Sequence[str]) -> list[list[int]]:
        """Return the numbers of each sentence's subwords, without its ends."""
        encoded = self._tokenizer.encode_batch(list(sentences), add_special_tokens=False)
        return [list(sentence.ids) for sentence in encoded]

    def decode(self, sentences: Sequence[Sequence[int]]) -> list[str]:
        """Return the text of each sentence; tokens that are no subwords are left out."""
        return [str(text) for text in self._tokenizer.decode_batch([list(ids) for ids in sentences])]


def learned(texts: Sequence[Sequence[str]], settings: SubwordSettings) -> Subwords:
    """Learn one vocabulary from all of some texts, such as those of two languages.

    The same texts give the same vocabulary.

    Args:
        texts: Sentences.
        settings: How.

    Raises:
        DataError: There is too little text for so many subwords.
        MissingError: The library tokenizers is not installed.
    """
    check_tokenizers()
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

    tokenizer = Tokenizer(models.BPE(unk_token=_SPECIAL[UNKNOWN]))
    steps: list[Any] = [pre_tokenizers.Metaspace()]
    if settings.split_punctuation:
        steps.append(pre_tokenizers.Punctuation())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(steps)
    tokenizer.decoder = decoders.Metaspace()
    trainer = trainers.BpeTrainer(
        vocab_size=settings.size,
        special_tokens=list(_SPECIAL),
        limit_alphabet=settings.size // 2,
        show_progress=False,
    )
    tokenizer.train_from_iterator(chain.from_iterable(texts), trainer)
    found = Subwords(tokenizer.to_str())
    if len(found) != settings.size:
        raise DataError(
            f"the text has {len(found)} different subwords; expected at least {settings.size}: give more "
            "text or a smaller vocabulary"
        )
    return found


def kept(texts: Sequence[Sequence[str]], settings: SubwordSettings) -> Subwords:
    """Do what ``learned`` does, once: the vocabulary is kept in ``cache_folder()`` with its checksum.

    A file that is damaged, or made by another version of the library, is made again. Where nothing can be
    written, nothing is kept.

    Raises:
        DataError: There is too little text.
        MissingError: The library tokenizers is not installed.
    """
    check_tokenizers()
    file = cache_folder() / f"bpe-{settings.size}-{_key(texts, settings)}.json"
    found = _read(file)
    if found is None:
        found = learned(texts, settings)
        try:
            file.parent.mkdir(parents=True, exist_ok=True)
            write_text(
                file, json.dumps({"schema": _SCHEMA, "sha256": found.checksum, "bpe": found._document})
            )
        except OSError as error:
            _log.warning("the vocabulary is not kept: %s cannot be written (%s)", file, error.strerror)
    return found


def cache_folder() -> Path:
    """Return where vocabularies are kept: what ``AUTODROPOUT_CACHE`` says, or the user's cache."""
    own = os.environ.get(CACHE_VARIABLE)
    return Path(own or Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "autodropout")


def _read(file: Path) -> Subwords | None:
    with suppress(OSError):
        try:
            document = json.loads(file.read_text(encoding="utf8"))
            if document["schema"] == _SCHEMA and _sum(document["bpe"]) == document["sha256"]:
                return Subwords(document["bpe"])
        except (ValueError, KeyError, TypeError, AttributeError):
            pass
        _log.warning("%s is damaged; the vocabulary is learned again", file)
    return None


def _sum(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def _key(texts: Sequence[Sequence[str]], settings: SubwordSettings) -> str:
    """Return what a vocabulary hangs on, as a short hash."""
    digest = hashlib.sha256(json.dumps([asdict(settings), _SPECIAL, metadata.version("tokenizers")]).encode())
    for chunk in _chunks(texts):
        digest.update(chunk)
    return digest.hexdigest()[:16]


def _chunks(texts: Sequence[Sequence[str]]) -> Iterator[bytes]:
    for text in texts:
        for start in range(0, len(text), _CHUNK):
            yield "\n".join((*text[start : start + _CHUNK], "")).encode()
        yield b"\0"


def check_tokenizers() -> None:
    """Look for the library.

    Raises:
        MissingError: It is not installed.
    """
    if importlib.util.find_spec("tokenizers") is None:
        raise MissingError(
            "translation needs the library tokenizers; install it with: pip install "
            "'autodropout[translation]'"
        )
