"""Write the zoo: its entries, docs/zoo.md with a card each, and their pictures.

    python experiments/zoo.py

Found policies and their figures come from results/. A policy is let in if it was better than the best of
all arms that no search found (adjusted p below .05), whoever searched. Of several that won on a task, the
first by REINFORCE bears the task's name: to say which is best would need another comparison. Seconds on one
core.
"""

import argparse
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import get_args

from autodropout.conv_space import ConvSpace
from autodropout.report.draw import save_png
from autodropout.report.samples import SampleSettings, sample_policy
from autodropout.tasks.registry import task_named
from autodropout.zoo import Arm, Card, Evidence
from autodropout.zoo.card import Kind
from autodropout.zoo.entries import to_text
from confirmed import SEARCHERS
from zoo_found import FOUND, found, won
from zoo_presets import Entry, methods, words

ROOT = Path(__file__).parents[1]
ENTRIES = Path("src/autodropout/zoo/policies")


def page(entries: Sequence[Entry]) -> str:
    """Return docs/zoo.md."""
    parts = [
        "# Zoo",
        "This page is written by `python experiments/zoo.py`; do not edit it. `ad.zoo.names()` lists the "
        "policies, `ad.zoo.load(name)` returns one, `ad.zoo.card(name)` says where it comes from; "
        "`autodropout zoo` does so in the terminal, and every command that takes a policy's file takes a "
        "name, too. *Found* policies were better on held-out data than the best arm that no search found "
        "(Holm-adjusted p below .05): on digits the best tuned baseline, on ptb-small the best of 245 "
        "settings of single roles by hand, which is itself ahead of all tuned baselines. The first by "
        "REINFORCE has the name of its task, the others those of their searches. *Methods* are known ones as "
        "policies, at usual strengths; *words* are after what a paper says in words of a policy that was not "
        "published.",
        "Which found policy of a task is best, its comparison does not say: each was measured against that "
        "arm, and the p-values beside other searches' policies are not adjusted.",
        _left_out(),
    ]
    parts += [_section(card) for card, _ in sorted(entries, key=_place)]
    return "\n\n".join(parts) + "\n"


def _place(entry: Entry) -> tuple[int, str]:
    card, _ = entry
    return get_args(Kind).index(card.kind), card.name


def _left_out() -> str:
    facts = json.loads((ROOT / "results/ptb-small/confirmed.json").read_text(encoding="utf8"))["comparison"]
    arms = [arm for arm in facts["arms"] if arm["name"].rpartition("-")[0] in SEARCHERS]
    lost = ", ".join(arm["name"] for arm in arms if not won(facts, arm))
    return (
        f"Not here, because not shown to be better than that: of the searches on ptb-small {lost} (these, "
        "too, are better than every tuned baseline there); what was found on mnist-small and on "
        "cifar10-small. Nor are those that were never measured against tuned baselines: what halving and "
        "warm starts found on ptb-small (`results/ptb-small/cheaper.json`), and TPE on digits "
        "(`results/digits/tpe.json`)."
    )


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


def _sizes(task: str) -> Mapping[str, tuple[int, int]] | None:
    space = task_named(task).space()
    return space.sites if isinstance(space, ConvSpace) else None


def _section(card: Card) -> str:
    lines = [f"## {card.name}", "", f"{card.summary} *{card.kind}*", ""]
    lines += [f"- Fits: {card.fits}.", f"- Source: {card.source}.", f"- Licence: {card.licence}."]
    if (searched := card.searched) is not None:
        lines.append(
            f"- Search: task `{searched.task}`, {searched.trials} trials by {searched.searcher}, "
            f"{searched.confirmations} trainings to confirm, mean reward {searched.reward:.4f} "
            f"(`{searched.command}`)."
        )
    lines += [f'- Load: `ad.zoo.load("{card.name}")`.', ""]
    if (evidence := card.evidence) is not None:
        lines += _table(evidence)
    return "\n".join([*lines, f"![Random draws of {card.name}](pictures/zoo-{card.name}.png)"])


def _table(evidence: Evidence) -> list[str]:
    head = [
        f"Held-out {evidence.figure}, {evidence.seeds} seeds of each arm: {evidence.difference:+.4f} against "
        f"{evidence.against} (95% interval {evidence.low:+.4f} to {evidence.high:+.4f}, Holm-adjusted "
        f"p = {evidence.p:.2g}; `{evidence.command}`).",
        "",
        f"| arm | {evidence.figure} | deviation | this policy less the arm (95% interval) "
        "| p, not adjusted |",
        "|---|---:|---:|---:|---:|",
    ]
    return [*head, *map(_row, evidence.arms), ""]


def _row(arm: Arm) -> str:
    cells = [arm.name, f"{arm.mean:.4f}", f"{arm.spread:.4f}", "this one", ""]
    if arm.behind is not None:
        difference, low, high = arm.behind
        p = "" if arm.p is None else f"{arm.p:.2g}"
        cells[3:] = [f"{difference:+.4f} ({low:+.4f} to {high:+.4f})", p]
    return f"| {' | '.join(cells)} |"


if __name__ == "__main__":
    argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter).parse_args()
    for card, _ in run():
        print(f"{card.name}: {card.summary}")
