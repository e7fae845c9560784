import hashlib
import os
from pathlib import Path

import pytest

from autodropout.data import wikitext2
from autodropout.data.ptb import VARIABLE, WHOLE_PTB, check_ptb
from autodropout.data.text import UNKNOWN, CorpusSize
from autodropout.data.wikitext2 import WHOLE_WIKITEXT2, check_wikitext2, load_wikitext2
from autodropout.errors import DataError

TEXTS = {
    "wiki.train.tokens": " \n = Title = \n \n a <unk> a é\u00a0b \n".encode(),
    "wiki.valid.tokens": b" \n a \n",
    "wiki.test.tokens": b" a Zzz a \n",
}
SIZE = CorpusSize(vocabulary=6, train=12, validation=3, test=4)
REAL = Path(os.environ.get(VARIABLE, ""), "wikitext-2", "wiki.train.tokens")


def write(folder, texts, monkeypatch):
    (folder / "wikitext-2").mkdir(exist_ok=True)
    for name, content in texts.items():
        (folder / "wikitext-2" / name).write_bytes(content)
    sums = {name: hashlib.sha256(content).hexdigest() for name, content in texts.items()}
    monkeypatch.setattr(wikitext2, "_CHECKSUMS", sums)
    return folder


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A folder with three short texts that pass for the real ones."""
    return write(tmp_path, TEXTS, monkeypatch)


def words(corpus, part):
    return " ".join(corpus.vocabulary[number] for number in part.tolist())


def test_empty_lines_are_lines_and_rare_words_unknown(folder):
    corpus = load_wikitext2(str(folder), SIZE)
    assert words(corpus, corpus.train) == "<eos> = Title = <eos> <eos> a <unk> a <unk> b <eos>"
    assert words(corpus, corpus.validation) == "<eos> a <eos>"
    assert words(corpus, corpus.test) == f"a {UNKNOWN} a <eos>"
    check_wikitext2(str(folder))


def test_a_missing_file_says_where_it_comes_from_and_goes(folder):
    file = folder / "wikitext-2" / "wiki.valid.tokens"
    file.unlink()
    expected = (
        f"WikiText-2 is not at {file} (No such file or directory); download train.txt, valid.txt and "
        f"test.txt from {wikitext2.SOURCE} as wiki.train.tokens, wiki.valid.tokens and wiki.test.tokens into "
        "a folder wikitext-2/, and name the folder that holds wikitext-2/ by --data or by the environment "
        "variable AUTODROPOUT_DATA; or have them fetched: python -c 'from autodropout.data.downloading "
        f'import download; download("wikitext-2", "{folder}")\''
    )
    for read in (lambda: load_wikitext2(str(folder), SIZE), lambda: check_wikitext2(str(folder))):
        with pytest.raises(DataError) as caught:
            read()
        assert str(caught.value) == expected


def test_a_damaged_file_is_refused(folder):
    file = folder / "wikitext-2" / "wiki.test.tokens"
    file.write_text("something else")
    with pytest.raises(DataError) as caught:
        load_wikitext2(str(folder), SIZE)
    assert str(caught.value).startswith(
        f"{file} is not the WikiText-2 file of that name: its SHA-256 is not "
        f"{wikitext2._CHECKSUMS[file.name][:12]}...; download train.txt"
    )


def test_another_encoding_is_refused(tmp_path, monkeypatch):
    folder = write(tmp_path, {**TEXTS, "wiki.valid.tokens": "a é \n".encode("latin-1")}, monkeypatch)
    with pytest.raises(DataError) as caught:
        load_wikitext2(str(folder), SIZE)
    assert str(caught.value) == (
        f"{folder / 'wikitext-2' / 'wiki.valid.tokens'} is no UTF-8 at byte 2 (invalid continuation byte); "
        "store it in this encoding"
    )


def test_a_text_that_is_too_short(folder):
    with pytest.raises(DataError, match="the training text has 12 tokens; expected at least 13"):
        load_wikitext2(str(folder), CorpusSize(vocabulary=6, train=13, validation=3, test=4))


@pytest.mark.skipif(not REAL.exists(), reason="AUTODROPOUT_DATA names no folder with wikitext-2/")
def test_the_real_text():
    check_wikitext2()
    check_ptb()
    corpus = load_wikitext2(size=WHOLE_WIKITEXT2)
    assert corpus.vocabulary[:5] == ("the", ",", ".", "of", "and")
    assert len(corpus.vocabulary) == 33_278
    assert words(corpus, corpus.train[:6]) == "<eos> = Valkyria Chronicles III ="
    unknown = corpus.vocabulary.index(UNKNOWN)
    # Nothing but what is written as <unk> in the file is unknown.
    assert [int((part == unknown).sum()) for part in (corpus.validation, corpus.test)] == [11_718, 15_218]
    assert WHOLE_PTB.vocabulary == 10_000
