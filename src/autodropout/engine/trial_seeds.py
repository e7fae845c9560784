"""Which seed a trial is given: a pure function of the study's seed, the kind of trial and its number."""

from autodropout.engine.seeds import derived_seed
from autodropout.result import TrialKind

_BITS = 29
_FACTORS = (0x1E3779B9, 0x05EBCA6B)
_RANGE: dict[TrialKind, int] = {"search": 0, "confirm": 1, "compare": 2}


def trial_seed(study_seed: int, kind: TrialKind, number: int) -> int:
    """Return the seed of a trial, in [0, 2^31).

    Each kind has a range of its own, so no policy is ever confirmed or compared on a seed that the
    search has seen, and within a kind different numbers give different seeds.

    Args:
        study_seed: Seed of the whole study.
        kind: Kind of the trial.
        number: The trial's id for a search, or 0 if all its trials have one seed in common; for
            confirmation and comparison the position of the seed, which is shared by all policies so that
            they are measured on the same seeds.

    Example:
        >>> trial_seed(0, "search", 1) == trial_seed(0, "search", 1)
        True
    """
    position = _scrambled((derived_seed(study_seed, "trials", kind) + number) % (1 << _BITS))
    return (_RANGE[kind] << _BITS) + position


def tuning_seed(seed: int) -> int:
    """Return the seed to tune on in place of one of a comparison, in [0, 2^31).

    Different seeds give different ones, and none of them is ever that of another kind of trial.

    Args:
        seed: Seed of a trial of the kind ``"compare"``.

    Example:
        >>> tuning_seed(trial_seed(0, "compare", 1)) == trial_seed(0, "compare", 1) + 2**29
        True
    """
    return seed + (1 << _BITS)


def _scrambled(position: int) -> int:
    """Mix the bits, one to one: no two trials share a seed, and a seed modulo a few says nothing."""
    for factor in _FACTORS:
        position ^= position >> 15
        position = position * factor % (1 << _BITS)
    return position ^ (position >> 14)
