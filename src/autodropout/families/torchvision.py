"""torchvision's ResNets, ResNeXts and wide ResNets: blocks whose shortcut is a projection.

A block without one adds its input itself; no module stands there, so that branch cannot be reached.
"""

import sys
from collections.abc import Sequence

from torch import nn

from autodropout.site import Site


def sites_of(module: nn.Module) -> Sequence[Site] | None:
    """Return the batch normalisations of a residual block, with the projection on its shortcut."""
    resnet = sys.modules.get("torchvision.models.resnet")  # a model of its cannot exist before the import
    if resnet is None or not isinstance(module, resnet.BasicBlock | resnet.Bottleneck):
        return None
    shortcut = _last(module.downsample) if isinstance(module.downsample, nn.Sequential) else None
    names = [name for name, child in module.named_modules() if isinstance(child, nn.BatchNorm2d)]
    return tuple(
        Site(name=name, layout="NCHW", shortcut=None if name == shortcut else shortcut) for name in names
    )


def _last(downsample: nn.Sequential) -> str:
    return f"downsample.{len(downsample) - 1}"
