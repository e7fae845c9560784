"""How long something takes, as people say it."""


def in_words(seconds: float) -> str:
    """Return a duration as people say it.

    Example:
        >>> in_words(75), in_words(7_000), in_words(2_400)
        ('1 min 15 s', '1 h 56 min', '40 min')
        >>> in_words(200_000)
        '2 days 7 h'
    """
    whole = round(seconds)
    hours, minutes = divmod(whole // 60, 60)
    units = [("h", hours), ("min", minutes), ("s", 0 if hours else whole % 60)]
    if hours >= 48:
        units = [("days", hours // 24), ("h", hours % 24)]
    return " ".join(f"{number} {unit}" for unit, number in units if number) or "0 s"
