"""What to say of a policy's key that matches no site of a model."""

from collections.abc import Sequence

from torch import nn

from autodropout.attach import CHILD, CONTAINERS
from autodropout.choosing import NO_SITES_REMEDY, glob_matches, listed, uncalled_text
from autodropout.quantised import quantised_text
from autodropout.site import Site
from autodropout.suggesting import nearest

_PROJECTIONS = ("query", "key", "value")


def unmatched_text(model: nn.Module, found: Sequence[Site], key: str) -> str:
    """Say what is wrong with a key, and what there is instead.

    Args:
        model: The model.
        found: Its sites.
        key: The key.
    """
    names = [site.name for site in found]
    if not names:
        why = quantised_text(model) or f"the model has no known sites; {NO_SITES_REMEDY}"
        return f"the policy's key {key!r} matches nothing: {why}"
    if key.startswith("role:"):
        roles = sorted({f"role:{site.role}" for site in found if site.role})
        return f"the policy's key {key!r} matches nothing; the model has {listed(roles) or 'no roles'}"
    modules = dict(model.named_modules())
    for name in modules:
        if glob_matches(key, name) and (text := uncalled_text(model, name)) is not None:
            return f"the policy's key {key!r} matches no site: {text}"
    if parts := [site for site in found if _is_part(site, key)]:
        roles = [f"role:{role}" for role in dict.fromkeys(site.role for site in parts)]
        return (
            f"the policy's key {key!r} is a fused projection, which is split into the sites "
            f"{listed(site.name for site in parts)}; name those, or {listed(roles)}"
        )
    if key in modules:
        return _module_text(modules[key], names, key)
    return _unknown_text(found, names, key)


def _is_part(site: Site, key: str) -> bool:
    """Say whether a site is a part of what comes out of the module that a key means."""
    module, _, place = site.module_name.partition(f".{CHILD}")
    shares = site.role in _PROJECTIONS and (site.channels is not None or bool(place))
    return shares and not site.name.startswith(f"{module}.") and glob_matches(key, module)


def _module_text(module: nn.Module, names: Sequence[str], key: str) -> str:
    inside = [name for name in names if name.startswith(f"{key}.")]
    what = "a container" if isinstance(module, CONTAINERS) else "no site"
    remedy = "" if what == "a container" else f'; layouts={{"{key}": axes of its output}} makes it one'
    kind = type(module).__name__
    return f'"{key}" is a {kind}, {what}; the sites there are {listed(inside or names)}{remedy}'


def _unknown_text(found: Sequence[Site], names: Sequence[str], key: str) -> str:
    near = nearest(key, names)
    if any(site.role == key.rpartition(".")[2] for site in found):
        near = [f"role:{key.rpartition('.')[2]}"]
    hint = f"did you mean {listed(near)}? The" if near else "the"
    dots = " (a key's * stops at dots)" if "*" in key else ""
    return f"the policy's key {key!r} matches no site{dots}; {hint} model's sites are {listed(names)}"
