import os

import pytest

from autodropout.atomic import write_text


def test_it_writes_utf8_and_replaces_what_was_there(tmp_path):
    path = tmp_path / "a.txt"
    for text in ("über\n", "short"):
        write_text(path, text)
        assert path.read_text(encoding="utf8") == text
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("step", ["write_text", "replace"])
def test_what_was_there_survives_a_failure_and_nothing_else_is_left(tmp_path, monkeypatch, step):
    path = tmp_path / "a.txt"
    write_text(path, "old")

    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os if step == "replace" else type(path), step, full)
    with pytest.raises(OSError, match="No space left"):
        write_text(path, "new")
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]
