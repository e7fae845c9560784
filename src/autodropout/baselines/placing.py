"""Put baseline modules onto places of a model that is built already."""

from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Self

from torch import nn

from autodropout.attach import Attachment, attach
from autodropout.errors import UsageError
from autodropout.site import Site
from autodropout.tracing import forget_compiled


class Placed:
    """Baseline modules on a model, until ``remove``; also a context manager.

    Attributes:
        modules: What was put on each site, by the site's name.
    """

    def __init__(self, modules: dict[str, nn.Module], attachments: Sequence[Attachment]) -> None:
        self.modules = modules
        self._attachments = attachments
        forget_compiled()

    def remove(self) -> None:
        """Take the modules away; the model is as it was. May be called twice."""
        for attachment in self._attachments:
            attachment.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.remove()


def on_sites(model: nn.Module, sites: Sequence[str | Site], factory: Callable[[int], nn.Module]) -> Placed:
    """Let a baseline act on the outputs of named modules while they train.

    The modules have no parameters and leave state_dict as it is. Stochastic Depth belongs on the last
    module of each residual branch, such as its last normalisation.

    Args:
        model: The model, changed in place.
        sites: Names of modules, or sites; each receives a module of its own.
        factory: Makes the module for the site at this position.

    Returns:
        What removes them again.

    Raises:
        SiteError: The model has no such module, or it is a container.
        ApplyError: Something stands on that place already.
        UsageError: There are no sites. After any error the model is as it was.

    Example:
        >>> model = nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU())
        >>> placed = on_sites(model, ["1"], lambda _: nn.Dropout2d(0.1))
        >>> placed.modules
        {'1': Dropout2d(p=0.1, inplace=False)}
        >>> placed.remove()
    """
    names = [site.name if isinstance(site, Site) else site for site in sites]
    if isinstance(sites, str) or not names:
        raise UsageError(f"sites is {sites!r}; expected a sequence of at least one name")
    modules = {name: factory(position) for position, name in enumerate(names)}
    attachments: list[Attachment] = []
    try:
        for name, module in modules.items():
            attachments.append(attach(model, name, [module]))
    except BaseException:
        for attachment in attachments:
            attachment.close()
        raise
    return Placed(modules, attachments)
