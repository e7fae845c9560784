"""The released trials as flat columns."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path

from autodropout.benchmark.features import drop_rate
from autodropout.benchmark.released import Release, Released
from autodropout.errors import UsageError

Cell = str | int | float | bool | None

COLUMNS: Mapping[str, str] = {
    "study": "study of the trial",
    "trial": "its number there",
    "kind": "`search`; `confirm` where a policy was run again because it had done well",
    "source": "searcher that proposed it; `repeats` tries again what the others had proposed",
    "repeat": "how many trials of the same policy stand above it",
    "seed": "seed of the training",
    "reward": "reward of the validation data; empty where training diverged",
    "metric.NAME": "other validation figures",
    "test.NAME": "figures of the test data, never taught to a searcher",
    "seconds": "training time",
    "policy_key": "hash of the policy, the same for its repeats",
    "policy": "the policy as JSON, for `ad.Policy.from_json`",
    "space": "key of the space that the tokens belong to",
    "tokens": "the tokens, with spaces between",
    "SITE.CHOICE": "the decision's value, as text; empty where the site is off",
    "drop_rate.SITE": "exact drop rate of the site, 0 where it is off",
}
"""What each column means."""

MAP_UNITS = (
    "Over feature maps a size is in pixels of the site's map, a stride in multiples of the tile's side, a "
    "rotation in degrees. Strides that round to the same number of pixels are one policy and stand as the "
    "first of them."
)
"""What the values of a ``ConvSpace`` are measured in."""


def columns(release: Release) -> dict[str, Sequence[Cell]]:
    """Return the trials as columns, in the release's order."""
    trials = release.trials
    table: dict[str, Sequence[Cell]] = {
        "study": [trial.study for trial in trials],
        "trial": [trial.trial for trial in trials],
        "kind": [trial.kind for trial in trials],
        "source": [trial.source for trial in trials],
        "repeat": [trial.repeat for trial in trials],
        "seed": [trial.seed for trial in trials],
        "reward": [None if trial.diverged else trial.result.reward for trial in trials],
    }
    for prefix, figures in (
        ("metric", [trial.result.metrics for trial in trials]),
        ("test", [trial.result.test for trial in trials]),
    ):
        for name in sorted({name for figure in figures for name in figure}):
            table[f"{prefix}.{name}"] = [_finite(figure.get(name)) for figure in figures]
    table |= {
        "seconds": [trial.result.seconds for trial in trials],
        "policy_key": [trial.policy.key for trial in trials],
        "policy": [" ".join(trial.policy.to_json().split()) for trial in trials],
        "space": [trial.space for trial in trials],
        "tokens": [" ".join(map(str, trial.tokens)) for trial in trials],
    }
    return table | _decided(release)


def write_parquet(release: Release, path: Path) -> None:
    """Write the columns as Parquet; equal releases give equal bytes with the same version of pyarrow.

    Raises:
        UsageError: pyarrow is not installed.
    """
    try:
        import pyarrow
        from pyarrow import parquet
    except ImportError as error:
        raise UsageError(
            "Parquet needs pyarrow, which is not installed; "
            "install it with: pip install 'autodropout[parquet]'"
        ) from error
    parquet.write_table(pyarrow.table(columns(release)), path, compression="zstd")


def _finite(value: float | None) -> float | None:
    """Leave a cell empty where training diverged."""
    return value if value is not None and math.isfinite(value) else None


def _decided(release: Release) -> dict[str, Sequence[Cell]]:
    """Return the decisions and drop rates, site by site."""
    cells = [_cells(trial, release) for trial in release.trials]
    heads = list(dict.fromkeys(head for row in cells for head in row))
    sites = dict.fromkeys(site for space in release.spaces.values() for site in space.site_choices)
    order = [head for site in sites for head in heads if head.rpartition(".")[0] == site]
    table: dict[str, Sequence[Cell]] = {head: [row.get(head) for row in cells] for head in order}
    for site in sites:
        head = f"drop_rate.{site}"
        table[head] = [row.get(head, 0.0) for row in cells]
    return table


def _cells(trial: Released, release: Release) -> dict[str, Cell]:
    space, found, start = release.spaces[trial.space], dict[str, Cell](), 0
    for site, group in space.site_choices.items():
        mine = trial.tokens[start : start + len(group)]
        start += len(group)
        if mine[0]:
            named = zip(group, mine, strict=True)
            found |= {f"{site}.{choice.name}": str(choice.values[token]) for choice, token in named}
            found[f"drop_rate.{site}"] = drop_rate(space, site, mine)
    return found
