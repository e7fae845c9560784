"""How large ptb-small should be: seed noise, what dropout gains, and whether one role is enough.

    AUTODROPOUT_DATA=... python experiments/sizes.py

Trains seven policies on four seeds at each of several sizes: no dropout, three single roles near their best
strength, three mixtures of roles. Writes results/ptb-small/sizes.json and sizes.md. A size is good if the
deviation between seeds is at most .5% of perplexity, dropout helps, the best mixture beats the best single
role, and a training takes seconds. It may be stopped at any moment; the same command goes on.
"""

import argparse
import json
import math
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from statistics import fmean, variance
from typing import Any

from autodropout.comparison import Comparison, compare
from autodropout.data.text import CorpusSize
from autodropout.engine.options import ExecutorName
from autodropout.engine.provenance import command, machine, versions
from autodropout.errors import AutoDropoutError
from autodropout.pattern import TokenPattern
from autodropout.policy import Policy
from autodropout.tasks.text.language_model import LanguageModelRecipe
from autodropout.tasks.text.small import PtbSmall, PydocLm

RESULTS = Path(__file__).parents[1] / "results" / "ptb-small"
OUT = Path("runs/sizes")
SEEDS = 4

OUTPUT = {"role:output": TokenPattern(size=1, share_c=True, rate=0.4)}
VALUE = {"role:value": TokenPattern(size=1, share_c=True, rate=0.4)}
SOFTMAX = {"role:softmax": TokenPattern(size="whole", share_t=True, rate=0.4)}
QUERY = {"role:query": TokenPattern(size=4, share_t=True, share_c=True, rate=0.3)}
NONE = "none"
SINGLE: Mapping[str, Policy] = {
    "output": Policy(OUTPUT),
    "value": Policy(VALUE),
    "softmax": Policy(SOFTMAX),
}
MIXED: Mapping[str, Policy] = {
    "output, softmax": Policy(OUTPUT | SOFTMAX),
    "output, value, softmax": Policy(OUTPUT | VALUE | SOFTMAX),
    "output, value, softmax, query": Policy(OUTPUT | VALUE | SOFTMAX | QUERY),
}
POLICIES: Mapping[str, Policy] = {NONE: Policy({}), **SINGLE, **MIXED}


def _size(vocabulary: int, tokens: int, steps: int, **others: Any) -> LanguageModelRecipe:
    size = CorpusSize(vocabulary=vocabulary, train=tokens, validation=10_000, test=10_000)
    return replace(LanguageModelRecipe(), size=size, steps=steps, **others)


SIZES: Mapping[str, LanguageModelRecipe] = {
    "500 words, 9,000 tokens, 400 steps, width 96": _size(500, 9_000, 400, width=96),
    "500 words, 12,000 tokens, 500 steps, width 64": _size(500, 12_000, 500, width=64),
    "500 words, 12,000 tokens, 500 steps, width 96": _size(500, 12_000, 500, width=96),
    "500 words, 12,000 tokens, 500 steps, width 128": _size(500, 12_000, 500, width=128),
    "500 words, 16,000 tokens, 600 steps, width 128": _size(500, 16_000, 600, width=128),
    "1,000 words, 16,000 tokens, 600 steps, width 96": _size(1_000, 16_000, 600, width=96),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Judged:
    """One size.

    Attributes:
        size: In words.
        perplexity: Validation perplexity of each policy, mean over seeds.
        noise: Deviation between seeds over the mean, pooled over the policies with dropout.
        noise_of_none: The same without dropout.
        gain: How much lower the best mixture's perplexity is than that without dropout, as a share of it.
        mixed: How much lower it is than the best single role's, likewise.
        seconds: Mean training time.
    """

    size: str
    perplexity: Mapping[str, float]
    noise: float
    noise_of_none: float
    gain: float
    mixed: float
    seconds: float


def run(
    task: PtbSmall | PydocLm,
    sizes: Mapping[str, LanguageModelRecipe],
    out: Path,
    *,
    workers: int = 2,
    executor: ExecutorName = "local",
) -> list[Judged]:
    """Train everything that is left and judge each size.

    Args:
        task: Whose text is trained on.
        sizes: Recipes by name.
        out: Directory of the trainings.
        workers: Processes, one thread each.
        executor: ``"local"`` for processes, ``"inline"`` for this one.
    """
    arms = {
        f"{size} | {name}": partial(replace(task, recipe=recipe).evaluate, policy)
        for size, recipe in sizes.items()
        for name, policy in POLICIES.items()
    }
    found = compare(
        task.evaluate,
        arms,
        seeds=SEEDS,
        figure="reward",
        workers=workers,
        executor=executor,
        out=out,
        task=f"sizes of {task.key}",
    )
    return [judged(size, found) for size in sizes]


def judged(size: str, found: Comparison) -> Judged:
    """Return what the trainings of one size say; rewards are 80 / perplexity."""
    perplexities = {
        name: [80.0 / reward for reward in found.values[f"{size} | {name}"] if reward is not None]
        for name in POLICIES
    }
    means = {name: fmean(values) for name, values in perplexities.items()}
    relative = {name: variance(values) / means[name] ** 2 for name, values in perplexities.items()}
    single, mixed = (min(means[name] for name in names) for names in (SINGLE, MIXED))
    return Judged(
        size=size,
        perplexity=means,
        noise=math.sqrt(fmean(relative[name] for name in (*SINGLE, *MIXED))),
        noise_of_none=math.sqrt(relative[NONE]),
        gain=1.0 - mixed / means[NONE],
        mixed=1.0 - mixed / single,
        seconds=fmean(
            row.seconds for row in found.rows if row.name.startswith(f"{size} | ") and row.seconds is not None
        ),
    )


def table(found: Sequence[Judged]) -> str:
    """Return the sizes as Markdown."""
    lines = [
        "# How large ptb-small should be",
        "",
        f"`python experiments/sizes.py`: {len(POLICIES)} policies on {SEEDS} seeds at each size. Validation "
        "perplexities compare within a row only. Noise is the deviation between seeds, pooled over the six "
        "policies with dropout. Machine and versions are in sizes.json.",
        "",
        "| size | none | best single role | best mixture | below none | below the single role | noise "
        "| noise without dropout | seconds |",
        "|---|---:|---:|---:|---:|---:|---:|---:|---:|",
    ]
    for one in found:
        single, mixed = (min(one.perplexity[name] for name in names) for names in (SINGLE, MIXED))
        lines.append(
            f"| {one.size} | {one.perplexity[NONE]:.2f} | {single:.2f} | {mixed:.2f} | {one.gain:.1%} "
            f"| {one.mixed:.1%} | {one.noise:.2%} | {one.noise_of_none:.2%} | {one.seconds:.1f} |"
        )
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--workers", type=int, default=2, help="processes, one thread each")
    parser.add_argument("--out", type=Path, default=OUT, help="directory of the trainings")
    given = parser.parse_args()
    try:
        found = run(PtbSmall(), SIZES, given.out, workers=given.workers)
    except AutoDropoutError as error:
        sys.exit(f"error: {error}")
    except KeyboardInterrupt:
        sys.exit("Stopped; nothing is lost. The same command goes on.")
    facts = {"command": command(), "versions": versions(), "machine": machine(), "seeds": SEEDS}
    RESULTS.mkdir(parents=True, exist_ok=True)
    plain = facts | {"sizes": [asdict(one) for one in found]}
    (RESULTS / "sizes.json").write_text(json.dumps(plain, indent=1) + "\n", encoding="utf8")
    (RESULTS / "sizes.md").write_text(table(found), encoding="utf8")
    print(table(found))
