"""Any model: the outputs of the norms of its feature maps, where the paper drops (AutoDropout, section 2)."""

from collections.abc import Sequence

from torch import nn

from autodropout.families.norms import is_map_norm, norm_site
from autodropout.site import Site


def sites_of(module: nn.Module) -> Sequence[Site] | None:
    """Return a norm of feature maps itself as the one site inside it."""
    return (norm_site(module, ""),) if is_map_norm(module) else None
