"""Valid tokens read off each batch, as the forward pass of the stack that takes it begins."""

import inspect
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from autodropout.errors import ShapeError, UsageError
from autodropout.layers import PatternDropout
from autodropout.site import HasTokens


@dataclass(slots=True)
class Following:
    """Hooks that read the valid tokens of each batch, and the layers that they tell."""

    handles: Sequence[RemovableHandle]
    layers: Sequence[PatternDropout]

    def close(self) -> None:
        """Take the hooks away and let all tokens take part again. May be called twice."""
        for handle in self.handles:
            handle.remove()
        for layer in self.layers:
            layer.set_valid_tokens(None)


def follow(model: nn.Module, layers: Iterable[object], protect: Sequence[int]) -> Following:
    """Tell each layer which tokens take part, whenever the stack that it stands in is called.

    A stack is a module with the method ``autodropout_tokens`` (see ``autodropout.site.HasTokens``), as ours
    are, or a ``transformers.PreTrainedModel``: an encoder, a decoder, or the model itself. It is told of its
    own tokens by ``attention_mask`` and ``input_ids``, and of those that it attends to by
    ``encoder_attention_mask``.

    Args:
        model: The model.
        layers: What stands in it.
        protect: Ids of tokens that never take part.

    Raises:
        UsageError: No layer stands in such a stack, or the ids are none.
    """
    ids = checked_ids(protect)
    patterns = [layer for layer in layers if isinstance(layer, PatternDropout)]
    readers = {stack: _Reader(told, _names(stack), ids) for stack, told in _stacks(model, patterns)}
    if not readers:
        raise UsageError(
            "no pattern stands in a Hugging Face model, whose attention_mask could be read, or in a module "
            "with autodropout_tokens(); set valid_tokens before each batch instead"
        )
    handles = [stack.register_forward_pre_hook(reader, with_kwargs=True) for stack, reader in readers.items()]
    return Following(handles, patterns)


@dataclass(slots=True)
class _Reader:
    """A forward pre-hook: an object rather than a closure, so that copies of the model copy it, too."""

    layers: Sequence[PatternDropout]
    names: Sequence[str]
    protect: Sequence[int]

    def __call__(self, stack: nn.Module, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> None:
        if not any(layer.training for layer in self.layers):
            return
        if isinstance(stack, HasTokens):
            given = stack.autodropout_tokens(*args, **kwargs)
        else:
            given = {**dict(zip(self.names, args, strict=False)), **kwargs}
        own = _shown(given, "attention_mask")
        for token in self.protect:
            others = _ids(given) != token
            own = others if own is None else own & others
        other = _shown(given, "encoder_attention_mask")
        for layer in self.layers:
            layer.set_valid_tokens(own, other)


def _stacks(
    model: nn.Module, layers: Sequence[PatternDropout]
) -> Iterator[tuple[nn.Module, Sequence[PatternDropout]]]:
    """Yield each stack with the layers that are in no stack further inside."""
    transformers = sys.modules.get("transformers")  # a model of its cannot exist before the import
    kinds = (HasTokens,) if transformers is None else (HasTokens, transformers.PreTrainedModel)
    stack_of = {
        layer: module
        for module in model.modules()  # from the outside in, so that the innermost one stays
        if isinstance(module, kinds)
        for layer in module.modules()
        if layer in layers
    }
    for stack in dict.fromkeys(stack_of.values()):
        yield stack, [layer for layer in layers if stack_of.get(layer) is stack]


def _names(stack: nn.Module) -> Sequence[str]:
    return tuple(inspect.signature(stack.forward).parameters)


def _shown(given: Mapping[str, Any], name: str) -> Tensor | None:
    mask = given.get(name)
    if mask is None:
        return None
    if not isinstance(mask, Tensor) or mask.ndim != 2:
        shape = tuple(mask.shape) if isinstance(mask, Tensor) else type(mask).__name__
        raise ShapeError(
            f"{name} is {shape}; follow() reads masks of shape (N, T), 1 where there is a token; set "
            "valid_tokens before each batch instead"
        )
    return mask != 0


def _ids(given: Mapping[str, Any]) -> Tensor:
    ids = given.get("input_ids")
    if not isinstance(ids, Tensor):
        raise UsageError(
            "the batch has no input_ids in which to look for the protected tokens; call follow() without "
            "protect, or set valid_tokens before each batch"
        )
    return ids


def checked_ids(protect: object) -> Sequence[int]:
    """Return ids of tokens as they were given.

    Raises:
        UsageError: They are none.
    """
    if isinstance(protect, str) or not isinstance(protect, Sequence):
        raise UsageError(f"protect is {protect!r}; expected ids of tokens, such as tokenizer.all_special_ids")
    for token in protect:
        if not isinstance(token, int) or isinstance(token, bool):
            raise UsageError(f"protect contains {token!r}; expected ids of tokens, which are whole numbers")
    return tuple(protect)
