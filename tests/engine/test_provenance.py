import platform
import shlex
import sys

from autodropout.engine import provenance


def test_versions_name_what_is_missing(monkeypatch):
    assert provenance.versions()["python"] == platform.python_version()
    assert provenance.versions()["torch"].startswith("2.")
    monkeypatch.setattr(provenance, "_PACKAGES", ("no-such-package",))
    assert provenance.versions()["no-such-package"] == "not installed"


def test_machine_and_command(monkeypatch):
    assert provenance.machine().keys() == {"system", "architecture", "processors"}
    monkeypatch.setattr(sys, "argv", ["autodropout", "search", "my task"])
    assert shlex.split(provenance.command()) == ["autodropout", "search", "my task"]
