"""Sites that the user names: any module by name or glob, with the axes of its output."""

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace

from torch import nn

from autodropout.attach import CHILD, CONTAINERS, container_text, found_module
from autodropout.errors import SiteError, UsageError
from autodropout.families import attention, find_sites
from autodropout.site import LAYOUTS, Layout, Site
from autodropout.suggesting import nearest

Layouts = Mapping[str, Layout]
"""Name or glob of modules to the axes of their outputs."""

NO_SITES_REMEDY = (
    "give it or its blocks a method autodropout_sites() that describes them (see autodropout.site.HasSites), "
    "or name modules with layouts={name or glob: axes of the output}"
)
"""What helps where a model has no known sites."""

_NUM_SHOWN = 8


def all_sites(model: nn.Module, layouts: Layouts | None) -> tuple[Site, ...]:
    """Return the sites that are known of a model, and those that the user names.

    Args:
        model: The model.
        layouts: Name or glob (whose ``*`` stops at dots) of modules to the axes of their outputs. A
            name beats a glob. A site that is known anyway gets this layout.

    Returns:
        The sites in the order of the model's modules.

    Raises:
        SiteError: A key matches no module or only containers, two globs disagree about one, or a
            layout is unknown.
        UsageError: The layouts are no mapping from names.
    """
    known = find_sites(model)
    if layouts is None:
        return known
    chosen = _chosen(model, known, layouts)
    sites = [replace(site, layout=chosen.pop(site.name, site.layout)) for site in known]
    sites += [Site(name=name, layout=layout) for name, layout in chosen.items()]
    places = {name: place for place, (name, _) in enumerate(model.named_modules())}
    return tuple(sorted(sites, key=lambda site: _place(site.name, places)))


def glob_matches(glob: str, name: str) -> bool:
    """Say whether a name is meant by a glob, whose ``*`` stops at dots."""
    return re.fullmatch("[^.]*".join(map(re.escape, glob.split("*"))), name) is not None


def uncalled_text(model: nn.Module, name: str) -> str | None:
    """Say that a module is never called, and which site to name instead; None if that is not known of it."""
    place, _, last = name.rpartition(".")
    around = found_module(model, place)
    if last != "out_proj" or around is None or attention.sites_of(around) is None:
        return None
    output = f"{place}.output" if place else "output"
    return (
        f'nn.MultiheadAttention takes the weights of "{name}" without calling it, so nothing can act there; '
        f'name the site "{output}"'
    )


def listed(names: Iterable[str]) -> str:
    """Return names in quotes, the first few of many."""
    every = list(names)
    more = f" and {len(every) - _NUM_SHOWN} more" if len(every) > _NUM_SHOWN else ""
    return ", ".join(f'"{name}"' for name in every[:_NUM_SHOWN]) + more


def _chosen(model: nn.Module, known: Iterable[Site], layouts: Layouts) -> dict[str, Layout]:
    """Return the layout of each site that the user names."""
    if not isinstance(layouts, Mapping):
        raise UsageError(f"layouts is {layouts!r}; expected a mapping from names or globs to layouts")
    modules = {name: module for name, module in model.named_modules() if name and CHILD not in name}
    virtual = {site.name for site in known} - set(modules)
    exact: dict[str, Layout] = {}
    by_glob: dict[str, str] = {}
    for key, layout in layouts.items():
        if not isinstance(key, str):
            raise UsageError(f"layouts has the key {key!r}; expected the name of a module, or a glob")
        if layout not in LAYOUTS:
            raise SiteError(f"layouts has {layout!r} for {key!r}; expected one of {', '.join(LAYOUTS)}")
        if "*" not in key:
            exact[_checked_name(model, modules, virtual, key)] = layout
            continue
        for name in _meant(model, modules, virtual, key):
            other = by_glob.setdefault(name, key)
            if layouts[other] != layout:
                raise SiteError(
                    f'"{name}" is {layouts[other]} by the glob {other!r} of layouts and {layout} by {key!r}; '
                    f'add the key "{name}" to decide'
                )
    return {name: layouts[key] for name, key in by_glob.items()} | exact


def _checked_name(model: nn.Module, modules: Mapping[str, nn.Module], virtual: set[str], name: str) -> str:
    if name in virtual:
        return name
    if name not in modules:
        near = nearest(name, modules)
        hint = (
            f"; did you mean {listed(near)}?" if near else "; print the model to see the names of its modules"
        )
        raise SiteError(f"layouts names {name!r}, and the model has no such module{hint}")
    if isinstance(modules[name], CONTAINERS):
        raise SiteError(container_text(model, name))
    if (text := uncalled_text(model, name)) is not None:
        raise SiteError(f"layouts names {name!r}, but {text}")
    return name


def _meant(model: nn.Module, modules: Mapping[str, nn.Module], virtual: set[str], glob: str) -> Iterator[str]:
    found = [name for name in (*modules, *sorted(virtual)) if glob_matches(glob, name)]
    texts = {name: text for name in found if (text := uncalled_text(model, name)) is not None}
    usable = [name for name in found if not isinstance(modules.get(name), CONTAINERS) and name not in texts]
    if not usable and texts:
        raise SiteError(f"the glob {glob!r} of layouts matches no site: {next(iter(texts.values()))}")
    if not usable:
        what = f"only containers ({listed(found)}); name modules inside" if found else "no module"
        raise SiteError(f"the glob {glob!r} of layouts matches {what}; its * stops at dots")
    yield from usable


def _place(name: str, places: Mapping[str, int]) -> int:
    """Return where a site's module, or the innermost one around it, stands among the model's modules."""
    while name not in places:
        name = name.rpartition(".")[0]
    return places[name]
