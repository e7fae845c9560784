import hashlib
import os
from pathlib import Path

import pytest

from autodropout.data import ptb
from autodropout.data.ptb import VARIABLE, data_folder, load_ptb
from autodropout.data.text import UNKNOWN, CorpusSize
from autodropout.errors import DataError

TEXTS = {"ptb.train.txt": " a b a \n b N c \n", "ptb.valid.txt": " a \n b \n", "ptb.test.txt": " b \n a \n"}
SIZE = CorpusSize(vocabulary=4, train=8, validation=4, test=4)
REAL = Path(os.environ.get(VARIABLE, ""), "ptb", "ptb.train.txt")


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A folder with three short texts that pass for the real ones."""
    (tmp_path / "ptb").mkdir()
    for name, text in TEXTS.items():
        (tmp_path / "ptb" / name).write_text(text)
    sums = {name: hashlib.sha256(text.encode()).hexdigest() for name, text in TEXTS.items()}
    monkeypatch.setattr(ptb, "_CHECKSUMS", sums)
    return tmp_path


def words(corpus, part):
    return [corpus.vocabulary[number] for number in part.tolist()]


def test_each_line_ends_with_eos(folder):
    corpus = load_ptb(str(folder), SIZE)
    assert words(corpus, corpus.train) == ["a", "b", "a", "<eos>", "b", UNKNOWN, UNKNOWN, "<eos>"]
    assert words(corpus, corpus.validation) == ["a", "<eos>", "b", "<eos>"]
    assert words(corpus, corpus.test) == ["b", "<eos>", "a", "<eos>"]


def test_the_folder_is_the_one_given_or_the_environments(folder, monkeypatch):
    monkeypatch.setenv(VARIABLE, str(folder))
    assert data_folder() == folder
    assert data_folder("other") == Path("other")
    assert load_ptb(size=SIZE).vocabulary == load_ptb(str(folder), SIZE).vocabulary
    monkeypatch.delenv(VARIABLE)
    assert data_folder() == Path("data")


def test_a_missing_file_says_where_it_comes_from_and_goes(folder):
    file = folder / "ptb" / "ptb.valid.txt"
    file.unlink()
    with pytest.raises(DataError) as caught:
        load_ptb(str(folder), SIZE)
    assert str(caught.value) == (
        f"Penn Treebank is not at {file} (No such file or directory); download ptb.train.txt, ptb.valid.txt, "
        f"ptb.test.txt from {ptb.SOURCE} into a folder ptb/, and name the folder that holds ptb/ by --data "
        "or by the environment variable AUTODROPOUT_DATA; or have them fetched: python -c 'from "
        f'autodropout.data.downloading import download; download("ptb", "{folder}")\''
    )


def test_a_damaged_file_is_refused(folder):
    file = folder / "ptb" / "ptb.test.txt"
    file.write_text("something else")
    with pytest.raises(
        DataError, match=r"is not the Penn Treebank file of that name: its SHA-256 is not \w{12}\.\.\."
    ):
        load_ptb(str(folder), SIZE)


@pytest.mark.skipif(not REAL.exists(), reason="AUTODROPOUT_DATA names no folder with ptb/")
def test_the_real_text():
    size = CorpusSize(vocabulary=10_000, train=929_589, validation=73_760, test=82_430)
    corpus = load_ptb(size=size)
    assert corpus.vocabulary[:3] == ("the", "<eos>", "N")
    assert words(corpus, corpus.train[:3]) == ["aer", "banknote", "berlitz"]
    assert (corpus.test == 1).sum() == 3761
    assert [len(load_ptb().train), len(load_ptb().vocabulary)] == [9_000, 500]
