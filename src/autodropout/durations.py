"""How long something takes, as people say it."""


def in_words(seconds: float) -> str:
    """Return a duration as people say it.

    Example:
        >>> in_words(75), in_words(7_000), in_words(2_400)
        ('1 min 15 s', '1 h 56 min', '40 min')
    """
    whole = round(seconds)
    hours, minutes = divmod(whole // 60, 60)
    if hours >= 48:
        return f"{hours // 24} days"
    units = (("h", hours), ("min", minutes), ("s", 0 if hours else whole % 60))
    return " ".join(f"{number} {unit}" for unit, number in units if number) or "0 s"
