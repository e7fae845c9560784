"""Release a landscape: its trials, their data card, and what they say of the space.

    python experiments/release.py --name ptb-small
    python experiments/release.py --name mnist-small

Reads every study below results/NAME/studies, or another directory, whatever part it is. All of them must be
finished, and all parts of experiments/landscape.py there; --partial lets some be missing, which the card then
says. Writes NAME.jsonl, which comes with the package, into src/autodropout/benchmark/data; and
trials.parquet, README.md (the card), surrogate.json, effects.json and effects.md into results/NAME. Some
minutes on one core, nearly all for the comparison of regressors; nothing is written before all is known. The
same studies and commit give the same bytes.
"""

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from autodropout.benchmark.card import Facts, card
from autodropout.benchmark.columns import MAP_UNITS, write_parquet
from autodropout.benchmark.deviation import noise_of
from autodropout.benchmark.gathering import Gathered, gather
from autodropout.benchmark.held_out import by_source, ceiling, compare_regressors
from autodropout.benchmark.landscapes import Benchmark
from autodropout.benchmark.main_effects import MainEffect, main_effects
from autodropout.benchmark.regressors import REGRESSORS
from autodropout.benchmark.strength import Strength, strengths
from autodropout.comparison.kept import COMPARISON
from autodropout.conv_space import ConvSpace
from autodropout.engine.ledger_schema import LEDGER_FILE
from autodropout.engine.study import Study
from autodropout.errors import AutoDropoutError, UsageError
from autodropout.tasks.base import Task
from autodropout.tasks.registry import task_named
from comparing import commit
from landscape import REPEATS
from landscape_parts import by_hand_of, searches_of

ROOT = Path(__file__).parents[1]
PACKAGED = ROOT / "src" / "autodropout" / "benchmark" / "data"
RESULTS = ROOT / "results"

LICENCE: Mapping[str, str] = {
    "ptb-small": "Apache-2.0, as the package. The text of the Penn Treebank is no part of it: these are only "
    "policies and the figures that trainings on it returned.",
    "pydoc-lm": "Apache-2.0, as the package. Python's help texts are no part of it.",
    "mnist-small": "Apache-2.0, as the package. MNIST's images are no part of it: these are only policies "
    "and the figures that trainings on them returned.",
    "cifar10-small": "Apache-2.0, as the package. CIFAR-10's images are no part of it: these are only "
    "policies and the figures that trainings on them returned.",
}

READING = (
    "A size's effect is against the site being off; any other value's is against the mean of its choice "
    "while the site is on. Least squares over all decisions at once, intervals that allow for unequal errors "
    "(HC3); p is of all values of a choice having the same effect, adjusted for the number of choices (Holm)."
)

SIZES = ("size", "height")
"""Names of a site's first choice, whose value 0 is off."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Places:
    """Where the files of a release go.

    Attributes:
        packaged: Directory of the package's data.
        results: Directory in which the landscape has its own.
    """

    packaged: Path
    results: Path


OURS = Places(packaged=PACKAGED, results=RESULTS)
"""Those of this repository."""


def run(
    directory: Path,
    name: str,
    *,
    places: Places = OURS,
    regressors: Sequence[str] = REGRESSORS,
    commit: str = "",
    partial: bool = False,
) -> Gathered:
    """Write all files of a release.

    Args:
        directory: Where the studies lie.
        name: Word for the landscape; if it is a task's, that task's floor is the release's.
        places: Where the files go.
        regressors: Regressors to choose from.
        commit: Of the code.
        partial: Let parts of the landscape be missing.

    Raises:
        UsageError: A part is missing, or a study is not finished.
    """
    task = task_named(name)
    missing = missing_parts(directory, task)
    if missing and not partial:
        raise UsageError(
            f"{directory} lacks {', '.join(missing)}; run experiments/landscape.py --task {name} on, or "
            "release what is there with --partial"
        )
    gathered = gather(directory, floor=task.floor, regressor=regressors[0])
    found = compare_regressors(gathered.release, names=regressors)
    release = replace(gathered.release, regressor=found[0].regressor, licence=LICENCE[name])
    effects, readable = _effects(Benchmark(release, name))
    facts = Facts(
        name=name,
        gathered=replace(gathered, release=release),
        noise=noise_of(release.trials),
        regressors=found,
        sources=by_source(release),
        ceiling=ceiling(release),
        commit=commit,
        commands=(
            f"python experiments/landscape.py --task {name}",
            f"python experiments/release.py --name {name}" + (" --partial" if missing else ""),
        ),
        missing=missing,
    )
    out = places.results / name
    out.mkdir(parents=True, exist_ok=True)
    places.packaged.mkdir(parents=True, exist_ok=True)
    release.save(places.packaged / f"{name}.jsonl")
    write_parquet(release, out / "trials.parquet")
    (out / "README.md").write_text(card(facts), encoding="utf8")
    _write_json(out / "surrogate.json", _judged(facts))
    _write_json(out / "effects.json", effects)
    (out / "effects.md").write_text(readable, encoding="utf8")
    return facts.gathered


def _judged(facts: Facts) -> Mapping[str, Any]:
    """Return what is known of the surrogate and the noise as plain JSON values."""
    return {
        "regressors": [asdict(held) for held in facts.regressors],
        "by_source": {source: asdict(held) for source, held in facts.sources.items()},
        "ceiling": None if facts.ceiling is None else asdict(facts.ceiling),
        "noise": asdict(facts.noise),
    }


def missing_parts(directory: Path, task: Task) -> tuple[str, ...]:
    """Return the parts of the task's landscape that are not below a directory, where all must be finished.

    Args:
        directory: Where the studies lie.
        task: What they train.

    Raises:
        UsageError: A study is not finished, such as the copy of one that was under way.
    """
    there = [Study.open(file.parent) for file in sorted(directory.rglob(LEDGER_FILE))]
    studies = [study for study in there if study.record.searcher != COMPARISON]
    if unfinished := [study.out.relative_to(directory).as_posix() for study in studies if not study.finished]:
        raise UsageError(
            f"{directory} holds studies that are not finished: {', '.join(unfinished)}; go on with them, or "
            "copy them again once they are"
        )
    names = {study.out.name for study in studies}
    parts = (*(part.name for part in (*by_hand_of(task), *searches_of(task))), REPEATS)
    return tuple(name for name in parts if name not in names)


def effects_table(choices: Sequence[MainEffect]) -> str:
    """Return one row per value, choice by choice."""
    lines = [
        "| site | choice | explains | p (Holm) | value | trials | effect on the reward (95% interval) "
        "| share | of the best tenth |",
        "|---|---|---:|---:|---|---:|---:|---:|---:|",
    ]
    for effect in choices:
        head = f"| {effect.site} | {effect.name} | {effect.explained:.1%} | {effect.p:.2g} |"
        for value in effect.values:
            effect_text = f"{value.effect:+.4f} ({value.low:+.4f} to {value.high:+.4f})"
            if (value.effect, value.low, value.high) == (0.0, 0.0, 0.0):
                effect_text = "reference"
            word = "off" if effect.name in SIZES and value.value == 0 else value.value
            lines.append(f"{head} {word} | {value.n} | {effect_text} | {value.share:.1%} | {value.top:.1%} |")
            head = "| | | | |"
    return "\n".join(lines) + "\n"


def strength_table(found: Sequence[Strength], none: float) -> str:
    """Return one row per way of drawing."""
    lines = [
        f"No dropout: {none:.4f}.\n",
        "| drawn | n | sites on | drop rate there | reward: 5% | 25% | median | 75% | 95% | best trial "
        "| above no dropout (95% interval) |",
        "|---|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|",
    ]
    for row in found:
        quantiles = " | ".join(f"{q:.4f}" for q in row.quantiles)
        lines.append(
            f"| {row.source} | {row.n} | {row.sites:g} | {row.rate:.3f} | {quantiles} | {row.best:.4f} "
            f"| {row.better:.0%} ({row.low:.0%} to {row.high:.0%}) |"
        )
    return "\n".join(lines) + "\n"


def _effects(benchmark: Benchmark) -> tuple[Mapping[str, Any], str]:
    """Return what a landscape says of its space, as plain JSON values and as Markdown."""
    found = main_effects(benchmark.trials, benchmark.space)
    chance = strengths(benchmark.trials, benchmark.space, benchmark.none)
    plain = asdict(found) | {"none": benchmark.none, "strength": [asdict(row) for row in chance]}
    reading = f"{READING} {MAP_UNITS}" if isinstance(benchmark.space, ConvSpace) else READING
    text = (
        f"# Which values help: {benchmark.name}\n\n"
        f"{found.n} policies by chance, mean reward {found.mean:.4f}. All choices together explain "
        f"{found.explained:.0%} of the reward's variance, interactions apart. {reading}\n\n"
        f"## A random policy\n\n{strength_table(chance, benchmark.none)}\n"
        f"## Choices, those that explain most first\n\n{effects_table(found.choices)}"
    )
    return plain, text


def _write_json(path: Path, plain: Mapping[str, Any]) -> None:
    path.write_text(json.dumps(plain, indent=1) + "\n", encoding="utf8")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("directory", type=Path, nargs="?", help="of the studies")
    parser.add_argument("--name", choices=LICENCE, default="ptb-small", help="word for the landscape")
    parser.add_argument("--partial", action="store_true", help="let parts be missing; the card says which")
    given = parser.parse_args()
    try:
        directory = given.directory or RESULTS / given.name / "studies"
        gathered = run(directory, given.name, commit=commit(), partial=given.partial)
    except AutoDropoutError as error:
        sys.exit(f"error: {error}")
    release = gathered.release
    print(f"{len(release.trials)} trials, surrogate {release.regressor}; see {RESULTS / given.name}")
