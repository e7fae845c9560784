"""Draw results/cluster_sim.json to docs/pictures/cluster.png, and print its tables as Markdown.

python benchmarks/cluster_sim_plot.py
"""

import json
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from statistics import fmean, stdev
from typing import Any

import matplotlib as mpl

import record

mpl.use("Agg")
from matplotlib import pyplot as plt
from matplotlib.axes import Axes

PICTURE = record.ROOT / "docs" / "pictures" / "cluster.png"
ORDERS = {"queues": "two queues", "wait": "waiting for each minibatch"}
WEIGHTS = {"truncated": "weights cut at 5", "bare": "bare weights", "none": "no weights"}
COLOURS = {"truncated": "#1f6f8b", "none": "#d1603d", "bare": "#8c8c8c", "wait": "#4f7942"}

Search = Mapping[str, Any]


def main() -> None:
    """Draw and print."""
    found = json.loads((record.FOLDER / "cluster_sim.json").read_text(encoding="utf8"))["figures"]
    full, small = found["full"], found["small"]
    figure, (left, right) = plt.subplots(1, 2, figsize=(10.0, 4.0), layout="constrained")
    _draw_full(left, full)
    _draw_small(right, small)
    figure.savefig(PICTURE, dpi=110)
    print(f"{PICTURE}\n\n{full_table(full)}\n{small_table(small)}")


def full_table(searches: Iterable[Search]) -> str:
    """Return the searches of the paper's size as a Markdown table."""
    columns: dict[str, Callable[[Search], str]] = {
        "order": lambda s: ORDERS[s["order"]],
        "machines": lambda s: f"{s['workers']}",
        "M": lambda s: f"{s['batch']}",
        "weights": lambda s: "-" if s["order"] == "wait" else WEIGHTS[s["weights"]],
        "hours": lambda s: f"{s['hours']:,.1f}",
        "busy": lambda s: f"{s['utilisation']:.1%}",
        "staleness": lambda s: f"{s['staleness']:.1f} ({s['staleness_most']:.0f})",
        "effective share": lambda s: f"{s['effective_share']:.2f}",
        "reward at the end": lambda s: f"{s['reward_of_last_sixteenth']:.1f}",
        "policy": lambda s: f"{s['reward_ended_with']:.1f}",
    }
    return _table(columns, searches)


def small_table(searches: Iterable[Search]) -> str:
    """Return the searches of a few hundred trials as a Markdown table, over their seeds."""
    columns: dict[str, Callable[[Sequence[Search]], str]] = {
        "order": lambda g: ORDERS[g[0]["order"]],
        "machines": lambda g: f"{g[0]['workers']}",
        "C": lambda g: _capacity(g[0]),
        "M": lambda g: f"{g[0]['batch']}",
        "weights": lambda g: "-" if g[0]["order"] == "wait" else WEIGHTS[g[0]["weights"]],
        "seeds": lambda g: f"{len(g)}",
        "hours": lambda g: _over(g, "hours", 1),
        "busy": lambda g: _over(g, "utilisation", 2),
        "staleness": lambda g: _over(g, "staleness", 1),
        "effective share": lambda g: _over(g, "effective_share", 2),
        "policy": lambda g: _over(g, "reward_ended_with", 1),
    }
    return _table(columns, _groups(searches))


def _draw_full(axes: Axes, searches: Iterable[Search]) -> None:
    for search in (s for s in searches if s["workers"] == 512):
        key = "wait" if search["order"] == "wait" else search["weights"]
        name = "waiting" if key == "wait" else f"two queues, {WEIGHTS[key]}"
        hours, rewards = zip(*search["curve"], strict=True)
        style = "-" if search["batch"] == 16 else "--"
        axes.plot(hours, rewards, style, color=COLOURS[key], label=f"{name}, M = {search['batch']}")
    axes.set(xscale="log", xlabel="virtual hours", ylabel="mean reward of the trials", ylim=(-0.5, 24.0))
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:,.0f}")
    axes.set_title("16,384 trials on 512 machines", fontsize=10)
    axes.legend(frameon=False, fontsize=8, loc="upper left")
    axes.grid(alpha=0.3)


def _draw_small(axes: Axes, searches: Iterable[Search]) -> None:
    groups = [g for g in _groups(searches) if g[0]["batch"] == 8 and g[0]["capacity"] is None]
    for key in WEIGHTS:
        points = sorted(
            (g[0]["workers"], _rewards(g))
            for g in groups
            if (g[0]["order"], g[0]["weights"]) == ("queues", key)
        )
        axes.errorbar(
            [machines for machines, _ in points],
            [fmean(rewards) for _, rewards in points],
            [_error(rewards) for _, rewards in points],
            color=COLOURS[key], marker="o", capsize=3, label=f"two queues, {WEIGHTS[key]}",
        )  # fmt: skip
    for group in (g for g in groups if g[0]["order"] == "wait"):
        axes.axhline(fmean(_rewards(group)), color=COLOURS["wait"], label=ORDERS["wait"])
    axes.set(xscale="log", xlabel="machines", ylabel="reward of the policy ended with")
    axes.set_xticks([4, 16, 64], ["4", "16", "64"])
    axes.minorticks_off()
    axes.set_title("512 trials, M = 8: mean and standard error", fontsize=10)
    axes.legend(frameon=False, fontsize=8)
    axes.grid(alpha=0.3)


def _groups(searches: Iterable[Search]) -> list[list[Search]]:
    """Return searches that differ in their seed only, together."""
    found = defaultdict(list)
    for search in searches:
        found[tuple(search[name] for name in ("order", "workers", "batch", "weights", "capacity"))].append(
            search
        )
    order = sorted(found, key=lambda key: (key[0] != "wait", *key[1:4], key[4] or 0))
    return [found[key] for key in order]


def _rewards(group: Iterable[Search]) -> list[float]:
    return [search["reward_ended_with"] for search in group]


def _error(values: Sequence[float]) -> float:
    return stdev(values) / len(values) ** 0.5 if len(values) > 1 else 0.0


def _over(group: Sequence[Search], name: str, decimals: int) -> str:
    values = [search[name] for search in group]
    error = f" ± {_error(values):.{decimals}f}" if name == "reward_ended_with" else ""
    return f"{fmean(values):.{decimals}f}{error}"


def _capacity(search: Search) -> str:
    if search["order"] == "wait":
        return f"{search['batch']}"
    return f"{search['capacity'] or search['workers'] + max(1, search['workers'] // 4)}"


def _table(columns: Mapping[str, Callable[[Any], str]], rows: Iterable[Any]) -> str:
    lines = [" | ".join(columns), " | ".join("---:" for _ in columns)]
    lines += [" | ".join(cell(row) for cell in columns.values()) for row in rows]
    return "".join(f"| {line} |\n" for line in lines)


if __name__ == "__main__":
    main()
