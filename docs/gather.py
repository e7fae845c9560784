"""Gather the pages of the documentation's site, so that every link leads where it does in the repository.

    python docs/gather.py build/pages

The README becomes the first page; docs/, and what its pages link to, such as tables and JSON files, keep
their places. The pages of the reference are written here, a line per public name.
"""

import re
import shutil
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

ROOT = Path(__file__).parents[1]
LINK = re.compile(r"\]\(([^)\s#]+)(?:#[^)]*)?\)")

REFERENCE: Mapping[str, tuple[str, tuple[str, ...]]] = {
    "patterns": (
        "Patterns and policies",
        (
            "pattern.ConvPattern",
            "pattern.TokenPattern",
            "policy.Policy",
            "conv_space.ConvSpace",
            "token_space.TokenSpace",
            "zoo.entries",
            "zoo.card",
        ),
    ),
    "layers": (
        "Layers and masks",
        ("mask.conv_keep", "mask.token_keep", "mask.drop", "layers.PatternDropout"),
    ),
    "models": (
        "Any model",
        (
            "applying.sites",
            "matching.match",
            "applying.apply",
            "applied.Applied",
            "applying.space_for",
            "site.Site",
            "site.HasSites",
            "site.HasTokens",
            "monte_carlo.mc",
            "augmenting.augmented_dropout",
            "augmenting.forward_dropout",
            "augmenting.backward_dropout",
            "adapting.adaptive_dropout",
            "adapting.Adaptive",
            "adapting.Refreshing",
            "adaptive.AdaptiveDropout",
            "adaptive.AdaptiveSettings",
            "attribution.relevance",
            "attribution.attribute",
        ),
    ),
    "integrations": (
        "Lightning, Hugging Face and Optuna",
        (
            "integrations.lightning.PolicyCallback",
            "integrations.huggingface.PolicyCallback",
            "integrations.optuna_sampler.ControllerSampler",
        ),
    ),
    "search": (
        "Search",
        (
            "engine.run.search",
            "engine.study.Study",
            "engine.confirm.Confirmation",
            "engine.halving.Halving",
            "engine.controller.Controller",
            "engine.base.Searcher",
            "engine.executors.base.Executor",
            "engine.executors.futures.FuturesExecutor",
            "result.Result",
            "result.Trial",
            "result.Confirmed",
        ),
    ),
    "tasks": (
        "Tasks",
        (
            "tasks.base.Task",
            "tasks.base.Baseline",
            "tasks.base.Budget",
            "tasks.base.Figure",
            "tasks.base.HasFigure",
            "tasks.base.Resumable",
            "tasks.registry.task_named",
        ),
    ),
    "evidence": (
        "Comparison and benchmarks",
        (
            "comparison.compare",
            "benchmark.landscapes.names",
            "benchmark.landscapes.load",
            "benchmark.landscapes.Benchmark",
            "benchmark.released.Released",
            "benchmark.surrogate.Surrogate",
        ),
    ),
    "baselines": ("Baselines", ("baselines",)),
    "errors": ("Errors", ("errors",)),
}
"""Name of a page to its title and what is on it."""


def gather(target: Path) -> None:
    """Write all pages into a fresh folder."""
    shutil.rmtree(target, ignore_errors=True)
    shutil.copytree(ROOT / "docs", target / "docs", ignore=shutil.ignore_patterns("*.py", "__pycache__"))
    for page, place in (("README.md", "index.md"), ("CHANGELOG.md",) * 2, ("CONTRIBUTING.md",) * 2):
        shutil.copy(ROOT / page, target / place)
    for page in [ROOT / "README.md", *ROOT.glob("docs/*.md")]:
        for linked in _linked(page):
            place = target / linked.relative_to(ROOT)
            if linked.is_file() and not place.exists() and linked.name != "README.md":
                place.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(linked, place)
    (target / "docs" / "api").mkdir()
    for name, (title, objects) in REFERENCE.items():
        lines = [f"# {title}", *(f"::: autodropout.{path}" for path in objects)]
        (target / "docs" / "api" / f"{name}.md").write_text("\n\n".join(lines) + "\n", encoding="utf8")


def _linked(page: Path) -> Iterator[Path]:
    for link in LINK.findall(page.read_text(encoding="utf8")):
        if "://" not in link:
            yield (page.parent / link).resolve()


if __name__ == "__main__":
    gather(Path(sys.argv[1]))
