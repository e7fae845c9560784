"""What searches found and won with, for zoo.py: policies out of results/ and how they did there."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from autodropout.engine.study import Study
from autodropout.errors import UsageError
from autodropout.policy import Policy
from autodropout.significance import paired_difference
from autodropout.zoo import Arm, Card, Evidence, Searched
from confirmed import REMEDIES, SEARCHERS
from zoo_presets import TRANSFORMERS, Entry

ROOT = Path(__file__).parents[1]
SIGNIFICANT = 0.05


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """Where a found policy lies.

    Attributes:
        name: Word for it in the zoo.
        task: Task that it was found on.
        fits: Models that its keys are for.
        summary: One line.
        place: Below results/, its JSON, the comparison whose random arm it is, or the study of the search,
            whose best confirmed policy it is.
        figures: Below results/, the comparison that it won.
        arm: What it is called there.
        searched: The search; None if its study is committed, which says so itself.
    """

    name: str
    task: str
    fits: str
    summary: str
    place: str
    figures: str
    arm: str = "policy"
    searched: Searched | None = None


def _digits(searcher: str, command: str) -> Searched:
    """Return a search on digits, whose ledger is not committed: what it cost says how it ended."""
    costs = json.loads((ROOT / "results/digits/cost.json").read_text(encoding="utf8"))
    reward = next(cost["confirmed_reward"] for cost in costs if cost["search"] == searcher)
    return Searched(
        task="digits", searcher=searcher, trials=48, confirmations=12, reward=reward, command=command
    )


NAMED = (
    Found(
        name="digits",
        task="digits",
        fits="the network of the task digits",
        summary="Found on 300 handwritten digits in 60 trainings; beside Dropout tuned on eight seeds its "
        "lead is .16 points (docs/results.md).",
        place="digits/best.json",
        figures="digits/comparison.json",
        searched=_digits("reinforce", "autodropout search digits"),
    ),
    Found(
        name="digits-random",
        task="digits",
        fits="the network of the task digits",
        summary="Found on 300 handwritten digits in 60 trainings, by chance; beside Dropout tuned on eight "
        "seeds no lead is shown (docs/results.md).",
        place="digits/comparison.json",
        figures="digits/comparison.json",
        arm="random",
        searched=_digits("random", "python experiments/digits.py"),
    ),
    Found(
        name="ptb-small",
        task="ptb-small",
        fits=TRANSFORMERS,
        summary="Found on 9,000 tokens of Penn Treebank in 160 trainings of a small language model; better "
        "than tuned dropout on WikiText-2, too, and harmful in translation (docs/results.md).",
        place="ptb-small/studies/reinforce-1",
        figures="ptb-small/confirmed.json",
        arm="reinforce-1",
    ),
)
"""Found policies with a name of their own; the others are named after their task and search."""

BY = {
    "random": "by chance",
    "reinforce": "by REINFORCE",
    "evolution": "by evolution",
    "reinforce-remedied": "by REINFORCE over the standard space, with one seed for all trials",
}
"""How the searches of a landscape went, by what experiments/confirmed.py calls them."""


def others(figures: Path, fits: str, where: str) -> list[Found]:
    """Return what other searches of a landscape found and won with, in the order of its comparison.

    Args:
        figures: Below results/, what experiments/confirmed.py wrote.
        fits: Models that their keys are for.
        where: What was trained on, in words.
    """
    facts = json.loads((ROOT / "results" / figures).read_text(encoding="utf8"))
    task, named = figures.parent, {origin.arm for origin in NAMED if Path(origin.figures) == figures}
    rest = []
    for arm in facts["comparison"]["arms"]:
        searcher, _, repeat = arm["name"].rpartition("-")
        if searcher not in SEARCHERS or arm["name"] in named or not won(facts["comparison"], arm):
            continue
        folder = "remedies" if searcher in REMEDIES else "studies"
        rest.append(
            Found(
                name=f"{task}-{arm['name']}",
                task=str(task),
                fits=fits,
                summary=f"Found on {where} {BY[searcher]}, search {repeat}; tried on no other task, and "
                "ptb-small, its sibling, is harmful in translation.",
                place=f"{task}/{folder}/{arm['name']}",
                figures=str(figures),
                arm=arm["name"],
            )
        )
    return rest


def won(comparison: Mapping[str, Any], arm: Mapping[str, Any]) -> bool:
    """Return whether an arm was shown to be better than the best baseline of its comparison."""
    sign = 1 if comparison["higher_is_better"] else -1
    return bool(arm["adjusted_p"] < SIGNIFICANT and sign * arm["difference"] > 0)


FOUND = (*NAMED, *others(Path("ptb-small/confirmed.json"), TRANSFORMERS, "the text of ptb-small"))
"""All that won their comparison."""


def found(origin: Found) -> Entry:
    """Return a found policy with the figures of its comparison.

    Raises:
        UsageError: It was not shown to be better than the best baseline.
    """
    policy, searched = _origin(origin)
    facts = json.loads((ROOT / "results" / origin.figures).read_text(encoding="utf8"))
    arms = facts["comparison"]["arms"]
    mine = next(arm for arm in arms if arm["name"] == origin.arm)
    if not won(facts["comparison"], mine):
        raise UsageError(f"{origin.name} was not shown to be better than {mine['against']}; leave it out")
    card = Card(
        name=origin.name,
        kind="found",
        summary=origin.summary,
        fits=origin.fits,
        source=f"results/{origin.figures}",
        searched=searched,
        evidence=Evidence(
            figure=facts["comparison"]["figure"],
            higher_is_better=facts["comparison"]["higher_is_better"],
            seeds=mine["pairs"],
            arms=(*(_arm(arm, mine) for arm in arms if arm is not mine), _arm(mine)),
            against=mine["against"],
            difference=mine["difference"],
            low=mine["difference_low"],
            high=mine["difference_high"],
            p=mine["adjusted_p"],
            command=facts["command"],
        ),
    )
    return card, policy


def _origin(origin: Found) -> tuple[Policy, Searched]:
    place = ROOT / "results" / origin.place
    if origin.searched is not None:
        facts = json.loads(place.read_text(encoding="utf8"))
        plain = facts["random"]["policy"] if origin.arm == "random" else facts
        return Policy.from_json(json.dumps(plain)), origin.searched
    study = Study.open(place)
    best, record = study.confirmed[0], study.record
    searched = Searched(
        task=str(record.task),
        searcher=record.searcher,
        trials=record.trials,
        confirmations=sum(trial.kind == "confirm" for trial in study.trials),
        reward=best.reward,
        command=f"python {record.command}",
    )
    return best.policy, searched


def _arm(arm: Mapping[str, Any], mine: Mapping[str, Any] | None = None) -> Arm:
    plain = Arm(name=arm["name"], mean=arm["mean"], spread=arm["spread"])
    if mine is None:
        return plain
    paired = paired_difference(mine["values"], arm["values"])
    assert paired.low is not None
    assert paired.high is not None
    return replace(plain, behind=(paired.difference, paired.low, paired.high), p=paired.p)
