"""Every error this library raises on purpose: one root, a few children.

Each child is also the built-in that fits, so ``except ValueError`` keeps working.
"""


class AutoDropoutError(Exception):
    """Root of all errors that autodropout raises on purpose."""


class PatternError(AutoDropoutError, ValueError):
    """A pattern or policy, or its JSON, is invalid."""


class SpaceError(AutoDropoutError, ValueError):
    """A space is badly described, or tokens or a policy do not belong to it."""


class ShapeError(AutoDropoutError, ValueError):
    """A tensor's shape or dtype cannot take the pattern or mask."""


class SiteError(AutoDropoutError, LookupError):
    """A policy's key names no usable place in the model, or more than one key claims it."""


class ApplyError(AutoDropoutError, RuntimeError):
    """The model is in a state in which a policy cannot be applied or removed."""


class UsageError(AutoDropoutError, ValueError):
    """An argument of an entry point or of the command line is wrong."""


class DataError(AutoDropoutError, OSError):
    """A data set is missing or damaged."""


class LedgerError(AutoDropoutError, OSError):
    """The ledger cannot be read or written: missing, locked, damaged, disk full."""


class StudyError(AutoDropoutError, RuntimeError):
    """A search cannot go on, for example because every trial raises."""


class MissingError(AutoDropoutError, ImportError):
    """A library that this part of autodropout is for is not installed."""


class DivergedError(AutoDropoutError, ArithmeticError):
    """Training has diverged: what should be finite is not."""


class DeviceError(AutoDropoutError, RuntimeError):
    """A device is not there, or its memory does not suffice."""
