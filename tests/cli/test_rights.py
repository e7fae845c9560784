"""What an unprivileged user meets: these tests give up root's rights in a process of their own."""

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from recorded import record_whole_study

NOBODY = 65534
# All is imported and used once before: the interpreter's own files may be root's alone, too.
CODE = f"""
import contextlib, importlib, io, json, os, pkgutil, sys, traceback
import autodropout.cli, autodropout.engine, autodropout.report
for package in (autodropout.cli, autodropout.engine, autodropout.report):
    for module in pkgutil.iter_modules(package.__path__, package.__name__ + "."):
        importlib.import_module(module.name)
with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
    for words in (["tasks"], ["status", os.devnull], ["search", "digits", "--workers", "0"]):
        autodropout.cli.main(words)
if os.geteuid() == 0:
    os.setgroups([]), os.setgid({NOBODY}), os.setuid({NOBODY})
outcomes = []
for words in json.loads(sys.argv[1]):
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = autodropout.cli.main(words)
    outcomes.append((code, out.getvalue(), err.getvalue()))
print(json.dumps(outcomes))
"""


@pytest.fixture
def open_path():
    """A directory that everybody may pass through; those that pytest makes are private."""
    with TemporaryDirectory() as name:
        path = Path(name)
        path.chmod(0o755)
        yield path


def unprivileged(cwd: Path, commands: Sequence[Sequence[str]]) -> list[tuple[int, str, str]]:
    """Run commands one after the other without any right; return exit code, output and errors of each."""
    words = [sys.executable, "-c", CODE, json.dumps(commands)]
    run = subprocess.run(words, capture_output=True, text=True, check=False, cwd=cwd)
    if "os.setgroups" in run.stderr and "PermissionError" in run.stderr:
        pytest.skip("this system does not let root give up its rights")
    assert run.returncode == 0, run.stderr
    return [tuple(outcome) for outcome in json.loads(run.stdout)]


SECRET = (
    "status {}",
    "resume {}",
    "report {}",
    "logs {} 1",
    "search digits --out {}/y",
    "search digits --out {}",
    "show {}/p.json",
)


def test_directories_that_may_only_be_read_or_not_even_looked_into(open_path):
    whole, secret = open_path / "x", open_path / "secret"
    record_whole_study(whole)
    (whole / "study.lock").touch()
    (whole / "study.lock").chmod(0o444)
    whole.chmod(0o555)
    secret.mkdir()
    secret.chmod(0o700 if os.geteuid() == 0 else 0)
    try:
        (code, text, error), *refused = unprivileged(
            open_path,
            [["status", str(whole)], *(command.format(secret).split() for command in SECRET)],
        )
    finally:
        whole.chmod(0o755)
        secret.chmod(0o755)
    assert (code, error) == (0, "")
    assert "finished" in text
    for code, text, error in refused:
        assert (code, text) == (2, ""), error
        assert error.count("\n") == 1
        assert "(Permission denied)" in error
        assert "this should not happen" not in error
