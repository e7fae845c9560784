"""Halving and warm starts on a task itself, at the compute of the landscape's searches by REINFORCE.

    AUTODROPOUT_DATA=... python experiments/cheaper_searches.py

Three searches of either kind over the landscape's space. Each may spend what a search of the landscape spent,
128 full trainings and 32 to confirm. *halving* begins with trainings of fewer steps on as much less text,
which foretell more than fewer steps alone (experiments/early.py), and stops when 128 are spent;
*warm* first draws 64 policies from the starting bias, then searches 64 more from what these have taught. What
they and the landscape's searches found is trained on ten fresh seeds; what counts is the held-out perplexity.
Writes cheaper.json and cheaper.md into results/TASK, the studies beside them. About 1,050 trainings of five
seconds of one core; it may be stopped at any moment, and the same command goes on.
"""

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import landscape
from autodropout.atomic import write_text
from autodropout.comparison import Comparison
from autodropout.engine.confirm import Confirmation
from autodropout.engine.control import request
from autodropout.engine.events import Event, TrialFinished, TrialPromoted
from autodropout.engine.halving import Halving
from autodropout.engine.ledger_schema import LEDGER_FILE
from autodropout.engine.options import ExecutorName
from autodropout.engine.provenance import command, machine, versions
from autodropout.engine.study import Study
from autodropout.errors import AutoDropoutError, UsageError
from autodropout.tasks.text.small import PtbSmall, PydocLm
from landscape import conducted
from landscape_parts import Part
from repeated import side, side_by_side, trained_alike

RESULTS = Path(__file__).parents[1] / "results"
OUT = Path("runs/cheaper")
TASKS = {task.name: task for task in (PtbSmall(), PydocLm())}
PLAIN, HALVING, WARM, EARLIER = "reinforce", "halving", "warm", "earlier"
KINDS = (PLAIN, HALVING, WARM)
REPEATS = (1, 2, 3)
SCHEMA = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class How:
    """How to run.

    Attributes:
        trainings: What a search may spend before it confirms.
        confirm: How every search ends.
        seeds: That every policy is trained on in the end.
        workers: Processes, one thread each.
        executor: ``"local"`` for processes, ``"inline"`` for this one.
    """

    trainings: int = 128
    confirm: Confirmation = field(default_factory=Confirmation)
    seeds: int = 10
    workers: int = 2
    executor: ExecutorName = "local"

    @property
    def trials(self) -> landscape.How:
        """How to run the trials of a search."""
        return landscape.How(workers=self.workers, executor=self.executor)


def run(task: PtbSmall | PydocLm, folder: Path, how: How) -> list[Study]:
    """Search on where it was stopped; return all searches, in the order in which they ran.

    Args:
        task: What is trained.
        folder: Directory of the studies.
        how: How to run them.

    Raises:
        KeyboardInterrupt: Somebody asked it to stop.
    """
    half, halving = how.trainings // 2, Halving()
    found = []
    for repeat in REPEATS:
        part = Part(
            name=f"{HALVING}-{repeat}",
            searcher=PLAIN,
            trials=halving.proposals(how.trainings),
            seed=repeat,
            confirm=how.confirm,
            halving=halving,
        )
        found.append(_within(task, folder, part, how))
    for repeat in REPEATS:
        first = Part(name=f"{EARLIER}-{repeat}", searcher="random-biased", trials=half, seed=repeat + 10)
        then = Part(
            name=f"{WARM}-{repeat}",
            searcher=PLAIN,
            trials=how.trainings - half,
            seed=repeat,
            confirm=how.confirm,
            warm_start=first.name,
        )
        found += [_searched(task, folder, part, how) for part in (first, then)]
    return found


def spent(study: Study) -> float:
    """Return how many full trainings a search took without its confirmation."""
    return sum(trial.budget for trial in study.trials if trial.kind == "search" and trial.result is not None)


def _within(task: PtbSmall | PydocLm, folder: Path, part: Part, how: How) -> Study:
    """Search until the trainings are spent, whatever the halving foretold, then confirm."""
    out, last = folder / part.name, how.trainings - 1.0  # what runs then is the last
    used = spent(Study(out)) if (out / LEDGER_FILE).exists() else 0.0

    def stop_at_the_limit(event: Event) -> None:
        nonlocal used
        if isinstance(event, TrialPromoted) or (isinstance(event, TrialFinished) and event.kind == "search"):
            used += event.budget
            if used >= last:
                request(out, "stop")

    if used < last:
        study = conducted(task, folder, how.trials, part, stop_at_the_limit)
        if study.finished:
            return study
        if spent(study) < last:
            raise KeyboardInterrupt
    return _searched(task, folder, replace(part, trials=Study(out).tally().proposed), how)


def _searched(task: PtbSmall | PydocLm, folder: Path, part: Part, how: How) -> Study:
    study = conducted(task, folder, how.trials, part)
    if not study.finished:
        raise KeyboardInterrupt
    return study


def compared(task: PtbSmall | PydocLm, studies: Sequence[Study], out: Path, how: How) -> Comparison:
    """Train what all searches found on the same fresh seeds.

    Args:
        task: What is trained.
        studies: All searches, the landscape's among them; those that did not confirm take no part.
        out: Directory of the comparison.
        how: How to run.

    Raises:
        KeyboardInterrupt: Somebody asked it to stop.
    """
    arms = {study.out.name: study.confirmed[0].policy for study in studies if study.confirmed}
    plain = [name for name in arms if name.startswith(PLAIN)]
    return trained_alike(task, arms, plain, out, how)


def document(task: PtbSmall | PydocLm, studies: Sequence[Study], comparison: Comparison) -> dict[str, Any]:
    """Return cheaper.json.

    Args:
        task: What was trained.
        studies: All searches, the landscape's among them.
        comparison: Of what they found.
    """
    cost = {study.out.name: spent(study) for study in studies}
    proposed = {study.out.name: study.tally().proposed for study in studies}
    for repeat in REPEATS:
        for counted in (cost, proposed):
            counted[f"{WARM}-{repeat}"] += counted.pop(f"{EARLIER}-{repeat}")
    return {
        "schema": SCHEMA,
        "task": task.key,
        "command": command(),
        "versions": versions(),
        "machine": machine(),
        "searches": {
            study.out.name: {
                "proposed": proposed[study.out.name],
                "trainings": cost[study.out.name],
                "confirmed": study.confirmed[0].reward,
            }
            for study in studies
            if study.out.name in cost
        },
        "kinds": side_by_side(comparison, KINDS, PLAIN),
        "comparison": json.loads(comparison.to_json()),
    }


def readable(task: PtbSmall | PydocLm, facts: Mapping[str, Any], comparison: Comparison) -> str:
    """Return cheaper.md."""
    searches: Mapping[str, Mapping[str, float]] = facts["searches"]
    lines = [
        f"# Halving and warm starts on {task.name}",
        "",
        f"`python experiments/cheaper_searches.py`. {len(REPEATS)} searches of each kind, "
        "at the same compute.",
        "",
        "| search | policies proposed | full trainings | confirmed reward |",
        "|---|---:|---:|---:|",
        *(
            f"| {name} | {one['proposed']} | {one['trainings']:.1f} | {one['confirmed']:.4f} |"
            for name, one in searches.items()
        ),
        "",
        f"Held-out {comparison.figure} of what they found, mean over the searches of a kind, differences to "
        f"*{PLAIN}* with 95% intervals: over seeds they say how these policies differ, over repeats how "
        "searches do.",
        "",
        f"| kind | mean | each search | against {PLAIN}, over seeds | over repeats |",
        "|---|---:|---|---|---|",
        *(side(name, one) for name, one in facts["kinds"].items()),
        "",
        comparison.to_markdown(),
    ]
    return "\n".join(lines) + "\n"


def _landscape(studies: Path) -> list[Study]:
    missing = [name for repeat in REPEATS if not (studies / (name := f"{PLAIN}-{repeat}")).is_dir()]
    if missing:
        raise UsageError(f"{studies} has no {', '.join(missing)}; run experiments/landscape.py first")
    return [Study.open(studies / f"{PLAIN}-{repeat}") for repeat in REPEATS]


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--task", choices=TASKS, default="ptb-small", help="what is trained")
    parser.add_argument("--workers", type=int, default=How().workers, help="processes, one thread each")
    parser.add_argument("--out", type=Path, default=OUT, help="directory of the comparison")
    given = parser.parse_args()
    task, results, how = TASKS[given.task], RESULTS / given.task, How(workers=given.workers)
    try:
        studies = [*_landscape(results / "studies"), *run(task, results / "cheaper", how)]
        comparison = compared(task, studies, given.out / given.task, how)
    except AutoDropoutError as error:
        sys.exit(f"error: {error}")
    except KeyboardInterrupt:
        sys.exit("Stopped; nothing is lost. The same command goes on.")
    facts = document(task, studies, comparison)
    write_text(results / "cheaper.json", json.dumps(facts, indent=1, allow_nan=False) + "\n")
    write_text(results / "cheaper.md", readable(task, facts, comparison))
    print(comparison)
