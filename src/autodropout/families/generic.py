"""Any model: the outputs of its 2-d batch normalisations, where the paper drops (AutoDropout, section 2)."""

from collections.abc import Sequence

from torch import nn

from autodropout.site import Site


def sites_of(module: nn.Module) -> Sequence[Site] | None:
    """Return a BatchNorm2d itself as the one site inside it."""
    return (Site(name="", layout="NCHW"),) if isinstance(module, nn.BatchNorm2d) else None
