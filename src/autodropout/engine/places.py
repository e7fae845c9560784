"""What lies where in a study's directory."""

LOGS = "logs"
"""Folder for what trials print."""

RESULTS = "results"
"""Folder for results of a cluster's trials that the ledger does not know yet."""


def log_name(trial: int, attempt: int) -> str:
    """Return the name of the file that keeps what an attempt prints.

    Example:
        >>> log_name(17, 1)
        'trial-000017-1.log'
    """
    return f"trial-{trial:06d}-{attempt}.log"
