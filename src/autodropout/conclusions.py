"""What a comparison lets one conclude, and what not, in words."""

from autodropout.significance import Paired, seeds_needed

CAVEAT = (
    "Seeds repeat the training, not the search: another search, or another split of the data, may end "
    "elsewhere, and no number of seeds covers that variance."
)
"""What no comparison over seeds can show, whatever its p-values."""


def conclusion(
    name: str,
    rival: str,
    paired: Paired,
    *,
    adjusted_p: float | None = None,
    alpha: float = 0.05,
    higher_is_better: bool = True,
) -> str:
    """Say in words what a paired difference lets one conclude, and what not.

    Args:
        name: The arm.
        rival: The arm that it was compared with.
        paired: Figures of ``name`` minus those of ``rival``.
        adjusted_p: p-value after adjustment for several tests; None where only this test was made.
        alpha: Level at which a difference counts as shown.
        higher_is_better: Whether a positive difference favours ``name``.
    """
    if paired.n < 2:
        return f"Nothing can be said of {name} against {rival}: one seed has no spread; run at least 2."
    if paired.spread == 0.0:
        return _without_spread(name, rival, paired)
    p = paired.p if adjusted_p is None else adjusted_p
    interval = f"{100 * paired.confidence:g}% interval {paired.low:+.4g} to {paired.high:+.4g}"
    adjustment = "" if adjusted_p is None else " (Holm)"
    figures = (
        f"difference {paired.difference:+.4g}, {interval}, {_p_text(p)}{adjustment}, {paired.n} paired seeds"
    )
    if p is not None and p <= alpha:
        word = "better" if (paired.difference > 0.0) == higher_is_better else "worse"
        return f"{name} is {word} than {rival}: {figures}."
    return f"{name} against {rival} is undecided, which does not make them equal: {figures}.{_wish(paired)}"


def _without_spread(name: str, rival: str, paired: Paired) -> str:
    if paired.difference == 0.0:
        return f"{name} and {rival} gave equal figures on each of {paired.n} seeds."
    return (
        f"{name} differs from {rival} by {paired.difference:+.4g} on each of {paired.n} seeds; without any "
        "spread no test applies: check that the evaluation uses its seed."
    )


def _wish(paired: Paired) -> str:
    if paired.spread is None or (needed := seeds_needed(paired.difference, paired.spread)) is None:
        return ""
    if needed <= paired.n:
        return ""
    return f" If that is the true difference, about {needed:,} seeds would show it (power 80%)."


def _p_text(p: float | None) -> str:
    if p is None:
        return "no p-value"
    return "p < 0.0001" if p < 0.0001 else f"p = {p:.2g}"
