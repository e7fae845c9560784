"""Models that know their own sites: ours, and any that has the method ``autodropout_sites``."""

from collections.abc import Sequence

from torch import nn

from autodropout.site import HasSites, Site


def sites_of(module: nn.Module) -> Sequence[Site] | None:
    """Return what the module says about itself."""
    return module.autodropout_sites() if isinstance(module, HasSites) else None
