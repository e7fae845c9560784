"""What every benchmark writes beside its figures: commit, machine, versions, and how figures spread."""

import json
import os
import shlex
import statistics
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from autodropout.engine.provenance import machine, versions

FOLDER = Path(__file__).parent / "results"
ROOT = Path(__file__).parent.parent


def summary(values: Sequence[float], unit: str, *, target: float | None = None) -> dict[str, object]:
    """Return n, median, spread (distance of the quartiles) and extremes of repeated measurements."""
    ordered = sorted(values)
    quartiles = statistics.quantiles(ordered, n=4) if len(ordered) > 1 else ordered * 3
    figures: dict[str, object] = {
        "unit": unit,
        "n": len(ordered),
        "median": statistics.median(ordered),
        "spread": quartiles[2] - quartiles[0],
        "least": ordered[0],
        "most": ordered[-1],
    }
    return figures if target is None else figures | {"target": target}


def header() -> dict[str, object]:
    """Return commit, machine, versions and the time of the measurement."""
    return {
        "commit": _git("rev-parse", "--short", "HEAD"),
        "uncommitted_changes": bool(
            _git(
                "status",
                "--porcelain",
                "--untracked-files=no",
                "src",
                "benchmarks",
                f":!{FOLDER.relative_to(ROOT)}",
            )
        ),
        "command": "python " + shlex.join([str(Path(sys.argv[0]).name), *sys.argv[1:]]),
        "measured": time.strftime("%Y-%m-%d %H:%M:%S"),
        "machine": machine() | {"load": os.getloadavg()[0]},
        "versions": versions(),
    }


def write(name: str, figures: Mapping[str, object]) -> Path:
    """Write the figures under their header to results/NAME.json and print them."""
    FOLDER.mkdir(exist_ok=True)
    path = FOLDER / f"{name}.json"
    text = json.dumps(header() | {"figures": dict(figures)}, indent=2) + "\n"
    path.write_text(text, encoding="utf8")
    print(text)
    return path


def _git(*arguments: str) -> str:
    told = subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, text=True, check=False)
    return told.stdout.strip()
