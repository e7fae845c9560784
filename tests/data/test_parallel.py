import gzip
import hashlib
import os
from dataclasses import replace
from pathlib import Path

import pytest

from autodropout.data import parallel
from autodropout.data.files import VARIABLE
from autodropout.data.multi30k import MULTI30K, MULTI30K_EN_FR
from autodropout.data.parallel import PARTS, ParallelFiles
from autodropout.errors import DataError
from autodropout.tasks.translation.named import IWSLT14_DE_EN

FILES = ParallelFiles(
    title="Toy",
    folder="toy",
    source="de",
    target="en",
    names=("train", "val", "test"),
    advice="the files",
    checksums={},
)
REAL = Path(os.environ.get(VARIABLE, ""))


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "toy").mkdir()
    for name in FILES.names:
        (tmp_path / "toy" / f"{name}.de").write_text("ein Haus\nzwei  Häuser \n", encoding="utf8")
        (tmp_path / "toy" / f"{name}.en").write_text("a house\ntwo houses\n", encoding="utf8")
    return tmp_path


def test_lines_are_pairs(folder):
    pairs = FILES.read(folder, "train")
    assert pairs.source == ("ein Haus", "zwei  Häuser")
    assert pairs.target == ("a house", "two houses")
    assert len(pairs) == 2


@pytest.mark.parametrize(
    "content",
    [
        "ein Haus\nzwei  Häuser".encode(),
        b"\xef\xbb\xbf" + "ein Haus\r\nzwei  Häuser\r\n".encode(),
        "ein Haus\u2028\nzwei  Häuser\n".encode(),  # no line of its own
    ],
)
def test_other_ends_of_lines_change_nothing(folder, content):
    (folder / "toy" / "train.de").write_bytes(content)
    assert FILES.read(folder, "train") == FILES.read(folder, "validation")


def test_compressed_files_will_do(folder):
    file = folder / "toy" / "test.de"
    with gzip.open(f"{file}.gz", "wb") as packed:
        packed.write(file.read_bytes())
    file.unlink()
    FILES.check(folder)
    assert FILES.read(folder, "test") == FILES.read(folder, "validation")


def test_a_missing_file_says_where_it_comes_from_and_goes(folder):
    (folder / "toy" / "val.en").unlink()
    for look in (lambda: FILES.check(folder), lambda: FILES.read(folder, "validation")):
        with pytest.raises(DataError) as caught:
            look()
        assert str(caught.value) == (
            f"Toy is not at {folder}/toy: there is no val.en or val.en.gz; put the files into a folder toy/, "
            "and name the folder that holds toy/ by --data or by the environment variable AUTODROPOUT_DATA"
        )


@pytest.mark.parametrize("text", ["a house\n", "a house"])
@pytest.mark.parametrize("packed", [False, True])
def test_files_of_unequal_lengths_are_refused_and_found_by_a_look(folder, text, packed, monkeypatch):
    file = folder / "toy" / "train.en"
    file.unlink()
    if packed:
        Path(f"{file}.gz").write_bytes(gzip.compress(text.encode()))
    else:
        file.write_text(text)

    def expect(look):
        with pytest.raises(DataError) as caught:
            look()
        assert str(caught.value) == (
            f"train.de has 2 lines and train.en 1 in {folder}/toy; line n of one must be the translation of "
            "line n of the other"
        )

    expect(lambda: FILES.read(folder, "train"))
    expect(lambda: FILES.check(folder))
    monkeypatch.setattr(parallel, "_READ_BY_CHECK", 0)  # as if they took minutes
    FILES.check(folder)
    expect(lambda: FILES.read(folder, "train"))


def test_a_look_finds_other_encodings_and_empty_lines(folder):
    file = folder / "toy" / "test.de"
    file.write_bytes("ein Haus\nzwei Häuser\n".encode("latin-1"))
    with pytest.raises(DataError, match="line 2 is no UTF-8"):
        FILES.check(folder)
    file.write_text("ein Haus\n\n")
    with pytest.raises(DataError, match="line 2 is empty"):
        FILES.check(folder)


@pytest.mark.parametrize("empty", ["", " \t"])
def test_empty_lines_are_refused(folder, empty):
    file = folder / "toy" / "train.en"
    file.write_text(f"a house\n{empty}\n")
    with pytest.raises(DataError) as caught:
        FILES.read(folder, "train")
    assert str(caught.value) == (
        f"{file}, line 2 is empty; take this line out of the files of both languages"
    )
    file.write_bytes(b"")
    with pytest.raises(DataError, match="line 1 is empty"):
        FILES.read(folder, "train")


def test_other_encodings_are_refused(folder):
    file = folder / "toy" / "train.de"
    file.write_bytes("ein Haus\nzwei Häuser\n".encode("latin-1"))
    with pytest.raises(DataError) as caught:
        FILES.read(folder, "train")
    assert str(caught.value) == (
        f"{file}, line 2 is no UTF-8 (invalid continuation byte at byte 15 of the file); store the file in "
        "this encoding"
    )
    file.write_text("ein Haus\nzwei Häuser\n", encoding="utf-16")
    with pytest.raises(DataError, match="line 1 is no UTF-8"):
        FILES.read(folder, "train")


def test_damaged_and_changed_files_are_refused(folder):
    file = folder / "toy" / "train.de"
    good = replace(FILES, checksums={"train.de": hashlib.sha256(file.read_bytes()).hexdigest()})
    assert good.read(folder, "train") == FILES.read(folder, "train")
    file.write_text("ein Haus\nzwei Hauser\n")
    with pytest.raises(
        DataError, match=r"is not the Toy file of that name: the SHA-256 of its text is not \w{12}"
    ):
        good.read(folder, "train")
    file.unlink()
    Path(f"{file}.gz").write_bytes(gzip.compress(b"ein Haus\n" * 50)[:-9])
    with pytest.raises(DataError, match=r"train.de.gz is damaged \(.+\); get it again"):
        FILES.read(folder, "train")


@pytest.mark.skipif(
    not (REAL / "multi30k").exists(), reason="AUTODROPOUT_DATA names no folder with multi30k/"
)
def test_the_real_captions():
    MULTI30K.check(REAL)
    train, validation, test = (MULTI30K.read(REAL, part) for part in PARTS)
    assert [len(part) for part in (train, validation, test)] == [29_000, 1014, 1000]
    assert train.source[0] == "Zwei junge weiße Männer sind im Freien in der Nähe vieler Büsche."
    assert train.target[0] == "Two young, White males are outside near many bushes."
    assert len(MULTI30K.checksums) == len(MULTI30K_EN_FR.checksums) == 6
    MULTI30K_EN_FR.check(REAL)
    french = MULTI30K_EN_FR.read(REAL, "train")
    assert french.source == train.target
    assert french.target[0] == "Deux jeunes hommes blancs sont dehors près de buissons."


@pytest.mark.skipif(
    not (REAL / "iwslt14.de-en" / "valid.de.gz").exists(),
    reason="AUTODROPOUT_DATA names no folder with iwslt14.de-en/",
)
def test_the_real_talks():
    files = IWSLT14_DE_EN.files
    assert [len(files.read(REAL, part)) for part in ("validation", "test")] == [7283, 6750]
