"""What compiled graphs need from us: values settled at trace time, to know of tracing, to be made again."""

import sys
from collections.abc import Callable
from typing import ParamSpec, TypeVar

import torch

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


def forget_compiled() -> None:
    """Let ``torch.compile`` compile anew whatever it has compiled in this process.

    Compiled code does not look whether a module has got hooks since. Where nothing was compiled, this does
    nothing, and does not import the compiler.
    """
    frames = sys.modules.get("torch._dynamo.convert_frame")
    if frames is None:
        return
    codes = getattr(frames, "input_codes", None)  # torch's own list of what it has compiled
    if codes is None or codes.seen:
        torch.compiler.reset()


def runs_eagerly() -> bool:
    """Say whether tensor operations run at once: nothing compiles, traces, transforms or fakes them."""
    return (
        not torch.compiler.is_compiling()
        and torch._C._get_tracing_state() is None
        and not torch._C._are_functorch_transforms_active()
        and torch._C._len_torch_dispatch_stack() == 0
    )
