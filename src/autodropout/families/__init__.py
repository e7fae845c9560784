"""What is known about models: one small adapter per family says where its sites are.

An adapter is a function from a module to the sites inside it, or None where the module is not of its
family. The walk over a model asks the adapters, in this order, about every module from the outside in,
and does not enter a module that one of them has answered for.
"""

from torch import nn

from autodropout.families import (
    attention,
    generic,
    huggingface,
    ours,
    timm_conv,
    timm_vit,
    torchvision,
    torchvision_vit,
    transformer,
)
from autodropout.families.base import Adapter, walk
from autodropout.families.peft import Inside
from autodropout.site import Site

_ADAPTERS: tuple[Adapter, ...] = (
    ours.sites_of,
    huggingface.sites_of,
    torchvision.sites_of,
    torchvision_vit.sites_of,
    timm_conv.sites_of,
    timm_vit.sites_of,
    transformer.sites_of,
    attention.sites_of,
    generic.sites_of,
)

ADAPTERS: tuple[Adapter, ...] = (Inside(_ADAPTERS), *_ADAPTERS)


def find_sites(model: nn.Module) -> tuple[Site, ...]:
    """Return all sites of a model, in the order of its modules.

    Raises:
        SiteError: A model's own description of its sites names no module, or one module twice.
    """
    return walk(model, ADAPTERS)
