"""Trials on a Ray cluster. The only room that imports ray."""

from autodropout.errors import MissingError

try:
    import ray  # noqa: F401
except ImportError as error:
    raise MissingError(
        "the executor 'ray' needs Ray, which is not installed; install it with: pip install ray"
    ) from error
