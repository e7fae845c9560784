"""BLEU by sacrebleu, always with the signature that says which (Post 2018)."""

import importlib.util
from collections.abc import Sequence
from importlib import metadata
from typing import Literal

from autodropout.errors import MissingError

Tokenisation = Literal["13a", "none"]
"""What is done to texts first: ``"13a"`` cuts off punctuation, as WMT does; ``"none"`` is for texts that are
tokenised already."""


def signature(tokenisation: Tokenisation) -> str:
    """Return what sacrebleu prints about such a figure: two with different ones do not compare."""
    version = metadata.version("sacrebleu") if _installed() else "none"
    return f"nrefs:1|case:mixed|eff:no|tok:{tokenisation}|smooth:exp|version:{version}"


def corpus_bleu(translations: Sequence[str], references: Sequence[str], tokenisation: Tokenisation) -> float:
    """Return the BLEU of a corpus, from 0 to 100.

    Args:
        translations: One per sentence.
        references: As many.
        tokenisation: What is done to both first.

    Raises:
        MissingError: The library sacrebleu is not installed.
    """
    check_sacrebleu()
    from sacrebleu.metrics.bleu import BLEU

    # force only silences a warning that tokenised text looks tokenised
    metric = BLEU(tokenize=tokenisation, force=tokenisation == "none")
    return float(metric.corpus_score(list(translations), [list(references)]).score)


def check_sacrebleu() -> None:
    """Look for the library.

    Raises:
        MissingError: It is not installed.
    """
    if not _installed():
        raise MissingError(
            "BLEU needs the library sacrebleu; install it with: pip install 'autodropout[translation]'"
        )


def _installed() -> bool:
    return importlib.util.find_spec("sacrebleu") is not None
