"""What to say of a name that is not known: the nearest ones that are."""

import difflib
from collections.abc import Iterable

_LEAST_LETTERS = 3


def nearest(name: str, known: Iterable[str], most: int = 3) -> list[str]:
    """Return the known names that an unknown one may stand for, likeliest first.

    Those that are spelt much like it; if there is none, those that contain it.

    Args:
        name: What was asked for.
        known: What there is.
        most: How many at most.
    """
    there = list(known)
    if alike := difflib.get_close_matches(name, there, n=most):
        return alike
    return [other for other in there if name in other][:most] if len(name) >= _LEAST_LETTERS else []


def suggested(name: str, known: Iterable[str], remedy: str) -> str:
    """Return the remedy for an unknown name, after the names that it may stand for.

    Args:
        name: What was asked for.
        known: What there is.
        remedy: What to do otherwise, without a capital, such as "choose one of a, b, c".

    Example:
        >>> suggested("digit", ["digits", "ptb-small"], "choose one of digits, ptb-small")
        "did you mean 'digits'? Choose one of digits, ptb-small"
        >>> suggested("x", ["digits", "ptb-small"], "choose one of digits, ptb-small")
        'choose one of digits, ptb-small'
    """
    near = nearest(name, known)
    if not near:
        return remedy
    alike = bool(difflib.get_close_matches(name, near, n=1))
    *others, last = map(repr, near[:1] if alike else near)
    which = f"{', '.join(others)} or {last}" if others else last
    return f"did you mean {which}? {remedy[:1].upper()}{remedy[1:]}"
