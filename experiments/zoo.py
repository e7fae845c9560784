"""Write the zoo: its entries, docs/zoo.md with a card each, and their pictures.

    python experiments/zoo.py

Found policies and their figures come from results/, so that nothing is typed by hand; a policy is let in only
if it was better than the best tuned baseline (adjusted p below .05). Of several searches on one task that
won, it is the first by REINFORCE: to take the best of them would need another comparison.
Seconds on one core.
"""

import argparse
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from autodropout.conv_space import ConvSpace
from autodropout.engine.study import Study
from autodropout.errors import UsageError
from autodropout.policy import Policy
from autodropout.report.draw import save_png
from autodropout.report.samples import SampleSettings, sample_policy
from autodropout.significance import paired_difference
from autodropout.tasks.registry import task_named
from autodropout.zoo import Arm, Card, Evidence, Searched
from autodropout.zoo.entries import to_text
from zoo_presets import TRANSFORMERS, Entry, methods, words

ROOT = Path(__file__).parents[1]
ENTRIES = Path("src/autodropout/zoo/policies")
SIGNIFICANT = 0.05


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """Where a found policy lies.

    Attributes:
        name: Word for it in the zoo.
        task: Task that it was found on.
        fits: Models that its keys are for.
        summary: One line.
        place: Below results/, its JSON or the study of the search, whose best confirmed policy it is.
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


FOUND = (
    Found(
        name="digits",
        task="digits",
        fits="the network of the task digits",
        summary="Found on 300 handwritten digits in 60 trainings.",
        place="digits/best.json",
        figures="digits/comparison.json",
        searched=Searched(
            task="digits",
            searcher="reinforce",
            trials=48,
            confirmations=12,
            reward=json.loads((ROOT / "results/digits/cost.json").read_text())[0]["confirmed_reward"],
            command="autodropout search digits",
        ),
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


def found(origin: Found) -> Entry:
    """Return a found policy with the figures of its comparison.

    Raises:
        UsageError: It was not shown to be better than the best baseline.
    """
    policy, searched = _origin(origin)
    facts = json.loads((ROOT / "results" / origin.figures).read_text(encoding="utf8"))
    arms = facts["comparison"]["arms"]
    mine = next(arm for arm in arms if arm["name"] == origin.arm)
    sign = 1 if facts["comparison"]["higher_is_better"] else -1
    if mine["adjusted_p"] >= SIGNIFICANT or sign * mine["difference"] <= 0:
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
        return Policy.load(place), origin.searched
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


def page(entries: Sequence[Entry]) -> str:
    """Return docs/zoo.md."""
    parts = [
        "# Zoo",
        "This page is written by `python experiments/zoo.py`; do not edit it. `ad.zoo.names()` lists the "
        "policies, `ad.zoo.load(name)` returns one, `ad.zoo.card(name)` says where it comes from; "
        "`autodropout zoo` does so in the terminal, and every command that takes a policy's file takes a "
        "name, too. *Found* policies were better than the best tuned baseline on held-out data, one for "
        "each task: of several searches that won there, the first by REINFORCE; *methods* "
        "are known ones as policies, at usual strengths; *words* are after what a paper says in "
        "words of a policy that was not published.",
    ]
    parts += [_section(card) for card, _ in sorted(entries, key=lambda entry: entry[0].name)]
    return "\n\n".join(parts) + "\n"


def run(root: Path = ROOT) -> list[Entry]:
    """Write everything below ``root``; return the entries."""
    entries = [*methods(), *words(), *map(found, FOUND)]
    sizes = {origin.name: _sizes(origin.task) for origin in FOUND}
    sizes |= {
        "resnet50-first-and-last": {"layer1.0.bn3": (56, 56), "layer4.2.bn3": (7, 7)},
        "dropblock-resnet50": {"layer3.*.bn3": (14, 14), "layer4.*.bn3": (7, 7)},
    }
    (root / ENTRIES).mkdir(parents=True, exist_ok=True)
    (root / "docs" / "pictures").mkdir(parents=True, exist_ok=True)
    for card, policy in entries:
        (root / ENTRIES / f"{card.name}.json").write_text(to_text(card, policy), encoding="utf8")
        settings = SampleSettings(size=(14, 14), sizes=sizes.get(card.name))
        save_png(sample_policy(policy, settings), root / "docs" / "pictures" / f"zoo-{card.name}.png")
    (root / "docs" / "zoo.md").write_text(page(entries), encoding="utf8")
    return entries


def _arm(arm: Mapping[str, Any], mine: Mapping[str, Any] | None = None) -> Arm:
    plain = Arm(name=arm["name"], mean=arm["mean"], spread=arm["spread"])
    if mine is None:
        return plain
    paired = paired_difference(mine["values"], arm["values"])
    assert paired.low is not None
    assert paired.high is not None
    return replace(plain, behind=(paired.difference, paired.low, paired.high), p=paired.p)


def _sizes(task: str) -> Mapping[str, tuple[int, int]] | None:
    space = task_named(task).space()
    return space.sites if isinstance(space, ConvSpace) else None


def _section(card: Card) -> str:
    lines = [f"## {card.name}", "", f"{card.summary} *{card.kind}*", ""]
    lines += [f"- Fits: {card.fits}.", f"- Source: {card.source}.", f"- Licence: {card.licence}."]
    if (searched := card.searched) is not None:
        lines.append(
            f"- Search: {searched.trials} trials by {searched.searcher}, {searched.confirmations} trainings "
            f"to confirm, mean reward {searched.reward:.4f} (`{searched.command}`)."
        )
    lines += [f'- Load: `ad.zoo.load("{card.name}")`.', ""]
    if (evidence := card.evidence) is not None:
        lines += _table(evidence)
    return "\n".join([*lines, f"![Random draws of {card.name}](pictures/zoo-{card.name}.png)"])


def _table(evidence: Evidence) -> list[str]:
    head = [
        f"Held-out {evidence.figure}, {evidence.seeds} seeds of each arm: {evidence.difference:+.4f} against "
        f"{evidence.against} (95% interval {evidence.low:+.4f} to {evidence.high:+.4f}, Holm-adjusted "
        f"p = {evidence.p:.2g}).",
        "",
        f"| arm | {evidence.figure} | deviation | policy minus this arm (95% interval) | p, not adjusted |",
        "|---|---:|---:|---:|---:|",
    ]
    return [*head, *map(_row, evidence.arms), ""]


def _row(arm: Arm) -> str:
    cells = [arm.name, f"{arm.mean:.4f}", f"{arm.spread:.4f}", "", ""]
    if arm.behind is not None and arm.p is not None:
        difference, low, high = arm.behind
        cells[3:] = [f"{difference:+.4f} ({low:+.4f} to {high:+.4f})", f"{arm.p:.2g}"]
    return f"| {' | '.join(cells)} |"


if __name__ == "__main__":
    argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter).parse_args()
    for card, _ in run():
        print(f"{card.name}: {card.summary}")
