"""One thing that compiled graphs need from us: values that are settled while a graph is traced."""

from collections.abc import Callable
from typing import ParamSpec, TypeVar

_P = ParamSpec("_P")
_R = TypeVar("_R")


def at_trace_time(function: Callable[_P, _R]) -> Callable[_P, _R]:
    """Let ``torch.compile`` call a function when it traces and take what it returns for a constant.

    Outside of compiled code the function stays as it is. This is all that
    ``torch.compiler.assume_constant_result`` does, which would import the whole compiler, about a second
    in every process that only wants to train.

    Args:
        function: Its arguments must be constants to the graph, such as numbers, patterns and devices.
    """
    function._dynamo_marked_constant = True  # type: ignore[attr-defined]
    return function
