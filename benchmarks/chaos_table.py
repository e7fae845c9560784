"""Print results/chaos-*.json as the Markdown table of docs/faults.md.

python benchmarks/chaos_table.py
"""

import json
from collections.abc import Mapping, Sequence
from typing import Any

import record

EXECUTORS = ("local", "ray")
_CAME_OUT = {
    "search trials that ended": "search_trials",
    "evaluations begun": "evaluations_begun",
    "evaluations that came to their end": "evaluations_ended",
    "of these again, since nobody had heard of it": "ended_unheard_and_run_again",
    "updates of the controller": "updates",
}


def found(executor: str) -> Mapping[str, Any]:
    """Return the figures of an executor's torment."""
    text = (record.FOLDER / f"chaos-{executor}.json").read_text(encoding="utf8")
    figures: Mapping[str, Any] = json.loads(text)["figures"]
    return figures


def table(torments: Sequence[Mapping[str, Any]]) -> str:
    """Return what was thrown and what came out, a column per torment."""
    rows = [("**thrown**", [""] * len(torments))]
    rows += _section(torments, "thrown")
    rows += [("**trials that misbehaved**", [""] * len(torments))]
    rows += _section(torments, "misbehaved")
    if told := _section(torments, "ended_as_told"):
        rows += [("**of these ended as they must**", [""] * len(torments)), *told]
    rows += [("**how drivers ended**", [""] * len(torments))]
    rows += _section(torments, "drivers")
    rows += [("**what came out**", [""] * len(torments))]
    rows += [(words, [f"{t['came_out'][key]}" for t in torments]) for words, key in _CAME_OUT.items()]
    rows += [("looks at the ledger", [f"{t['checks_of_the_ledger']}" for t in torments])]
    head = f"| | {' | '.join(EXECUTORS)} |\n|---|{'---:|' * len(torments)}\n"
    return head + "".join(f"| {name} | {' | '.join(cells)} |\n" for name, cells in rows)


def _section(torments: Sequence[Mapping[str, Any]], key: str) -> list[tuple[str, list[str]]]:
    names = list(dict.fromkeys(name for torment in torments for name in torment.get(key, {})))
    return [
        (name, [str(torment.get(key, {}).get(name, 0)) for torment in torments]) for name in sorted(names)
    ]


if __name__ == "__main__":
    print(table([found(executor) for executor in EXECUTORS]))
