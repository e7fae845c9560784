"""The wheel: the project's build backend puts in what the package reads, and nothing else."""

import subprocess
import sys
from pathlib import Path
from zipfile import ZipFile

import pytest

import autodropout as ad

ROOT = Path(__file__).parents[1]
CODE = """
import sys

def refuse(event, args):
    if event == "socket.connect":
        raise PermissionError(event)

sys.addaudithook(refuse)
from hatchling.build import build_wheel

print(build_wheel(sys.argv[1]))
"""


@pytest.fixture(scope="module")
def inside(tmp_path_factory):
    """Names and sizes of the files of a wheel that is built without network."""
    pytest.importorskip("hatchling", reason="builds the wheel")
    out = tmp_path_factory.mktemp("wheel")
    words = [sys.executable, "-c", CODE, str(out)]
    built = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=False)
    assert built.returncode == 0, built.stderr
    with ZipFile(out / built.stdout.split()[-1]) as wheel:
        return {info.filename: info.file_size for info in wheel.infolist()}


def test_what_the_package_reads_is_in_the_wheel(inside):
    package = ROOT / "src" / "autodropout"
    read = [
        *(f"benchmark/data/{name}.jsonl" for name in ad.benchmark.names()),
        *(f"zoo/policies/{name}.json" for name in ad.zoo.names()),
        "py.typed",
        *(path.relative_to(package).as_posix() for path in package.rglob("*.py")),
    ]
    assert {name: inside.get(f"autodropout/{name}") for name in read} == {
        name: (package / name).stat().st_size for name in read
    }


def test_nothing_else_is_in_the_wheel(inside):
    assert {name.split("/")[0] for name in inside} == {
        "autodropout",
        f"autodropout-{ad.__version__}.dist-info",
    }
    assert {Path(name).suffix for name in inside if name.startswith("autodropout/")} == {
        ".py",
        ".json",
        ".jsonl",
        ".md",
        ".typed",
        ".css",
        ".js",
    }
    assert sum(inside.values()) < 10_000_000
    assert any(name.endswith("licenses/LICENSE") for name in inside)
