"""Apply a policy to timm's, torchvision's and Hugging Face's networks, train a step, remove it, and look.

    python benchmarks/models.py run [--library timm] [--match "resnet*"] [--shard 0/2] [--limit 50] [--again]
    python benchmarks/models.py page

``run`` appends one line per network to runs/models/ and goes on where it was stopped; a network whose process
was killed under it is noted as such and left out from then on. One network of each family comes before the
second of any, so that a run that was stopped has seen them all. Where there are no lines yet, it goes on from
results/models.json; ``--anew`` does not. ``--again`` tries once more what did not pass. ``page`` gathers the
lines into results/models.json and writes docs/models.md from that.
"""

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")

import argparse
import gc
import json
import time
import warnings
from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

import timm
import torchvision
import transformers

import record
from model_check import check
from model_page import page
from model_zoo import LIBRARIES, CannotRunError, build, family, names

Line = Mapping[str, object]
AGAIN = "again.jsonl"  # sorts behind the shards, so that its lines count
BEFORE = "0-before.jsonl"  # sorts before them, so that theirs count
ROOT = Path(__file__).parent.parent
RUNS, RESULTS, PAGE = ROOT / "runs" / "models", ROOT / "results" / "models.json", ROOT / "docs" / "models.md"


def examined(library: str, name: str) -> Line:
    """Build a network, check it, and return what was found as plain values."""
    began = time.perf_counter()
    line: dict[str, object] = {"library": library, "name": name, "family": family(library, name)}
    try:
        built = build(library, name)
        line |= {"side": built.side, "reduced": built.reduced}
        line |= asdict(check(built.model, built.inputs))
    except CannotRunError as error:
        line |= {"skipped": str(error)}
    except Exception as error:
        line |= {"failures": [f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"]}
    return line | {"seconds": round(time.perf_counter() - began, 2)}


def run(wanted: Iterable[tuple[str, str]], lines: Path, limit: int | None) -> None:
    """Examine networks one after the other; each is written down before it starts and when it ends."""
    lines.parent.mkdir(parents=True, exist_ok=True)
    _end_last_line(lines)
    done = {(line["library"], line["name"]) for line in gathered(lines.parent)}
    done |= set(_killed(lines))
    examine([one for one in wanted if one not in done][:limit], lines)


def run_again(wanted: Container[tuple[str, str]], folder: Path, limit: int | None) -> None:
    """Examine once more those networks that were skipped or did not pass; what is found now counts."""
    _end_last_line(folder / AGAIN)
    missed = [line for line in gathered(folder) if "skipped" in line or line["failures"]]
    todo = [(str(line["library"]), str(line["name"])) for line in missed]
    examine([one for one in todo if one in wanted][:limit], folder / AGAIN)


def go_on_from(results: Path, folder: Path) -> None:
    """Begin with what an earlier run, perhaps on another machine, has left in results/models.json."""
    if results.exists() and not any(folder.glob("*.jsonl")):
        folder.mkdir(parents=True, exist_ok=True)
        with (folder / BEFORE).open("w", encoding="utf8") as file:
            for line in json.loads(results.read_text(encoding="utf8"))["models"]:
                _write(file, line)


def examine(todo: Sequence[tuple[str, str]], lines: Path) -> None:
    """Examine networks and append what is found, with the commit that it was found at."""
    commit = record.header()["commit"]
    with lines.open("a", encoding="utf8") as file:
        for count, (library, name) in enumerate(todo, 1):
            _write(file, {"library": library, "name": name, "began": True})
            line = examined(library, name) | {"commit": commit}
            _write(file, line)
            print(f"{count}/{len(todo)} {library} {name}: {_verdict(line)} ({line['seconds']} s)", flush=True)
            gc.collect()


def gathered(folder: Path) -> list[Line]:
    """Return what was found so far: the last line of each network that ended, by library and name."""
    found: dict[tuple[object, object], Line] = {}
    for path in sorted(folder.glob("*.jsonl")):
        for line in _read(path):
            if "began" not in line:
                found[line["library"], line["name"]] = line
    return [found[key] for key in sorted(found, key=str)]


def _killed(lines: Path) -> Iterator[tuple[str, str]]:
    """Note down networks that began here and never ended; yield them."""
    ended = {(line["library"], line["name"]) for line in gathered(lines.parent)}
    begun = {(str(line["library"]), str(line["name"])) for line in _read(lines) if "began" in line}
    for library, name in sorted(begun - ended):
        with lines.open("a", encoding="utf8") as file:
            where = {"library": library, "name": name, "family": family(library, name)}
            _write(file, where | {"skipped": "the process was killed while it ran", "seconds": 0.0})
        yield library, name


def _end_last_line(path: Path) -> None:
    """End a line that a killed process left unfinished, or the next one would be lost with it."""
    if path.exists() and not path.read_text(encoding="utf8").endswith("\n"):
        with path.open("a", encoding="utf8") as file:
            file.write("\n")


def _read(path: Path) -> Iterator[Line]:
    if path.exists():
        for text in path.read_text(encoding="utf8").splitlines():
            try:
                yield json.loads(text)
            except json.JSONDecodeError:  # the last line of a process that was killed
                continue


def _write(file: object, line: Line) -> None:
    print(json.dumps(line), file=file, flush=True)  # type: ignore[call-overload]


def _verdict(line: Line) -> str:
    if "skipped" in line:
        return f"skipped, {line['skipped']}"
    return f"FAILED: {line['failures']}" if line["failures"] else f"{line['sites']} sites"


def write_page() -> None:
    """Write results/models.json from the lines, and docs/models.md from that."""
    lines = gathered(RUNS)
    rows = ",\n".join(json.dumps(line) for line in lines)
    header = record.header() | {"existing": {library: len(names(library)) for library in LIBRARIES}}
    libraries = {library.__name__: library.__version__ for library in (timm, torchvision, transformers)}
    head = json.dumps(header | {"versions": {**header["versions"], **libraries}}, indent=2)
    RESULTS.write_text(f'{head[:-2]},\n  "models": [\n{rows}\n]\n}}\n', encoding="utf8")
    PAGE.write_text(page(json.loads(RESULTS.read_text(encoding="utf8"))), encoding="utf8")
    print(f"{len(lines)} networks: {RESULTS.relative_to(ROOT)}, {PAGE.relative_to(ROOT)}")


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("what", choices=("run", "page"))
    parser.add_argument("--library", choices=LIBRARIES, help="one of the three; all by default")
    parser.add_argument("--match", default="*", help='glob of names, such as "resnet*"')
    parser.add_argument("--shard", default="0/1", help="I/N: every N-th network, from the I-th on")
    parser.add_argument("--limit", type=int, help="stop after so many networks")
    parser.add_argument("--anew", action="store_true", help="leave out what results/models.json holds")
    parser.add_argument("--again", action="store_true", help="only those that were skipped or did not pass")
    chosen = parser.parse_args()
    if chosen.what == "page":
        write_page()
        return
    first, count = map(int, chosen.shard.split("/"))
    libraries = (chosen.library,) if chosen.library else LIBRARIES
    every = [(library, name) for library in libraries for name in names(library, chosen.match)]
    warnings.simplefilter("ignore")
    if not chosen.anew:
        go_on_from(RESULTS, RUNS)
    if chosen.again:
        run_again(set(every), RUNS, chosen.limit)
    else:
        run(every[first::count], RUNS / f"{first}-of-{count}.jsonl", chosen.limit)


if __name__ == "__main__":
    main()
