"""Applied sites that do nothing, and why: what there is to look for while a model trains."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from torch import nn

from autodropout.attach import CHILD, Attachment
from autodropout.errors import ApplyError
from autodropout.site import Closing


def frozen_sites(
    model: nn.Module, layers: Mapping[str, Any], attachments: Sequence[Closing]
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


def check_in_place(model: nn.Module, layers: Mapping[str, Any], attachments: Sequence[Closing]) -> None:
    """Refuse to train where a site's module was exchanged for one that took the layer over without its hook.

    Raises:
        ApplyError: It was, as ``nn.SyncBatchNorm.convert_sync_batchnorm`` does.
    """
    inside = _within(module._modules.get(CHILD) for module in _heirs(model, attachments))
    if moved := [name for name, layer in layers.items() if id(layer) in inside]:
        more = f" and {len(moved) - 1} more" if len(moved) > 1 else ""
        raise ApplyError(
            f'site "{moved[0]}"{more}: the module was exchanged after apply, as nn.SyncBatchNorm.'
            "convert_sync_batchnorm does, and the new one drops nothing; remove() the policy, convert the "
            "model, then apply the policy"
        )


def disinherit(model: nn.Module, attachments: Sequence[Closing]) -> None:
    """Take layers off the modules that took them over from others."""
    for module in list(_heirs(model, attachments)):
        del module._modules[CHILD]


def _heirs(model: nn.Module, attachments: Sequence[Closing]) -> Iterator[nn.Module]:
    """Yield modules that have a layer that was attached to another module."""
    owners = {id(one.child): one.module for one in attachments if isinstance(one, Attachment)}
    for module in model.modules():
        child = module._modules.get(CHILD)
        if owners.get(id(child), module) is not module:
            yield module


def _within(modules: Iterable[nn.Module | None]) -> set[int]:
    return {id(inner) for module in modules if module is not None for inner in module.modules()}
