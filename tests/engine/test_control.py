import threading

import pytest

from autodropout.engine.control import request, requested, withdraw
from autodropout.errors import LedgerError, UsageError


@pytest.mark.parametrize("verb", ["go", "pause", "stop"])
def test_what_is_asked_is_read(tmp_path, verb):
    assert requested(tmp_path) == "go"
    request(tmp_path, "stop")
    request(tmp_path, verb)
    assert requested(tmp_path) == verb
    withdraw(tmp_path)
    withdraw(tmp_path)
    assert requested(tmp_path) == "go"
    assert list(tmp_path.iterdir()) == []


def test_a_reader_never_sees_half_a_request(tmp_path):
    request(tmp_path, "go")
    writer = threading.Thread(
        target=lambda: [request(tmp_path, verb) for _ in range(100) for verb in ("pause", "go")]
    )
    writer.start()
    while writer.is_alive():
        assert requested(tmp_path) in ("pause", "go")
    writer.join()


def test_an_unknown_verb_is_refused(tmp_path):
    with pytest.raises(UsageError, match=r"verb is 'faster'; expected one of go, pause, stop"):
        request(tmp_path, "faster")


def test_a_directory_that_is_not_there(tmp_path):
    with pytest.raises(
        LedgerError, match=r"control.json cannot be written .*; is .*no the directory of a study\?"
    ):
        request(tmp_path / "no", "stop")


@pytest.mark.parametrize("text", ["", "[]", '{"verb"', "{}", '{"verb": "faster"}', '{"verb": 3}'])
def test_a_damaged_file_is_an_error(tmp_path, text):
    (tmp_path / "control.json").write_text(text)
    with pytest.raises(LedgerError, match=r"control.json (holds|asks)"):
        requested(tmp_path)


def test_a_file_that_cannot_be_read_is_an_error(tmp_path):
    (tmp_path / "control.json").write_bytes(b"\xff")
    with pytest.raises(LedgerError, match=r"control.json cannot be read .*; delete it and resume"):
        requested(tmp_path)
