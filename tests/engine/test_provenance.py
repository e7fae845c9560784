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
    assert provenance.machine().keys() == {"system", "architecture", "processor", "processors"}
    monkeypatch.setattr(sys, "argv", ["autodropout", "search", "my task"])
    assert shlex.split(provenance.command()) == ["autodropout", "search", "my task"]


def test_the_processor_has_the_name_that_linux_gives_it(tmp_path, monkeypatch):
    file = tmp_path / "cpuinfo"
    file.write_text("processor\t: 0\nmodel name\t: Abacus: wide\nflags\t: x\nmodel name\t: other\n")
    monkeypatch.setattr(provenance, "_CPUINFO", file)
    assert provenance.machine()["processor"] == "Abacus: wide"
    file.write_text("processor\t: 0\n")
    assert provenance.machine()["processor"] == "unknown"
    monkeypatch.setattr(provenance, "_CPUINFO", tmp_path / "absent")
    assert provenance.machine()["processor"] == (platform.processor() or "unknown")
