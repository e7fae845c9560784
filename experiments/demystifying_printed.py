"""What the tables of Demystifying Dropout print: mean test accuracies of four runs, by cell."""

from collections.abc import Mapping
from dataclasses import dataclass

CIFAR, MNIST, SVHN = 10_000, 10_000, 26_032
"""Test images."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Printed:
    """A table, or the half of one that is of one data set.

    Attributes:
        title: Its number, network and data.
        images: Test images.
        accuracies: By the name of a cell. Table 6 prints errors; its own rivals' are quoted there from the
            papers that proposed them.
    """

    title: str
    images: int
    accuracies: Mapping[str, float]


def _one_pass(plain: float, **kinds: tuple[float, ...]) -> dict[str, float]:
    ratios = (0.3, 0.2, 0.1, 0.05, 0.01, 0.005)
    rows = {
        f"{kind} {ratio}": value
        for kind, row in kinds.items()
        for ratio, value in zip(ratios, row, strict=True)
    }
    return {"plain": plain, **rows}


def _augmented(*rows: tuple[float, float, float]) -> dict[str, float]:
    """Return the cells of rows of ratio, standard and augmented dropout."""
    return {
        f"{kind} {ratio}": value
        for ratio, standard, augmented in rows
        for kind, value in (("standard", standard), ("augmented", augmented))
    }


_TABLE_2 = _one_pass(
    0.9143,
    standard=(0.9163, 0.9176, 0.9193, 0.9174, 0.9141, 0.9154),
    forward=(0.9007, 0.9093, 0.9169, 0.9171, 0.9141, 0.9142),
    backward=(0.9109, 0.9130, 0.9140, 0.9142, 0.9147, 0.9146),
)
_TABLE_5 = _augmented((0.1, 0.9193, 0.9196), (0.2, 0.9176, 0.9195), (0.3, 0.9163, 0.9177))

PRINTED: Mapping[str, Printed] = {
    "1": Printed(
        title="1 (ConvNet-Quick, CIFAR-10)",
        images=CIFAR,
        accuracies=_one_pass(
            0.7579,
            standard=(0.7523, 0.7617, 0.7657, 0.7647, 0.7626, 0.7608),
            forward=(0.6908, 0.7211, 0.7482, 0.7627, 0.7612, 0.7578),
            backward=(0.7433, 0.7557, 0.7585, 0.7593, 0.7583, 0.7599),
        ),
    ),
    "2": Printed(title="2 (ResNet-20, CIFAR-10)", images=CIFAR, accuracies=_TABLE_2),
    "3": Printed(
        title="3 (LeNet, MNIST)",
        images=MNIST,
        accuracies=_augmented(
            (0.1, 0.9916, 0.9918),
            (0.2, 0.9922, 0.9923),
            (0.3, 0.9918, 0.9925),
            (0.4, 0.9917, 0.9920),
            (0.5, 0.9922, 0.9925),
        ),
    ),
    "4-svhn": Printed(
        title="4 (ConvNet-Quick, SVHN)",
        images=SVHN,
        accuracies=_augmented((0.1, 0.9240, 0.9248), (0.2, 0.9231, 0.9258), (0.3, 0.9249, 0.9250)),
    ),
    "4-cifar10": Printed(
        title="4 (ConvNet-Quick, CIFAR-10)",
        images=CIFAR,
        accuracies=_augmented((0.1, 0.7657, 0.7674), (0.2, 0.7617, 0.7655), (0.3, 0.7523, 0.7606)),
    ),
    "5-svhn": Printed(
        title="5 (ResNet-20, SVHN)",
        images=SVHN,
        accuracies=_augmented((0.1, 0.9618, 0.9627), (0.2, 0.9626, 0.9648), (0.3, 0.9655, 0.9667)),
    ),
    "5-cifar10": Printed(title="5 (ResNet-20, CIFAR-10)", images=CIFAR, accuracies=_TABLE_5),
    "5-cifar100": Printed(
        title="5 (ResNet-20, CIFAR-100)",
        images=CIFAR,
        accuracies=_augmented((0.1, 0.6762, 0.6786), (0.2, 0.6748, 0.6770), (0.3, 0.6686, 0.6688)),
    ),
    "6-all-conv": Printed(
        title="6 (ALL-Conv, CIFAR-10)",
        images=CIFAR,
        accuracies={"monte-carlo": 0.8940, "distillation": 0.8920, "el": 0.8914, "augmented": 0.8996},
    ),
    "6-nin": Printed(
        title="6 (NiN, CIFAR-10)",
        images=CIFAR,
        accuracies={"monte-carlo": 0.8896, "distillation": 0.8886, "augmented": 0.8972},
    ),
    "2+5-cifar10": Printed(
        title="2 and 5 (ResNet-20, CIFAR-10)", images=CIFAR, accuracies={**_TABLE_2, **_TABLE_5}
    ),
}
"""By the names that demystifying.py gives its tables."""
