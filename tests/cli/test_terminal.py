import subprocess
import sys
from pathlib import Path

import pytest

from autodropout.cli.terminal import command, console, program


@pytest.fixture
def script(tmp_path, monkeypatch):
    path = tmp_path / "my env" / "autodropout"
    path.parent.mkdir()
    path.write_text("#!/bin/sh\n")
    path.chmod(0o755)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["my env/autodropout", "search", "digits"])
    monkeypatch.setenv("PATH", "/usr/bin:/bin")
    return path


def test_its_path_where_the_shell_does_not_find_it(script):
    assert command("resume", Path("my runs/x")) == "'my env/autodropout' resume 'my runs/x'"


def test_its_path_where_the_shell_finds_another(script, tmp_path, monkeypatch):
    other = tmp_path / "other" / "autodropout"
    other.parent.mkdir()
    other.write_text("#!/bin/sh\n")
    other.chmod(0o755)
    monkeypatch.setenv("PATH", str(other.parent))
    assert program() == ("my env/autodropout",)


def test_its_name_where_the_shell_finds_it(script, monkeypatch):
    monkeypatch.setenv("PATH", str(script.parent))
    assert command("resume", "x") == "autodropout resume x"


def test_as_a_module(monkeypatch):
    monkeypatch.setattr(sys, "argv", ["/lib/autodropout/__main__.py", "tasks"])
    assert program() == (sys.executable, "-m", "autodropout")


def test_a_printed_command_of_a_module_can_be_pasted(tmp_path):
    words = [sys.executable, "-m", "autodropout", "status", "missing"]
    run = subprocess.run(words, capture_output=True, text=True, check=False, cwd=tmp_path)
    assert run.returncode == 2
    assert f"begin one with: {sys.executable} -m autodropout search\n" in run.stderr


def test_its_name_where_something_else_called_it(monkeypatch):
    monkeypatch.setattr(sys, "argv", ["notebook.py"])
    assert program() == ("autodropout",)


def test_texts_are_printed_as_they_are(capsys):
    console().print("[bold]role:key:[/b]")
    console(stderr=True).print("a :key: [/x]")
    assert capsys.readouterr() == ("[bold]role:key:[/b]\n", "a :key: [/x]\n")
