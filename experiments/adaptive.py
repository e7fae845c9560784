"""The comparisons of the paper "Adaptive Dropout", each at full size or as a small sibling.

    python experiments/adaptive.py EXPERIMENT [--small] [--augment] [--seeds 5] [--data DATA] [--out DIR]

    cifar10, cifar100    Table 1 with ResNet-18: none, L1, L2, standard, adaptive
    imagenet             Table 1 with ResNet-50; its sibling has 10 classes of Tiny ImageNet
    sensitivity          epochs, learning rate and weight decay on CIFAR-10, five arms at each value
    sources              CIFAR-10 with rates from every kind of relevance that is known
    recurrent            an LSTM on the help texts of Python (the paper's future work)
    transformer          a decoder, likewise

Settings are the paper's: SGD with momentum .9, weight decay .0001, batches of 128 (ImageNet 256), 200 epochs
(90), learning rate .1, a tenth of it from epochs 100 and 150 (30 and 60), channels of mean 0 and deviation 1.
The weight decay is every arm's: "none" has it, and "l2" adds to it. The paper does not say where dropout
stands, how strong anything is, nor whether images are augmented; --augment crops and mirrors those of CIFAR
and of the sibling of ImageNet. Dropout acts between the convolutions of each residual block (one place in
ResNet-18, two in ResNet-50), with a coin for every unit; the strengths are options. Rates are refreshed every
100 steps. That would leave short trainings a handful of refreshes (the first of a ResNet's finds nothing, as
residual branches begin at 0): small siblings have one every 10 steps, text every 10 and its siblings every 5.
Standard and adaptive dropout have one mean rate, so that only its distribution over channels differs;
"adaptive-unimportant" is the other direction. Below the table of all arms stand the pairs that were chosen
beforehand: adaptive dropout beside each of the others under one setting. It may be stopped at any moment; the
same command goes on and begins only those trainings anew that were under way. What was found is copied to
results/adaptive, unless an option changed a strength, or it has fewer seeds.
"""

import argparse
import os
from collections.abc import Collection, Mapping
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path

from adaptive_arms import USUAL, Strengths
from adaptive_data import check
from adaptive_images import ImageRun
from adaptive_text import SequenceRun
from autodropout.attribution import METHODS
from autodropout.comparison import Comparison, compare
from autodropout.data.files import VARIABLE
from autodropout.engine.options import ExecutorName
from autodropout.errors import UsageError
from comparing import RESULTS, Pair, conduct, refuse

SEEDS = 5
ARMS = ("none", "l1", "l2", "standard", "adaptive", "adaptive-unimportant")
PRINTED = "as printed"
SENSITIVITY: Mapping[str, tuple[float, ...]] = {
    "epochs": (0.25, 0.5, 1.0, 1.5),  # of the printed number
    "learning_rate": (0.01, 0.03, 0.1, 0.3),
    "weight_decay": (0.0, 1e-5, 1e-4, 1e-3),
}
"""Settings to their values, the printed one among them."""

_CIFAR10 = ImageRun(data="cifar10", steps=200 * 391, falls=(100 / 200, 150 / 200))
_IMAGES: Mapping[str, ImageRun] = {
    "cifar10": _CIFAR10,
    "cifar100": replace(_CIFAR10, data="cifar100"),
    "imagenet": ImageRun(
        data="imagenet", depth=50, batch_size=256, steps=90 * 5005, falls=(30 / 90, 60 / 90)
    ),
    "sensitivity": _CIFAR10,
    "sources": _CIFAR10,
}
EXPERIMENTS = (*_IMAGES, "recurrent", "transformer")


def runs(
    experiment: str, strengths: Strengths, folder: str | None, *, small: bool, augment: bool = False
) -> dict[str, ImageRun]:
    """Return the arms of an experiment on images by name."""
    plain = replace(_IMAGES[experiment], strengths=strengths, folder=folder, augment=augment)
    plain = plain.sibling() if small else plain
    match experiment:
        case "sensitivity":
            return sensitivity_runs(plain)
        case "sources":
            found = {"standard": replace(plain, arm="standard")}
            adaptive = replace(plain, arm="adaptive")
            ways = {method: replace(plain.refreshing, method=method) for method in METHODS}
            return found | {f"adaptive {m}": replace(adaptive, refreshing=way) for m, way in ways.items()}
    return {arm: replace(plain, arm=arm) for arm in ARMS}


def sensitivity_runs(plain: ImageRun) -> dict[str, ImageRun]:
    """Return five arms as printed and at each other value of one setting, which are named by it."""
    varied = {PRINTED: plain}
    for name, values in SENSITIVITY.items():
        for value in values:
            field, number = (name, value) if name != "epochs" else ("steps", round(plain.steps * value))
            changed = replace(plain, **{field: number})
            if changed != plain:
                varied[f"{name}={value:g}"] = changed
    return {f"{arm} {at}": replace(run, arm=arm) for at, run in varied.items() for arm in ARMS[:-1]}


def sequence_runs(kind: str, strengths: Strengths, *, small: bool) -> dict[str, SequenceRun]:
    """Return the arms of an experiment on text by name."""
    plain = SequenceRun(network=kind, strengths=strengths)  # type: ignore[arg-type]
    plain = plain.sibling() if small else plain
    return {arm: replace(plain, arm=arm) for arm in ARMS if arm not in ("l1", "l2")}


def pairs(experiment: str, names: Collection[str]) -> list[Pair]:
    """Return which arms are measured against each other: adaptive dropout and what it is to beat."""
    adaptive = [name for name in names if name.startswith("adaptive")]
    match experiment:
        case "sensitivity":
            return [(name, name.replace("adaptive", other)) for name in adaptive for other in ARMS[:4]]
        case "sources":
            others_than_lrp = [(name, "adaptive lrp") for name in adaptive if name != "adaptive lrp"]
            return [*((name, "standard") for name in adaptive), *others_than_lrp]
    others = tuple(name for name in names if name not in adaptive)
    ways = [("adaptive", "adaptive-unimportant"), ("adaptive-unimportant", "standard")]
    return [*(("adaptive", other) for other in others), *ways]


def run(
    experiment: str,
    arms: Mapping[str, ImageRun | SequenceRun],
    out: Path,
    seeds: int,
    workers: int,
    executor: ExecutorName = "local",
) -> Comparison:
    """Train every arm on the same seeds and measure each against those that do not adapt."""
    others = [name for name in arms if not name.startswith("adaptive")]
    lower = experiment in ("recurrent", "transformer")
    return compare(
        refuse,
        arms,
        seeds=seeds,
        baselines=others,
        higher_is_better=not lower,
        workers=workers,
        executor=executor,
        out=out,
        task=label(experiment, arms),
    )


def label(experiment: str, arms: Mapping[str, ImageRun | SequenceRun]) -> str:
    """Return what a directory's runs were trained under: others must not be mixed with them."""
    first = next(iter(arms.values()))
    strengths = first.strengths
    augmented = ", crops and flips" if isinstance(first, ImageRun) and first.augment else ""
    return (
        f"adaptive-{experiment}, {first.steps} steps, refreshed every {first.refreshing.every}, "
        f"rate {strengths.rate:g}, l1 {strengths.l1:g}, l2 {strengths.l2:g}{augmented}"
    )


def asked(
    experiment: str, strengths: Strengths, folder: str | None, *, small: bool, augment: bool = False
) -> Mapping[str, ImageRun | SequenceRun]:
    """Return the arms of an experiment by name.

    Raises:
        DataError: Its images are not there: that is said before anything runs.
        UsageError: What it needs is not installed, or there are no images that ``augment`` would change.
    """
    if augment and (experiment not in _IMAGES or (experiment == "imagenet" and not small)):
        raise UsageError(
            f"{experiment} has no --augment: it is for CIFAR and ImageNet's sibling; text has no images, and "
            "those of ImageNet are cropped and mirrored anyway"
        )
    if experiment == "sources" and find_spec("captum") is None:
        raise UsageError("sources needs captum; install it with: pip install 'autodropout[adaptive]'")
    if experiment not in _IMAGES:
        return sequence_runs(experiment, strengths, small=small)
    check(_IMAGES[experiment].data, small, folder)
    return runs(experiment, strengths, folder, small=small, augment=augment)


def started(given: argparse.Namespace) -> None:
    """Do what the command line asks for."""
    strong = Strengths(rate=given.rate, l1=given.l1, l2=given.l2)
    place = None if given.data is None else str(Path(given.data).absolute())
    name = "-".join([given.experiment, *["small"] * given.small, *["augmented"] * given.augment])
    directory = given.out or Path(f"runs/adaptive-{name}")
    results = RESULTS / "adaptive" / name if strong == USUAL and given.seeds >= SEEDS else None

    def made() -> Comparison:
        arms = asked(given.experiment, strong, place, small=given.small, augment=given.augment)
        return run(given.experiment, arms, directory, given.seeds, given.workers)

    conduct(made, lambda names: [pairs(given.experiment, names)], directory, results)


def arguments() -> argparse.ArgumentParser:
    """Return what reads the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("experiment", choices=EXPERIMENTS, metavar="EXPERIMENT", help=", ".join(EXPERIMENTS))
    parser.add_argument("--small", action="store_true", help="the small sibling, for 2 cores")
    parser.add_argument("--augment", action="store_true", help="crops and flips, which the paper lacks")
    parser.add_argument("--data", default=os.environ.get(VARIABLE), help="folder of the data sets")
    parser.add_argument("--seeds", type=int, default=SEEDS, help="runs of each arm; the paper does not say")
    parser.add_argument("--rate", type=float, default=USUAL.rate, help="mean rate of dropout")
    parser.add_argument("--l1", type=float, default=USUAL.l1, help="factor of the sum of magnitudes")
    parser.add_argument("--l2", type=float, default=USUAL.l2, help="factor of half the sum of squares")
    parser.add_argument("--workers", type=int, default=2, help="processes, one thread each")
    parser.add_argument("--out", type=Path, help="directory of the runs (default: runs/adaptive-EXPERIMENT)")
    return parser


if __name__ == "__main__":
    started(arguments().parse_args())
