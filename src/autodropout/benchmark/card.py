"""The data card of a landscape, as Markdown."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from autodropout.benchmark.columns import COLUMNS, MAP_UNITS
from autodropout.benchmark.deviation import Deviation, Noise, without_dropout
from autodropout.benchmark.gathering import Gathered
from autodropout.benchmark.held_out import Correlation, HeldOut
from autodropout.benchmark.released import Released
from autodropout.conv_space import ConvSpace
from autodropout.significance import summarise


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """Everything that a card says.

    Attributes:
        name: Word for the landscape.
        gathered: Its trials.
        noise: Deviation between seeds.
        regressors: How surrogates did on held-out policies, the chosen one first.
        sources: How that one did on each searcher's policies without having seen any of them.
        ceiling: How one seed's rewards rank policies by another's; None with too few repeats.
        commit: Of the code that gathered the trials.
        commands: With which commands, one after the other.
        missing: Parts of the landscape that are not in it; none if it is whole.
    """

    name: str
    gathered: Gathered
    noise: Noise
    regressors: Sequence[HeldOut]
    sources: Mapping[str, Correlation]
    ceiling: Correlation | None
    commit: str
    commands: Sequence[str]
    missing: Sequence[str] = ()


def card(facts: Facts) -> str:
    """Return the card."""
    release = facts.gathered.release
    parts = [
        f"# The landscape {facts.name}",
        f"{len(release.trials)} trainings of the task `{release.task}` under dropout policies, "
        f"{len({trial.policy.key for trial in release.trials})} of them different. "
        "Made to compare searches without training anything, and to see which patterns help.",
        _loading(facts.name),
        "## Where the trials come from",
        _by_source(release.trials),
        _none(release.trials),
        _left_out(facts.gathered),
        _parts(facts),
        "## Noise",
        _noise(facts.noise),
        "## Surrogate",
        _surrogate(facts),
        "## Columns",
        _table(("column", "meaning"), [(f"`{name}`", meaning) for name, meaning in COLUMNS.items()]),
        MAP_UNITS if any(isinstance(space, ConvSpace) for space in release.spaces.values()) else "",
        "## Space",
        "\n\n".join(f"`{key}`:\n\n{_fenced(space.to_json())}" for key, space in release.spaces.items()),
        "## How it was made",
        _made(facts),
        "## Licence",
        release.licence,
    ]
    return "\n\n".join(part.strip() for part in parts if part) + "\n"


def _loading(name: str) -> str:
    code = (
        f'import autodropout as ad\n\nbenchmark = ad.benchmark.load("{name}")\nbenchmark.trials[0].policy\n'
    )
    return (
        f"```python\n{code}```\n\nThe package holds the same trials, so that this needs no file from here. "
        "For other tools: `trials.parquet`, one row per trial, such as `pandas.read_parquet` reads it."
    )


def _by_source(trials: Sequence[Released]) -> str:
    rows = []
    for source in dict.fromkeys(trial.source for trial in trials):
        mine = [trial for trial in trials if trial.source == source]
        rewards = np.array([trial.result.reward for trial in mine if not trial.diverged])
        seconds = np.array([trial.result.seconds for trial in mine if trial.result.seconds is not None])
        quantiles = np.quantile(rewards, [0.05, 0.5, 0.95]) if len(rewards) else np.full(3, np.nan)
        again = sum(trial.repeat > 0 for trial in mine)
        diverged = len(mine) - len(rewards)
        spent = f"{np.median(seconds):.1f}" if len(seconds) else ""
        rows.append(
            (source, str(len(mine)), str(again), str(diverged), *(f"{q:.4f}" for q in quantiles), spent)
        )
    heading = ("source", "trials", "repeats", "diverged", "reward: 5%", "median", "95%", "median seconds")
    return _table(heading, rows)


def _none(trials: Sequence[Released]) -> str:
    bare = without_dropout(trials)
    if not len(bare):
        return "No trial had no dropout at all."
    found = summarise(bare.tolist())
    interval = "" if found.low is None else f" (95% interval {found.low:.4f} to {found.high:.4f})"
    return f"No dropout at all: mean reward {found.mean:.4f}{interval}, {found.n} seeds."


def _left_out(gathered: Gathered) -> str:
    missing = {name: n for name, n in gathered.without.items() if n}
    words = [f"Left out, because they returned nothing: {missing}."] if missing else []
    if gathered.comparisons:
        words.append(
            f"Comparisons below the same directory are no part of it: {', '.join(gathered.comparisons)}."
        )
    return " ".join(words)


def _parts(facts: Facts) -> str:
    if not facts.missing:
        return ""
    there = ", ".join(dict.fromkeys(trial.study for trial in facts.gathered.release.trials))
    return f"Only a part of the landscape: the studies {there}, without {', '.join(facts.missing)}."


def _noise(noise: Noise) -> str:
    rows = [_deviation("all", noise.pooled)]
    if len(noise.levels) > 1:
        rows += [_deviation(f"third {place}", level) for place, level in enumerate(noise.levels, 1)]
    heading = (
        "policies",
        "n",
        "mean reward",
        "deviation between seeds",
        "95% interval",
        "share of the reward",
    )
    words = [
        _table(heading, rows),
        "From policies that were trained with more than one seed, thirds by their mean reward. The "
        "reward for which a policy was chosen to be confirmed does not count.",
    ]
    if (own := noise.own) is not None:
        words.append(
            f"Among policies of the same seed {own.sd:.5f} ({own.low:.5f} to {own.high:.5f}) are left, from "
            f"{own.policies} confirmed policies: {own.fraction:.0%} of the variance between seeds. The rest "
            "is what a seed does to all policies alike."
        )
    return "\n\n".join(words)


def _deviation(name: str, found: Deviation) -> tuple[str, ...]:
    return (
        name,
        str(found.policies),
        f"{found.reward:.4f}",
        f"{found.sd:.5f}",
        f"{found.low:.5f} to {found.high:.5f}",
        f"{found.sd / abs(found.reward):.2%}",
    )


def _surrogate(facts: Facts) -> str:
    rows = [
        (held.regressor, str(held.overall.n), _rho(held.overall), _rho(held.best_third), f"{held.error:.5f}")
        for held in facts.regressors
    ]
    heading = (
        "regressor",
        "policies",
        "rank correlation",
        "within the best third",
        "root mean squared error",
    )
    words = [
        f"Rewards of policies that were held out with all their repeats, in {facts.regressors[0].folds} "
        "parts; "
        f"Spearman's correlation with 95% bootstrap interval. `{facts.regressors[0].regressor}` is the one "
        "that the package fits, because its correlation is highest.",
        _table(heading, rows),
    ]
    if facts.sources:
        sources = [(source, str(found.n), _rho(found)) for source, found in facts.sources.items()]
        words += [
            "The same regressor on the policies of one searcher, having seen none of that searcher's: nearer "
            "to what a new search asks of it.",
            _table(("held out", "policies", "rank correlation"), sources),
        ]
    if facts.ceiling is not None:
        most = max(facts.ceiling.rho, 0.0) ** 0.5
        words.append(
            f"One seed's rewards rank {facts.ceiling.n} repeated policies by another seed's with correlation "
            f"{_rho(facts.ceiling)}. Who knew the mean of every policy would rank single trials with about "
            f"{most:.2f}, its root: no prediction can be much better than that."
        )
    return "\n\n".join(words)


def _rho(found: Correlation) -> str:
    return f"{found.rho:.3f} ({found.low:.3f} to {found.high:.3f})"


def _made(facts: Facts) -> str:
    release = facts.gathered.release
    total = sum(trial.result.seconds or 0.0 for trial in release.trials)
    lines = [*(f"- command: `{command}`" for command in facts.commands), f"- commit: `{facts.commit}`"]
    lines += [f"- machine: {_listed(machine)}" for machine in release.machines]
    lines += [f"- versions: {_listed(versions)}" for versions in release.versions]
    lines.append(f"- training time of all trials: {total / 3600:.1f} hours")
    return "\n".join(lines)


def _listed(document: Mapping[str, object]) -> str:
    return ", ".join(f"{name} {value}" for name, value in document.items())


def _fenced(text: str) -> str:
    return f"```json\n{json.dumps(json.loads(text))}\n```"


def _table(heading: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [heading, ["---"] * len(heading), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
