"""Data sets that are fetched, from a server in this process."""

import gzip
import hashlib
import logging
import os
import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from autodropout.data import downloading
from autodropout.data.downloading import SETS, download
from autodropout.data.files import VARIABLE, Remote
from autodropout.errors import DataError, UsageError

CONTENTS = {"one.txt": b"a text\n" * 50_000, "two.gz": gzip.compress(b"another\n")}


class Handler(SimpleHTTPRequestHandler):
    """Serves a folder, and remembers what it was asked for."""

    asked: list[str]

    def do_GET(self):
        self.asked.append(self.path)
        if self.path == "/cut.txt":  # the connection ends early
            self.send_response(200)
            self.send_header("Content-Length", "1000")
            self.end_headers()
            self.wfile.write(b"a text\n")
        else:
            super().do_GET()

    def log_message(self, *args):
        pass


@pytest.fixture
def server(tmp_path, monkeypatch):
    """The address of a server that has both files, and what was asked of it."""
    for variable in ("no_proxy", "NO_PROXY"):
        monkeypatch.setenv(variable, "127.0.0.1")
    served = tmp_path / "served"
    served.mkdir()
    for name, content in CONTENTS.items():
        (served / name).write_bytes(content)
    handler = type("Here", (Handler,), {"asked": []})
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(handler, directory=str(served))) as http:
        threading.Thread(target=http.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{http.server_port}", handler.asked
        http.shutdown()


def remote(address, name, inside=None):
    content = CONTENTS.get(name, b"") if inside is None else inside
    return Remote(
        address=f"{address}/{name}", file=f"toy/{name}", checksum=hashlib.sha256(content).hexdigest()
    )


@pytest.fixture
def toy(server, monkeypatch):
    """The data set ``toy``, of both files."""
    address, asked = server
    files = (remote(address, "one.txt"), remote(address, "two.gz", b"another\n"))
    monkeypatch.setattr(downloading, "SETS", {"toy": lambda: files})
    return asked


def test_files_are_fetched_once(toy, tmp_path, caplog):
    caplog.set_level(logging.INFO, "autodropout")
    data = tmp_path / "data"
    assert download("toy", str(data)) == data / "toy"
    assert {file.name: file.read_bytes() for file in (data / "toy").iterdir()} == CONTENTS
    assert toy == ["/one.txt", "/two.gz"]
    assert [record.getMessage().split()[:2] for record in caplog.records] == [
        ["fetched", str(data / "toy" / name)] for name in CONTENTS
    ]
    download("toy", str(data))
    assert len(toy) == 2


def test_the_folder_is_the_environments(toy, tmp_path, monkeypatch):
    monkeypatch.setenv(VARIABLE, str(tmp_path / "mine"))
    assert download("toy") == tmp_path / "mine" / "toy"


def test_a_file_that_was_damaged_is_replaced_and_only_that_one(toy, tmp_path):
    folder = download("toy", str(tmp_path))
    (folder / "two.gz").write_bytes(CONTENTS["two.gz"][:-9])
    download("toy", str(tmp_path))
    assert (folder / "two.gz").read_bytes() == CONTENTS["two.gz"]
    assert toy == ["/one.txt", "/two.gz", "/two.gz"]


@pytest.mark.parametrize("name", ["one.txt", "two.gz", "cut.txt"])
def test_another_file_than_was_published_is_not_kept(server, tmp_path, monkeypatch, name):
    address, _ = server
    monkeypatch.setattr(downloading, "SETS", {"toy": lambda: (remote(address, name, b"what there was"),)})
    there = tmp_path / "toy" / name
    there.parent.mkdir()
    there.write_text("a file of mine")
    with pytest.raises(DataError) as caught:
        download("toy", str(tmp_path))
    expected = hashlib.sha256(b"what there was").hexdigest()[:12]
    assert str(caught.value) == (
        f"{address}/{name} is another file than was published there: its SHA-256 is not {expected}...; get "
        f"{name} elsewhere and put it into {tmp_path}/toy"
    )
    assert [file.name for file in there.parent.iterdir()] == [name]
    assert there.read_text() == "a file of mine"


def test_what_is_not_there_and_no_network(server, tmp_path, monkeypatch):
    address, _ = server
    for where, reason in ((address, "HTTP Error 404: File not found"), ("http://127.0.0.1:9", "refused")):
        monkeypatch.setattr(downloading, "SETS", {"toy": lambda at=where: (remote(at, "three.txt"),)})
        with pytest.raises(DataError) as caught:
            download("toy", str(tmp_path))
        assert str(caught.value).startswith(f"{where}/three.txt could not be fetched (")
        assert reason in str(caught.value)
        assert str(caught.value).endswith(
            f"without a network, fetch it elsewhere and put it here as {tmp_path}/toy/three.txt"
        )
        assert list((tmp_path / "toy").iterdir()) == []


def test_a_folder_that_cannot_be_written(toy, tmp_path):
    (tmp_path / "toy").write_text("no folder")
    with pytest.raises(DataError, match=r"one.txt could not be fetched \(.*File exists"):
        download("toy", str(tmp_path))
    assert toy == []


def test_a_place_that_is_taken(toy, tmp_path):
    (tmp_path / "toy" / "one.txt" / "inside").mkdir(parents=True)
    with pytest.raises(DataError, match=r"one\.txt cannot be written \(.+\); name another folder"):
        download("toy", str(tmp_path))
    assert [path.name for path in (tmp_path / "toy").iterdir()] == ["one.txt"]


def test_an_unknown_name():
    with pytest.raises(UsageError) as caught:
        download("wikitext")
    assert str(caught.value) == (
        "there is no data set 'wikitext' to fetch; did you mean 'wikitext-2'? What can be fetched: ptb, "
        "wikitext-2, multi30k"
    )


def test_what_can_be_fetched_is_what_is_read():
    names = {name: [remote.file for remote in remotes()] for name, remotes in SETS.items()}
    assert {name: len(files) for name, files in names.items()} == {"ptb": 3, "wikitext-2": 3, "multi30k": 9}
    assert all(file.startswith(f"{name}/") for name, files in names.items() for file in files)
    addresses = [remote.address for remotes in SETS.values() for remote in remotes()]
    assert all(address.startswith("https://raw.githubusercontent.com/") for address in addresses)
    assert len(set(addresses)) == 15


@pytest.mark.skipif(
    not Path(os.environ.get(VARIABLE, ""), "wikitext-2").exists(),
    reason="AUTODROPOUT_DATA names no folder with wikitext-2/",
)
def test_files_that_are_there_need_no_network(monkeypatch):
    monkeypatch.setattr(downloading, "urlopen", None)
    for name in SETS:
        if (Path(os.environ[VARIABLE]) / name).exists():
            assert download(name) == Path(os.environ[VARIABLE]).absolute() / name
