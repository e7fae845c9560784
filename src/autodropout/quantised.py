"""Modules of PyTorch's static quantisation, whose outputs are no float tensors."""

from torch import nn

from autodropout.attach import found_module
from autodropout.errors import SiteError
from autodropout.site import Site

_PACKAGES = ("torch.ao.nn.quantized", "torch.ao.nn.intrinsic.quantized")


def check_float(model: nn.Module, site: Site) -> None:
    """Refuse a site at a quantised module.

    Raises:
        SiteError: It is one.
    """
    module = found_module(model, site.module_name)
    if module is not None and _is_quantised(module):
        raise SiteError(
            f'site "{site.name}" is a quantised {type(module).__name__}, whose output is no float tensor; '
            "leave the site out of the policy, or apply the policy before the model is quantised"
        )


def quantised_text(model: nn.Module) -> str | None:
    """Say that a model is quantised, and what to do; None if it is not."""
    for name, module in model.named_modules():
        if _is_quantised(module):
            return (
                f'the model is quantised ("{name}" is a quantised {type(module).__name__}), and what it had '
                "for sites is gone; train with the policy first, then quantise"
            )
    return None


def _is_quantised(module: nn.Module) -> bool:
    package = type(module).__module__
    return package.startswith(_PACKAGES) and ".dynamic" not in package
