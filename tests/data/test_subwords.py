import json
import logging

import pytest

from autodropout.data import subwords
from autodropout.data.subwords import (
    CACHE_VARIABLE,
    UNKNOWN,
    Subwords,
    SubwordSettings,
    cache_folder,
    kept,
    learned,
)
from autodropout.errors import DataError, MissingError, UsageError

TEXT = ["the house, the mouse.", "the mouse's house is the house's", "a louse &apos;s houses."] * 3
SETTINGS = SubwordSettings(size=40)


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv(CACHE_VARIABLE, str(tmp_path / "cache"))
    return tmp_path / "cache"


def pieces(vocabulary, sentence):
    return [vocabulary._tokenizer.id_to_token(number) for number in vocabulary.encode([sentence])[0]]


def test_decoding_gives_the_text_back():
    vocabulary = learned([TEXT], SETTINGS)
    assert len(vocabulary) == 40
    assert vocabulary.decode(vocabulary.encode(TEXT)) == TEXT
    assert all(UNKNOWN < number < 40 for one in vocabulary.encode(TEXT) for number in one)


def test_frequent_words_are_one_subword_and_punctuation_stands_alone():
    vocabulary = learned([TEXT], SETTINGS)
    assert pieces(vocabulary, "the house, the mouse.") == ["▁the", "▁house", ",", "▁the", "▁mouse", "."]
    whole = learned(
        [["it &apos;s &apos;s &apos;s &apos;s"]], SubwordSettings(size=21, split_punctuation=False)
    )
    assert pieces(whole, "&apos;s") == ["▁&apos;s"]


def test_characters_never_seen_are_unknown():
    vocabulary = learned([TEXT], SETTINGS)
    assert UNKNOWN in vocabulary.encode(["the Ж"])[0]
    (text,) = vocabulary.decode(vocabulary.encode(["the Ж house"]))
    assert text.split() == ["the", "house"]


@pytest.mark.parametrize("split", [True, False])
def test_what_looks_like_a_token_of_our_own_is_text(split):
    """As a web page's markup, apart from words and so often at their end that it becomes a subword."""
    written = ["the <pad> house</s>", "</s> a <s> mouse</s> <unk>", "one < pad > or <pad > or </s >"]
    written += [f"{word}</s>" for word in ("house", "mouse", "louse")]
    vocabulary = learned([TEXT + 5 * written], SubwordSettings(size=50, split_punctuation=split))
    numbers = vocabulary.encode(written)
    assert min(number for one in numbers for number in one) > UNKNOWN
    assert vocabulary.decode(numbers) == written
    assert Subwords(vocabulary._document).encode(written) == numbers


def test_the_same_text_gives_the_same_vocabulary():
    first = learned([TEXT, TEXT[:2]], SETTINGS)
    assert learned([TEXT, TEXT[:2]], SETTINGS).checksum == first.checksum
    assert learned([TEXT[1:], TEXT], SETTINGS).checksum != first.checksum
    assert Subwords(first._document).checksum == first.checksum


def test_it_is_learned_once(cache, monkeypatch):
    first = kept([TEXT], SETTINGS)
    (file,) = cache.iterdir()
    document = json.loads(file.read_text(encoding="utf8"))
    assert document["sha256"] == first.checksum
    monkeypatch.setattr(subwords, "learned", None)
    assert kept([TEXT], SETTINGS).encode(TEXT) == first.encode(TEXT)


def test_what_it_hangs_on_has_a_file_each(cache, monkeypatch):
    kept([TEXT], SETTINGS)
    kept([TEXT[1:]], SETTINGS)
    kept([TEXT[:1], TEXT[1:]], SETTINGS)
    kept([TEXT], SubwordSettings(size=39))
    kept([TEXT], SubwordSettings(size=40, split_punctuation=False))
    monkeypatch.setattr(subwords.metadata, "version", lambda name: "99")
    kept([TEXT], SETTINGS)
    assert len(list(cache.iterdir())) == 6


@pytest.mark.parametrize(
    "damage",
    [
        lambda text: text[:-20],
        lambda text: text.replace("▁house", "▁hause").replace("\\u2581house", "\\u2581hause"),
        lambda text: text.replace('"schema": 1', '"schema": 9'),
        lambda text: "[]",
        lambda text: "{}",
    ],
)
def test_a_damaged_file_is_made_again(cache, caplog, damage):
    first = kept([TEXT], SETTINGS)
    (file,) = cache.iterdir()
    whole = file.read_text(encoding="utf8")
    file.write_text(damage(whole), encoding="utf8")
    assert file.read_text(encoding="utf8") != whole
    with caplog.at_level(logging.WARNING):
        assert kept([TEXT], SETTINGS).checksum == first.checksum
    assert f"{file} is damaged; the vocabulary is learned again" in caplog.text
    assert file.read_text(encoding="utf8") == whole


def test_where_nothing_can_be_written_nothing_is_kept(cache, caplog):
    cache.write_text("a file is in the way")
    with caplog.at_level(logging.WARNING):
        assert len(kept([TEXT], SETTINGS)) == 40
    assert "the vocabulary is not kept" in caplog.text


def test_the_folder_is_the_one_named_or_the_users(cache, monkeypatch, tmp_path):
    assert cache_folder() == cache
    monkeypatch.delenv(CACHE_VARIABLE)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cache_folder() == tmp_path / "autodropout"
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert cache_folder().parts[-2:] == (".cache", "autodropout")


def test_too_little_text_is_refused():
    with pytest.raises(DataError) as caught:
        learned([["a b"]], SubwordSettings(size=100))
    assert str(caught.value) == (
        "the text has 9 different subwords; expected at least 100: give more text or a smaller vocabulary"
    )
    with pytest.raises(UsageError, match="size is 7; expected at least 8 subwords"):
        SubwordSettings(size=7)


def test_without_the_library_it_says_what_to_install(monkeypatch):
    monkeypatch.setattr(subwords.importlib.util, "find_spec", lambda name: None)
    for call in (lambda: learned([TEXT], SETTINGS), lambda: kept([TEXT], SETTINGS), lambda: Subwords("{}")):
        with pytest.raises(MissingError) as caught:
            call()
        assert str(caught.value) == (
            "translation needs the library tokenizers; install it with: pip install "
            "'autodropout[translation]'"
        )
