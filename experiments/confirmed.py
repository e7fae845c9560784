"""What the searches on a task found, against tuned baselines and the best setting by hand.

    AUTODROPOUT_DATA=... python experiments/confirmed.py
    AUTODROPOUT_DATA=... python experiments/confirmed.py --task mnist-small

Reads the studies that experiments/landscape.py made. Each baseline's strength is tuned on validation data,
eight strengths on two seeds, unless results/TASK/comparison.json has it tuned already. The arms: no dropout;
the baselines; what did best of all that was set by hand, on roles also the best on the residual stream; the
best policy of every search. All are trained on the same ten fresh seeds; what counts is the held-out figure.
Writes confirmed.json and confirmed.md into results/TASK. On ptb-small 306 trainings of four seconds of one
core, on mnist-small 220 of twelve; it may be stopped at any moment, and the same command goes on.
"""

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

from autodropout.atomic import write_text
from autodropout.comparison import Comparison, compare
from autodropout.comparison.arms import Arm
from autodropout.comparison.tuning import Sweep, Tuned
from autodropout.conv_space import ConvSpace
from autodropout.engine.options import ExecutorName
from autodropout.engine.provenance import command, machine, versions
from autodropout.engine.study import Study
from autodropout.errors import AutoDropoutError, DataError, UsageError
from autodropout.policy import Policy
from autodropout.tasks.base import Baseline, Task
from comparing import Answer, answers, table
from landscape import TASKS
from landscape_parts import by_hand_of, searches_of
from repeated import finished, side, side_by_side, trained_alike

RESULTS = Path(__file__).parents[1] / "results"
OUT = Path("runs/confirmed")
BASELINES = (
    "dropout",
    "variational-dropout",
    "variational-everywhere",
    "word-dropout",
    "drop-attention",
    "residual-words",
)
"""What is tuned on roles; on feature maps it is all that the task has."""

SEARCHERS = ("random", "reinforce", "evolution", "reinforce-remedied")
REMEDIES = ("reinforce-remedied",)
"""Searchers whose studies are no part of the landscape; they lie beside it."""

REPEATS = (1, 2, 3)
RESIDUAL, BY_HAND = "role:residual", "by hand"
SCHEMA = 2
_TUNED_ON = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class How:
    """How to run.

    Attributes:
        seeds: That every arm is trained on.
        workers: Processes, one thread each.
        executor: ``"local"`` for processes, ``"inline"`` for this one.
    """

    seeds: int = 10
    workers: int = 2
    executor: ExecutorName = "local"


def by_hand(studies: Sequence[Study]) -> dict[str, Policy]:
    """Return what was confirmed as best of all that was set by hand, and the best of the residual stream.

    Args:
        studies: The settings by hand; those of feature maps have no residual stream.

    Raises:
        UsageError: A study is not finished.
    """
    for study in studies:
        _check_finished(study)
    residual = [
        (trial.result.reward, trial.policy)
        for study in studies
        for trial in study.trials
        if trial.kind == "search" and trial.result is not None and set(trial.policy.sites) == {RESIDUAL}
    ]
    best = max((study.confirmed[0] for study in studies), key=lambda confirmed: confirmed.reward).policy
    if not residual:
        return {BY_HAND: best}
    return {"one role": best, "residual": max(residual, key=lambda pair: pair[0])[1]}


def found(studies: Path, task: Task) -> dict[str, Policy]:
    """Return the best policy of each search, by searcher and repeat; who did not search is left out.

    Args:
        studies: Directory of the landscape's studies.
        task: Whose landscape it is, which says how often each searcher searches.

    Raises:
        UsageError: A search is not finished, some searches of a searcher are missing, or there is none.
    """
    policies, parts = {}, {part.name for part in searches_of(task)}
    for searcher in SEARCHERS:
        folder, script = studies, "experiments/landscape.py"
        if searcher in REMEDIES:
            folder, script = studies.with_name("remedies"), f"{script} --remedies"
            parts |= {f"{searcher}-{repeat}" for repeat in REPEATS}
        names = [name for repeat in REPEATS if (name := f"{searcher}-{repeat}") in parts]
        missing = [name for name in names if not (folder / name).is_dir()]
        if missing and (len(missing) < len(names) or len(names) < len(REPEATS)):
            raise UsageError(f"{folder} has no {', '.join(missing)}; run {script} on")
        for study in (Study.open(folder / name) for name in names if name not in missing):
            _check_finished(study)
            policies[study.out.name] = study.confirmed[0].policy
    if not policies:
        raise UsageError(f"{studies} holds no search; run experiments/landscape.py first")
    return policies


def tuned_all(task: Task, out: Path, how: How, earlier: Path | None = None) -> list[Tuned]:
    """Return the baselines at their best: as a comparison of the task has tuned them, or tuned now.

    Args:
        task: What is trained.
        out: Directory of the comparisons.
        how: How to run.
        earlier: A comparison.json of the task; None, or no file, tunes.

    Raises:
        KeyboardInterrupt: Somebody asked it to stop.
    """
    known = {baseline.name: baseline for baseline in task.baselines}
    if earlier is not None and earlier.is_file():
        facts = json.loads(earlier.read_text(encoding="utf8"))
        return [_as_tuned(one) for one in facts["tuning"] if one["baseline"] in known]
    names = known if isinstance(task.space(), ConvSpace) else BASELINES
    return [tuned(task, known[name], out / "tune" / name, how) for name in names]


def _as_tuned(facts: Mapping[str, Any]) -> Tuned:
    strengths, rewards = zip(*((one["strength"], one["reward"]) for one in facts["tried"]), strict=True)
    sweep = Sweep(baseline=facts["baseline"], strengths=strengths, seeds=facts["seeds"])
    return Tuned(sweep=sweep, rewards=rewards)


def tuned(task: Task, baseline: Baseline, out: Path, how: How, seeds: int = _TUNED_ON) -> Tuned:
    """Return a baseline at its best on validation data.

    Args:
        task: What is trained.
        baseline: What to tune.
        out: Directory of its comparison.
        how: How to run.
        seeds: That every strength is tried on.

    Raises:
        KeyboardInterrupt: Somebody asked it to stop.
    """
    sweep = Sweep(baseline=baseline.name, strengths=baseline.strengths, seeds=seeds)
    return sweep.read(
        finished(
            compare(
                task.evaluate,
                sweep.arms(lambda strength: partial(task.train, baseline.at(strength))),
                seeds=sweep.seeds,
                figure="reward",
                workers=how.workers,
                executor=how.executor,
                out=out,
                floor=task.floor,
                task=task.key,
            )
        )
    )


def run(
    task: Task, studies: Path, out: Path, how: How, earlier: Path | None = None
) -> tuple[Comparison, Sequence[Tuned], Mapping[str, Any]]:
    """Tune, compare, and set the searchers side by side.

    Args:
        task: What is trained.
        studies: Directory of the landscape's studies.
        out: Directory of the comparisons.
        how: How to run.
        earlier: A comparison.json that has the baselines tuned already; None, or no file, tunes them.

    Returns:
        The comparison, the tuned baselines, and the searchers as ``side_by_side`` returns them.

    Raises:
        DataError: The task's data are missing.
        KeyboardInterrupt: Somebody asked it to stop.
        UsageError: A study is missing or not finished.
    """
    if missing := task.missing():
        raise DataError(missing)
    hands = [Study.open(studies / part.name) for part in by_hand_of(task)]
    policies = by_hand(hands) | found(studies, task)
    best = tuned_all(task, out, how, earlier)
    arms = without_search(task, best) | policies
    baselines = [name for name in arms if name.rpartition("-")[0] not in SEARCHERS]
    comparison = trained_alike(task, arms, baselines, out, how)
    return comparison, best, side_by_side(comparison, SEARCHERS, "random")


def without_search(task: Task, best: Sequence[Tuned]) -> dict[str, Arm]:
    """Return the arms that no search found: no dropout, and each baseline at its best."""
    known = {baseline.name: baseline for baseline in task.baselines}
    arms: dict[str, Arm] = {"none": None}
    return arms | {
        arm_of(one): partial(task.train, known[one.sweep.baseline].at(one.strength)) for one in best
    }


def beside(comparison: Comparison, best: Sequence[Tuned]) -> list[Answer]:
    """Measure what every search found against every tuned baseline, p-values adjusted for all these pairs.

    Args:
        comparison: Arms named searcher-repeat, and the baselines.
        best: The baselines.
    """
    searches = [name for name in comparison.values if name.rpartition("-")[0] in SEARCHERS]
    return answers(comparison, [[(name, arm_of(one)) for name in searches for one in best]])


def arm_of(one: Tuned) -> str:
    """Return what the arm of a tuned baseline is called."""
    return f"{one.sweep.baseline} {one.strength:g}"


def written(
    task: Task, comparison: Comparison, best: Sequence[Tuned], sides: Mapping[str, Any]
) -> tuple[str, str]:
    """Return confirmed.json and confirmed.md."""
    pairs = beside(comparison, best)
    document = {
        "schema": SCHEMA,
        "task": task.key,
        "command": command(),
        "versions": versions(),
        "machine": machine(),
        "tuning": tuning(best),
        "searchers": sides,
        "pairs": [asdict(pair) for pair in pairs],
        "comparison": json.loads(comparison.to_json()),
    }
    lines = [
        f"# What the searches on {task.name} found",
        "",
        f"`python experiments/confirmed.py --task {task.name}`. {_counted(sides)}; each 128 "
        f"trials and 32 to confirm; {_set_by_hand(comparison)} of the settings by hand.",
        "",
        comparison.to_markdown(),
        "## Searchers",
        "",
        f"Held-out {comparison.figure}, mean over all searches of a kind. Differences to random search, "
        "with 95% intervals: over seeds they say how these policies differ, over repeats how searches do.",
        "",
        "| searcher | mean | each search | against random, over seeds | over repeats |",
        "|---|---:|---|---|---|",
        *(side(name, facts) for name, facts in sides.items()),
        "",
        "## Beside the tuned methods",
        "",
        table(comparison.figure, pairs, len(comparison.seeds)),
        "## Tuning",
        "",
        *(f"- {one}." for one in best),
    ]
    return json.dumps(document, indent=1, allow_nan=False) + "\n", "\n".join(lines) + "\n"


def tuning(best: Sequence[Tuned]) -> list[dict[str, Any]]:
    """Return how the baselines were tuned, as plain JSON values."""
    return [asdict(one) | {"strength": one.strength, "trials": one.trials} for one in best]


def _counted(sides: Mapping[str, Any]) -> str:
    """Say how many searches there were: of each kind, or kind by kind where that differs."""
    numbers = {name: len(facts["repeats"]) for name, facts in sides.items()}
    if len(set(numbers.values())) == 1 and (number := next(iter(numbers.values()))) > 1:
        return f"{number} searches of each kind"
    return "Searches: " + ", ".join(f"{number} by {name}" for name, number in numbers.items())


def _set_by_hand(comparison: Comparison) -> str:
    one = BY_HAND in comparison.values
    return f"*{BY_HAND}* is the best" if one else "*one role* and *residual* are the best"


def _check_finished(study: Study) -> None:
    if not study.finished:
        raise UsageError(f"the study in {study.out} is not finished; run experiments/landscape.py on")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--task", choices=TASKS, default="ptb-small", help="what is trained")
    parser.add_argument("--seeds", type=int, default=How().seeds, help="that every arm is trained on")
    parser.add_argument("--workers", type=int, default=How().workers, help="processes, one thread each")
    parser.add_argument("--out", type=Path, default=OUT, help="directory of the comparisons")
    given = parser.parse_args()
    task, results = TASKS[given.task], RESULTS / given.task
    how = How(seeds=given.seeds, workers=given.workers)
    try:
        comparison, best, sides = run(
            task, results / "studies", given.out / given.task, how, results / "comparison.json"
        )
    except AutoDropoutError as error:
        sys.exit(f"error: {error}")
    except KeyboardInterrupt:
        sys.exit("Stopped; nothing is lost. The same command goes on.")
    plain, readable = written(task, comparison, best, sides)
    write_text(results / "confirmed.json", plain)
    write_text(results / "confirmed.md", readable)
    print(comparison)
