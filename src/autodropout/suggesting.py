"""What to say of a name that is not known: the nearest one that is."""

import difflib
from collections.abc import Iterable


def suggested(name: str, known: Iterable[str], remedy: str) -> str:
    """Return the remedy for an unknown name, after the name that it may be a slip of.

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
    near = difflib.get_close_matches(name, list(known), n=1)
    if not near:
        return remedy
    return f"did you mean {near[0]!r}? {remedy[:1].upper()}{remedy[1:]}"
