"""What an adapter is, and the walk that asks adapters about a model."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

from torch import nn

from autodropout.attach import CHILD, named_module
from autodropout.errors import SiteError
from autodropout.site import Opening, Site

Adapter = Callable[[nn.Module], Sequence[Site] | None]
"""From a module to the sites inside it, by names relative to it; None: not of this family."""


def walk(model: nn.Module, adapters: Sequence[Adapter]) -> tuple[Site, ...]:
    """Ask the adapters about every module, from the outside in.

    Args:
        model: The model.
        adapters: The first that answers for a module speaks for all that is inside it.

    Raises:
        SiteError: An answer names no module, or one module twice.
    """
    sites = tuple(site for site in _walk(model, "", adapters, set()) if site.name)
    for site in sites:
        for name in _needed(site):
            named_module(model, name)
    names = [site.name for site in sites]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise SiteError(f"the model describes the sites {twice} twice; describe each once")
    return sites


def _walk(module: nn.Module, name: str, adapters: Sequence[Adapter], seen: set[nn.Module]) -> Iterator[Site]:
    if module in seen:  # a module under two names is a site under the first of them
        return
    seen.add(module)
    for adapter in adapters:
        answer = adapter(module)
        if answer is not None:
            yield from (within(name, site) for site in answer)
            return
    for child_name, child in module.named_children():
        if not child_name.startswith(CHILD):
            yield from _walk(child, f"{name}.{child_name}" if name else child_name, adapters, seen)


def _needed(site: Site) -> Iterator[str]:
    """Names of modules that must exist before anything is opened."""
    yield from (opening.place for opening in (*site.openings, *site.shortcut_openings))
    if not site.openings:
        yield site.module_name
    if site.shortcut is not None and not (site.openings or site.shortcut_openings):
        yield site.shortcut
    if site.consumer is not None:
        yield site.consumer


def within(prefix: str, site: Site) -> Site:
    """Return a site by names relative to a module further out, of which ``prefix`` is the way in."""
    return replace(
        site,
        name=_joined(prefix, site.name),
        shortcut=_joined_if(prefix, site.shortcut),
        module=_joined_if(prefix, site.module),
        block=_joined_if(prefix, site.block),
        consumer=_joined_if(prefix, site.consumer),
        openings=tuple(_opening_within(prefix, opening) for opening in site.openings),
        shortcut_openings=tuple(_opening_within(prefix, opening) for opening in site.shortcut_openings),
    )


def _opening_within(prefix: str, opening: Opening) -> Opening:
    return replace(opening, place=_joined(prefix, opening.place))


def _joined_if(prefix: str, name: str | None) -> str | None:
    return None if name is None else _joined(prefix, name)


def _joined(prefix: str, name: str) -> str:
    return f"{prefix}.{name}" if prefix and name else prefix or name
