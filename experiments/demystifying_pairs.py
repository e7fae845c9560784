"""Which cells of a table the paper measures against each other."""

from collections.abc import Collection

from comparing import Pair

BOTH = "2+5-cifar10"
"""All cells of 2 and 5-cifar10 in one comparison: both are of one network on the same images."""

ONE_PASS = ("1", "2", BOTH)
"""Tables with dropout in the forward or in the backward pass alone."""

QUESTIONS_OF_ONE_PASS: tuple[Pair, ...] = (
    ("standard", "plain"),
    ("forward", "plain"),
    ("backward", "plain"),
    ("forward", "standard"),
    ("backward", "standard"),
)
AUGMENTED: Pair = ("augmented", "standard")


def families(table: str, names: Collection[str]) -> list[list[Pair]]:
    """Return which cells the paper measures against each other, those of one question together.

    A question is one kind of dropout beside another at every ratio, in Table 6 one kind beside all others.

    Args:
        table: As demystifying.py names it.
        names: Of its cells.
    """
    if table.startswith("6"):
        return [[("augmented", name) for name in names if name not in ("augmented", "plain")]]
    asked = (*(QUESTIONS_OF_ONE_PASS if table in ONE_PASS else ()), AUGMENTED)
    found = [_question(kind, other, names) for kind, other in asked]
    return [family for family in found if family]


def _question(kind: str, other: str, names: Collection[str]) -> list[Pair]:
    cells = [name for name in names if name.split()[0] == kind]
    return [(name, other if other == "plain" else name.replace(kind, other)) for name in cells]
