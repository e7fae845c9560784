"""A policy found on one task tried on others, without a new search (the paper's Table 4, at a small size).

    AUTODROPOUT_DATA=... python experiments/transfer.py results/ptb-small/studies/reinforce-{1,2,3}

The policy is the one with the highest confirmed reward on ptb-small in the searches that are named; nothing
of the other task is looked at. There it is compared with none, with that task's default dropout (in the paper
variational dropout on WikiText-2, plain dropout in translation) and with variational dropout everywhere, on
wikitext2-small with the other known methods, too, all tuned on validation, on five fresh seeds and held-out
test figures. The policy's differences to the default, to variational dropout everywhere and to none are named
before anything runs and adjusted for their number. What was found is put into results/transfer/. That is 178
trainings of about six seconds on wikitext2-small, and 52 of about 45 each on multi30k-de-en and
multi30k-en-fr. It may be stopped at any moment; the same command goes on. --targets names some of these, or
those of the paper's size, for which its own search on Penn Treebank would be needed: wikitext2-txl,
iwslt14-de-en, wmt14-en-fr. A policy in a file of your own is tried by: autodropout compare multi30k-de-en
--policy FILE --seeds 5
"""

import argparse
import json
import shutil
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from autodropout.atomic import write_text
from autodropout.cli import main
from autodropout.comparison import Comparison, read_comparison
from autodropout.engine.study import Study
from autodropout.errors import AutoDropoutError, UsageError
from autodropout.result import Confirmed
from comparing import FILES, STOPPED, answers, copied, table

RESULTS = Path(__file__).parents[1] / "results" / "transfer"
OUT = Path("runs/transfer")
SOURCE = "ptb-small"
POLICY = "policy.json"
PAIRS = "pairs"
TRANSLATION = ("none", "dropout", "variational-everywhere")
TARGETS = {
    "wikitext2-small": (
        "none",
        "variational-dropout",
        "dropout",
        "word-dropout",
        "layer-drop",
        "drop-attention",
        "r-drop",
        "paper-finding",
        "variational-everywhere",
    ),
    "multi30k-de-en": TRANSLATION,
    "multi30k-en-fr": TRANSLATION,
    "wikitext2-txl": ("none", "variational-dropout", "variational-everywhere"),
    "iwslt14-de-en": TRANSLATION,
    "wmt14-en-fr": TRANSLATION,
}
"""Tasks that the policy is tried on, each with what it is compared with: none, then its default dropout."""

SMALL = ("wikitext2-small", "multi30k-de-en", "multi30k-en-fr")


@dataclass(frozen=True, slots=True, kw_only=True)
class How:
    """How to compare.

    Attributes:
        targets: Names of the tasks, of ``TARGETS``.
        seeds: That every arm is trained on.
        tune_trials: For each baseline.
        workers: Processes, one thread each.
        data: Folder of data sets; None for what the environment says.
    """

    targets: tuple[str, ...] = SMALL
    seeds: int = 5
    tune_trials: int = 16
    workers: int = 2
    data: Path | None = None


def best_of(studies: Sequence[Path], source: str = SOURCE) -> tuple[Path, Confirmed]:
    """Return the search whose best policy has the highest confirmed reward, and that policy.

    Args:
        studies: Directories of searches.
        source: Key of the task that they must be of.

    Raises:
        UsageError: A search is of another task, or not finished; or none has a confirmed policy.
    """
    found: list[tuple[Path, Confirmed]] = []
    for place in studies:
        study = Study.open(place)
        if study.task != source:
            raise UsageError(f"{place} is a search on {study.task!r}; expected one on {source!r}")
        if not study.finished:
            raise UsageError(f"the search in {place} is not finished: autodropout resume {place}")
        found += [(place, best) for best in study.confirmed[:1]]
    if not found:
        raise UsageError("no search has confirmed a policy; name searches that confirm their best")
    return max(found, key=lambda pair: pair[1].reward)


def commands(how: How, policy: Path, out: Path) -> dict[str, list[str]]:
    """Return the arguments of one comparison for each target."""
    shared = ["--seeds", str(how.seeds), "--tune-trials", str(how.tune_trials)]
    shared += ["--workers", str(how.workers)]
    shared += [] if how.data is None else ["--data", str(how.data)]
    return {
        target: [
            *("compare", target, "--policy", str(policy), "--baselines", ",".join(TARGETS[target])),
            *(*shared, "--out", str(out / target)),
        ]
        for target in how.targets
    }


def run(
    studies: Sequence[Path],
    how: How,
    out: Path = OUT,
    results: Path = RESULTS,
    command: Callable[[Sequence[str]], int] = main,
) -> int:
    """Compare on every target, keep what was found, and return the exit code.

    Args:
        studies: Searches on the source; their best policy is what is tried.
        how: How to compare.
        out: Directory of the comparisons.
        results: Directory of the committed figures.
        command: Runs a command line.

    Raises:
        UsageError: See ``best_of``; or another policy was tried in this directory before.
    """
    place, best = best_of(studies)
    policy = out / POLICY
    if policy.exists() and policy.read_text(encoding="utf8") != best.policy.to_json():
        raise UsageError(
            f"another policy was tried in {out}; name another directory, or the searches that it came from"
        )
    out.mkdir(parents=True, exist_ok=True)
    best.policy.save(policy)
    for target, arguments in commands(how, policy, out).items():
        if code := command(arguments):
            return code
        if not all((out / target / name).is_file() for name in FILES):
            return STOPPED
        copied(out / target, results / target)
        keep_pairs(read_comparison(out / target), TARGETS[target], results / target)
    shutil.copyfile(policy, results / POLICY)
    facts = {"task": SOURCE, "search": place.name, "reward": best.reward, "rewards": list(best.rewards)}
    (results / "source.json").write_text(json.dumps(facts, indent=2) + "\n", encoding="utf8")
    return 0


def keep_pairs(found: Comparison, baselines: Sequence[str], out: Path) -> None:
    """Write how the policy does beside the default dropout, dropout everywhere and none: pairs.json and .md.

    Args:
        found: Its arms are a baseline's name and strength each, and the policy.
        baselines: None, then the default, with variational dropout everywhere at the end.
        out: Directory.
    """
    arms = {name.partition(" ")[0]: name for name in found.values}
    (policy,) = (arm for name, arm in arms.items() if name not in baselines)
    against = [arms[name] for name in (baselines[1], baselines[-1], baselines[0])]
    rows = answers(found, [[(policy, other) for other in against]])
    plain = json.dumps([asdict(row) for row in rows], indent=1, allow_nan=False)
    write_text(out / f"{PAIRS}.json", plain + "\n")
    write_text(out / f"{PAIRS}.md", table(found.figure, rows, len(found.seeds)))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("studies", type=Path, nargs="+", help=f"directories of searches on {SOURCE}")
    parser.add_argument("--targets", nargs="+", choices=TARGETS, default=list(SMALL), help="tasks to try")
    parser.add_argument("--seeds", type=int, default=How().seeds, help="that every arm is trained on")
    parser.add_argument("--workers", type=int, default=How().workers, help="processes, one thread each")
    parser.add_argument("--data", type=Path, help="folder of data sets")
    parser.add_argument("--out", type=Path, default=OUT, help="directory of the comparisons")
    given = parser.parse_args()
    how = How(targets=tuple(given.targets), seeds=given.seeds, workers=given.workers, data=given.data)
    try:
        sys.exit(run(given.studies, how, given.out))
    except AutoDropoutError as error:
        sys.exit(f"error: {error}")
