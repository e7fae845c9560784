"""Tables 1 to 6 of Demystifying Dropout, cell by cell, each at full size or as a small sibling.

    python experiments/demystifying.py TABLE [--small] [--seeds 4] [--ratios R ...] [--data DATA] [--out DIR]

TABLE is 1, 2, 3, 4-svhn, 4-cifar10, 5-svhn, 5-cifar10, 5-cifar100, 6-all-conv, 6-nin or 2+5-cifar10, all
cells of 2 and 5-cifar10 in one comparison, as both are of one network on the same images. DATA holds the data
sets; without --data it is what AUTODROPOUT_DATA says. It may be stopped at any moment; the same command goes
on and begins only those trainings anew that were under way. What was found is copied to results/demystifying,
unless --steps or --weight-decay changed it, or it has fewer seeds.

Figures 1 to 3 are drawn from what tables 1, 2 and 4-cifar10 leave behind (demystifying_figures.py), and
demystifying_power.py says how many seeds the paper's differences need: those of Table 3 are .0001 to .0007,
where the standard error of one test accuracy is .0009. --ratios trains the cells of these ratios alone, so
that one row can have as many. Below the table of all cells stand the pairs that the paper compares: in Tables
1 and 2 each kind beside the plain network and beside standard dropout of its ratio; in 3 to 5 augmented
beside standard dropout; in 6 augmented dropout beside the others. Their p-values are adjusted over the
ratios. Then comes what the paper prints.

Settings are the paper's as printed (demystifying_cells.py, docs/decisions.md). --steps and --weight-decay
change them where a misprint is suspected: --steps 64000 is He et al.'s schedule of ResNet-20.
"""

import argparse
import os
from collections.abc import Collection, Mapping
from dataclasses import replace
from pathlib import Path

from autodropout.comparison import Comparison, compare
from autodropout.data.files import VARIABLE
from autodropout.engine.options import ExecutorName
from autodropout.errors import UsageError
from comparing import RESULTS, conduct, refuse
from demystifying_cells import (
    Cell,
    Kind,
    Setting,
    all_conv,
    convnet_quick,
    lenet,
    network_in_network,
    resnet20,
)
from demystifying_pairs import BOTH, ONE_PASS, families
from demystifying_printed import PRINTED

SEEDS = 4
RATIOS = (0.3, 0.2, 0.1, 0.05, 0.01, 0.005)
POINTS = 20
FIGURES = ("1", "2", BOTH, "4-cifar10")
"""Tables whose runs keep 20 points of their loss curves."""

_LENET = Setting(
    network=lenet,
    data="mnist",
    looks="unit",
    consumers=(("fc2", None),),
    steps=12_000,
    batch_size=100,
    learning_rate=0.01,
    falls=(0.5,),
    weight_decay=0.0005,
    bias_factor=2.0,
)
_CONVNET = Setting(
    network=convnet_quick,
    data="cifar10",
    looks="mean-image",
    consumers=(("fc1", None), ("fc2", None)),
    steps=9000,
    batch_size=100,
    learning_rate=0.001,
    falls=(4 / 9,),
    weight_decay=0.004,
    bias_factor=2.0,
)
_RESNET = Setting(
    network=resnet20,
    data="cifar10",
    looks="channels",
    consumers=tuple((f"group{group}.{block}.conv2", None) for group in (1, 2, 3) for block in (0, 1, 2)),
    steps=640_000,
    batch_size=128,
    learning_rate=0.1,
    falls=(0.5, 0.75),
    weight_decay=0.001,
    nesterov=True,
    augment=True,
)
_ALL_CONV = Setting(
    network=all_conv,
    data="cifar10",
    looks="whitened",
    consumers=(("conv1", 0.2), ("conv4", 0.5), ("conv7", 0.5)),
    steps=350 * 390,
    batch_size=128,
    learning_rate=0.05,
    falls=(200 / 350, 250 / 350, 300 / 350),
    weight_decay=0.001,
)
_NIN = Setting(
    network=network_in_network,
    data="cifar10",
    looks="whitened",
    consumers=(("conv4", 0.5), ("conv7", 0.5)),
    steps=120_000,
    batch_size=128,
    learning_rate=0.1,
    falls=(100 / 120,),
    weight_decay=0.0001,
    bias_factor=2.0,
)

SETTINGS: Mapping[str, Setting] = {
    "1": _CONVNET,
    "2": _RESNET,
    "3": _LENET,
    "4-svhn": replace(_CONVNET, data="svhn"),
    "4-cifar10": _CONVNET,
    "5-svhn": replace(_RESNET, data="svhn", augment=False),
    "5-cifar10": _RESNET,
    "5-cifar100": replace(_RESNET, data="cifar100"),
    "6-all-conv": _ALL_CONV,
    "6-nin": _NIN,
    BOTH: _RESNET,
}
_AUGMENTED: dict[str, tuple[tuple[float, ...], float]] = {
    "3": ((0.1, 0.2, 0.3, 0.4, 0.5), 0.0001),
    "4-svhn": ((0.1, 0.2, 0.3), 0.0002),
    "4-cifar10": ((0.1, 0.2, 0.3), 0.0002),
    "5-svhn": ((0.1, 0.2, 0.3), 0.0002),
    "5-cifar10": ((0.1, 0.2, 0.3), 0.0001),
    "5-cifar100": ((0.1, 0.2, 0.3), 0.0001),
}
_AUGMENTED |= {BOTH: _AUGMENTED["5-cifar10"]}
"""Forward ratios, and the backward ratio beside all of them."""

_BACKWARD_OF_TABLE_6 = 0.0001  # not printed; that of the paper's other tables on CIFAR-10 with a deep network
_SMALL: Mapping[str, dict[str, int]] = {
    "lenet": {"steps": 1200, "small": 6000, "side": 28},
    "convnet_quick": {"steps": 900, "small": 4000},
    "resnet20": {"steps": 1000, "small": 12_000, "side": 16},
    "all_conv": {"steps": 400, "small": 4000, "side": 16},
    "network_in_network": {"steps": 400, "small": 4000, "side": 16},
}
"""What 2 cores finish, by network: steps, training images, side of an image."""


def setting_of(table: str, *, small: bool) -> Setting:
    """Return the setting of a table; the small sibling differs in steps and images only."""
    setting = SETTINGS[table]
    if not small:
        return setting
    changes = dict(_SMALL[setting.network.__name__])
    if setting.data == "cifar100":
        changes["small"] = 8000  # of the 10,000 that are drawn
    return replace(setting, **changes)


def cells(table: str, setting: Setting, folder: str | None) -> dict[str, Cell]:
    """Return the cells of a table by name, and the plain network beside them."""
    points = POINTS if table in FIGURES else 1

    def cell(kind: Kind, rate: float | None = None, backward_rate: float = 0.0) -> Cell:
        return Cell(
            setting=setting, kind=kind, rate=rate, backward_rate=backward_rate, points=points, folder=folder
        )

    found = {"plain": cell("plain", 0.0)}
    if table in ONE_PASS:
        kinds: tuple[Kind, ...] = ("standard", "forward", "backward")
        found |= {f"{kind} {rate}": cell(kind, rate) for rate in RATIOS for kind in kinds}
    if table.startswith("6"):
        others: tuple[Kind, ...] = ("standard", "monte-carlo", "distillation", "el")
        found |= {kind: cell(kind) for kind in others}
        return found | {"augmented": cell("augmented", None, _BACKWARD_OF_TABLE_6)}
    rates, backward = _AUGMENTED.get(table, ((), 0.0))
    for rate in rates:
        found |= {f"standard {rate}": cell("standard", rate)}
        found |= {f"augmented {rate}": cell("augmented", rate, backward)}
    return found


def restricted(table: str, named: Mapping[str, Cell], ratios: Collection[float]) -> dict[str, Cell]:
    """Return the cells of these ratios and what they are measured against.

    Raises:
        UsageError: The table has no cell of a ratio.
    """
    there = {cell.rate for cell in named.values()} - {None, 0.0}
    if unknown := sorted(set(ratios) - there):
        has = ", ".join(map(str, sorted(there))) or "none of its own"
        raise UsageError(f"table {table} has no ratio {unknown[0]}; it has {has}")
    wanted = {name for name, cell in named.items() if cell.rate in ratios}
    pairs = [pair for family in families(table, wanted) for pair in family]
    wanted |= {name for pair in pairs for name in pair}
    return {name: cell for name, cell in named.items() if name in wanted}


def label(table: str, setting: Setting) -> str:
    """Return what a directory's runs were trained under: others must not be mixed with them."""
    images = f"{setting.small} images" if setting.small else "all images"
    return f"demystifying-{table}, {setting.steps} steps, weight decay {setting.weight_decay:g}, {images}"


def run(
    table: str,
    named: Mapping[str, Cell],
    out: Path,
    seeds: int,
    workers: int,
    executor: ExecutorName = "local",
) -> Comparison:
    """Train every cell on the same seeds and measure each against standard dropout."""
    standard = [name for name in named if name.startswith("standard")]
    return compare(
        refuse,
        named,
        seeds=seeds,
        baselines=standard,
        workers=workers,
        executor=executor,
        out=out,
        task=label(table, next(iter(named.values())).setting),
    )


def started(given: argparse.Namespace) -> None:
    """Do what the command line asks for."""
    asked = setting_of(given.table, small=given.small)
    changed = {"steps": given.steps, "weight_decay": given.weight_decay}
    asked = replace(asked, **{name: value for name, value in changed.items() if value is not None})
    place = None if given.data is None else str(Path(given.data).absolute())
    name = f"{given.table}-small" if given.small else given.table
    if given.ratios:
        name += f"-at-{'-'.join(map(str, sorted(given.ratios)))}"
    directory = given.out or Path(f"runs/demystifying-{name}")
    as_printed = given.steps is None and given.weight_decay is None and given.seeds >= SEEDS

    def made() -> Comparison:
        named = cells(given.table, asked, place)
        if given.ratios:
            named = restricted(given.table, named, given.ratios)
        asked.images(place)  # what is missing is said before anything runs
        return run(given.table, named, directory, given.seeds, given.workers)

    results = RESULTS / "demystifying" / name if as_printed else None
    printed = PRINTED[given.table].accuracies
    conduct(made, lambda names: families(given.table, names), directory, results, printed)


def arguments() -> argparse.ArgumentParser:
    """Return what reads the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("table", choices=SETTINGS, metavar="TABLE", help=", ".join(SETTINGS))
    parser.add_argument("--small", action="store_true", help="the small sibling, for 2 cores")
    parser.add_argument("--data", default=os.environ.get(VARIABLE), help="folder of the data sets")
    parser.add_argument("--seeds", type=int, default=SEEDS, help="runs of each cell; the paper has 4")
    parser.add_argument(
        "--ratios", type=float, nargs="+", metavar="R", help="of dropout; others are left out"
    )
    parser.add_argument("--steps", type=int, help="optimiser steps (default: as printed)")
    parser.add_argument("--weight-decay", type=float, help="(default: as printed)")
    parser.add_argument("--workers", type=int, default=2, help="processes, one thread each")
    parser.add_argument("--out", type=Path, help="directory of the runs (default: runs/demystifying-TABLE)")
    return parser


if __name__ == "__main__":
    started(arguments().parse_args())
