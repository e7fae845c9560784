import platform
import sys

import pytest

from autodropout.data import pydoc_text
from autodropout.data.pydoc_text import VERSION, load_pydoc
from autodropout.data.text import END, UNKNOWN, CorpusSize
from autodropout.errors import DataError

SIZE = CorpusSize(train=20_000, validation=16_000, test=16_000)


def test_the_version_is_pythons():
    assert platform.python_version() == VERSION


def test_this_python_has_enough_text():
    corpus = load_pydoc(SIZE)
    assert [len(part) for part in (corpus.train, corpus.validation, corpus.test)] == [20_000, 16_000, 16_000]
    assert len(corpus.vocabulary) == 500
    assert {"python", "the", END, UNKNOWN} <= set(corpus.vocabulary)
    unknown = (corpus.validation == corpus.vocabulary.index(UNKNOWN)).float().mean()
    assert 0.0 < unknown < 0.25


def test_words(monkeypatch):
    topics = {"one": "The x_1\n====\n\nSame  text.\n\n", "two": "Same text.\n\n**kwargs"}
    monkeypatch.setattr(pydoc_text, "_topics", lambda: topics)
    first, second = ["the", "x", "_", "1", "====", END], ["**", "kwargs", END]
    same = ["same", "text", ".", END]
    assert pydoc_text._words() in (first + same + second, same + second + first)


def test_no_paragraph_stands_in_two_parts():
    words = " ".join(pydoc_text._words()).split(END)
    assert len(words) == len(set(words))


def test_a_python_without_the_text(monkeypatch):
    monkeypatch.setitem(sys.modules, "pydoc_data.topics", None)
    load_pydoc.cache_clear()
    with pytest.raises(DataError, match=r"this Python has no module pydoc_data\.topics"):
        load_pydoc(SIZE)
