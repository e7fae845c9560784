"""Applied sites that do nothing, and why: what there is to look for while a model trains."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Protocol

from torch import nn

from autodropout.attach import CHILD, Attachment, found_module
from autodropout.consuming import Taken
from autodropout.errors import ApplyError
from autodropout.site import Closing

LOOK_EVERY = 64
"""Forward passes of training from one look for exchanged modules to the next; the first one looks, too."""


class Layer(Protocol):
    """What the handle needs of a layer: ``PatternDropout`` and its like."""

    fired: bool
    training: bool

    def set_strength(self, strength: float) -> None:
        """Multiply its effect by 0 to 1, 0 being an exact identity."""
        ...

    def set_step(self, step: int) -> None:
        """Say which step the next draws are for."""
        ...


def frozen_sites(
    model: nn.Module, layers: Mapping[str, Layer], attachments: Sequence[Closing]
) -> tuple[str, ...]:
    """Return the sites that are in evaluation mode while the model is in training mode.

    Args:
        model: The model.
        layers: Site to layer.
        attachments: How the layers were put there.
    """
    if not model.training:
        return ()
    frozen = [one.child for one in attachments if isinstance(one, Attachment) and not one.module.training]
    inside = _within(frozen)
    return tuple(name for name, layer in layers.items() if not layer.training or id(layer) in inside)


def check_in_place(model: nn.Module, layers: Mapping[str, Layer], attachments: Sequence[Closing]) -> None:
    """Refuse to train where another module stands at a site than the one that got the layer.

    Raises:
        ApplyError: It took the layer over without its hook, as ``nn.SyncBatchNorm.convert_sync_batchnorm``
            has it, or has the old one as a part, as an adapter of PEFT's does.
    """
    heirs = _within(module._modules.get(CHILD) for module in _heirs(model, attachments))
    if moved := [name for name, layer in layers.items() if id(layer) in heirs]:
        raise ApplyError(
            f"{_sites_text(moved)}: the module was exchanged after apply, as nn.SyncBatchNorm."
            "convert_sync_batchnorm does, and the new one drops nothing; remove() the policy, convert the "
            "model, then apply the policy"
        )
    if displaced := displaced_sites(model, layers, attachments):
        raise ApplyError(
            f"{_sites_text(displaced)}: another module was put there after apply, as peft.get_peft_model "
            "does, and what is dropped is not its output; remove() the policy, change the model, then apply "
            "the policy"
        )


def displaced_sites(
    model: nn.Module, layers: Mapping[str, Layer], attachments: Sequence[Closing]
) -> tuple[str, ...]:
    """Return the sites whose name means another module now, which knows nothing of the layer.

    Args:
        model: The model.
        layers: Site to layer.
        attachments: How the layers were put there.
    """
    placed = (one for one in attachments if isinstance(one, Attachment | Taken) and one.place is not None)
    hidden = _within(one.child for one in placed if _is_displaced(model, one))
    return tuple(name for name, layer in layers.items() if id(layer) in hidden)


def disinherit(model: nn.Module, attachments: Sequence[Closing]) -> None:
    """Take layers off the modules that took them over from others."""
    for module in list(_heirs(model, attachments)):
        del module._modules[CHILD]


def _sites_text(names: Sequence[str]) -> str:
    return f'site "{names[0]}"' + (f" and {len(names) - 1} more" if len(names) > 1 else "")


def _is_displaced(model: nn.Module, one: Attachment | Taken) -> bool:
    """Say whether a name means another module now, and none that only wraps the old one."""
    there = found_module(model, one.place or "")
    while there is not one.module:
        children = [] if there is None else list(there.children())
        if len(children) != 1:
            return there is not None
        (there,) = children
    return False


def _heirs(model: nn.Module, attachments: Sequence[Closing]) -> Iterator[nn.Module]:
    """Yield modules that have a layer that was attached to another module."""
    owners = {id(one.child): one.module for one in attachments if isinstance(one, Attachment)}
    for module in model.modules():
        child = module._modules.get(CHILD)
        if owners.get(id(child), module) is not module:
            yield module


def _within(modules: Iterable[nn.Module | None]) -> set[int]:
    return {id(inner) for module in modules if module is not None for inner in module.modules()}
