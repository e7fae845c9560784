from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from autodropout.engine.beginning import new_directory, next_directory
from autodropout.errors import LedgerError


def test_nobody_gets_the_same_directory_twice(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert [new_directory("toy") for _ in range(3)] == [
        Path("runs/toy"),
        Path("runs/toy-2"),
        Path("runs/toy-3"),
    ]
    assert next_directory("toy") == Path("runs/toy-4")
    assert not Path("runs/toy-4").exists()
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda _: new_directory(), range(16)))
    assert len(set(found)) == 16
    assert all(path.is_dir() for path in found)


def test_a_directory_that_cannot_be_made(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("runs").write_text("")
    with pytest.raises(LedgerError, match=r"runs/toy cannot be made \(.*\); name a directory that can"):
        new_directory("toy")
