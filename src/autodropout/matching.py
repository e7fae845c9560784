"""Which sites a model has, and which pattern of a policy each of them gets."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Self

from torch import nn

from autodropout.attach import CHILD, found_module
from autodropout.choosing import Layouts, all_sites, glob_matches
from autodropout.errors import SiteError, UsageError
from autodropout.existing import OwnDropout, own_dropout
from autodropout.families.mixing import class_of
from autodropout.layers import LAYOUTS_OF, pattern_text
from autodropout.pattern import ConvPattern, Pattern
from autodropout.policy import Policy
from autodropout.probing import map_size, site_shapes
from autodropout.quantised import check_float
from autodropout.site import Layout, Site
from autodropout.unmatched import unmatched_text

_NUM_AXES: Mapping[Layout, int] = {"NCHW": 4, "NHWC": 4, "TNC": 3}


@dataclass(frozen=True, slots=True, kw_only=True)
class Match:
    """What a policy does at one site.

    Attributes:
        site: The site.
        module: Class name of the module that bears its name, or else of the one whose output it is.
        key: The policy's key that claims it.
        pattern: What is dropped there.
        shortcut: Module whose output gets a second draw of the pattern (``residual``); None for none.
        size: (height, width) of its map in pixels; None where it is unknown or the site has no map.
        drop_rate: Exact probability that a unit is dropped at full strength; None where it hangs on an
            unknown map size.
    """

    site: Site
    module: str
    key: str
    pattern: Pattern
    shortcut: str | None
    size: tuple[int, int] | None
    drop_rate: float | None


class Matches(tuple[Match, ...]):
    """All that a policy does to a model; ``print`` shows it as a table.

    Attributes:
        existing: Where the model drops by itself, which ``apply(..., existing="off")`` would stop.
    """

    existing: tuple[OwnDropout, ...]

    def __new__(cls, matches: Iterable[Match], existing: Iterable[OwnDropout] = ()) -> Self:
        """Hold matches, and what the model has already."""
        made = super().__new__(cls, matches)
        made.existing = tuple(existing)
        return made

    def __str__(self) -> str:
        table = _table([("site", "module", "map", "drop rate", "key", "pattern"), *map(_row, self)])
        if not self.existing:
            return table
        rows = [
            (own.name or "(the model)", own.module, own.attribute, f"{own.rate:g}") for own in self.existing
        ]
        own = _table([("own dropout", "module", "attribute", "rate"), *rows])
        return f"{table}\n\n{own}"


def _table(rows: Sequence[Sequence[str]]) -> str:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = ("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) for row in rows)
    return "\n".join(line.rstrip() for line in lines)


def sites(model: nn.Module, *, layouts: Layouts | None = None) -> tuple[str, ...]:
    """Return the names that a policy may use as keys for this model, in the order of its modules.

    These are the outputs of the norms of its feature maps, the roles of the Transformers that are known,
    whatever its modules describe by a method ``autodropout_sites`` (see ``autodropout.site.HasSites``), and
    what ``layouts`` names.

    Args:
        model: Any module.
        layouts: Name or glob of further modules to the axes of their outputs, such as
            ``{"encoder.*.mlp": "NTC"}``: ``"NCHW"``, ``"NHWC"``, ``"NTC"`` (any (..., T, C)) or ``"TNC"``.

    Raises:
        SiteError: A key of ``layouts`` matches no module that may be a site.

    Example:
        >>> sites(nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8)), layouts={"0": "NCHW"})
        ('0', '1')
    """
    return tuple(site.name for site in all_sites(model, layouts))


def match(
    model: nn.Module, policy: Policy, *, example_input: object = None, layouts: Layouts | None = None
) -> Matches:
    """Say what ``apply`` would do, without doing it.

    Args:
        model: Any module.
        policy: The policy.
        example_input: What the model is called with: a tensor, a tuple of arguments, or a dict of
            keyword arguments. With it the model runs once, in evaluation mode and without gradients, and
            every map size and drop rate is known.
        layouts: Further sites: name or glob of modules to the axes of their outputs, see ``sites``.

    Returns:
        One record per site that gets a pattern, in the order of the model's modules; ``existing`` of it
        lists where the model drops by itself. As text it is a table, or two.

    Raises:
        SiteError: A key matches no site, two globs claim one site, a pattern does not fit its site, its
            ``residual`` finds no shortcut, or a site is a quantised module.

    Example:
        >>> from torch import nn
        >>> from autodropout.pattern import ConvPattern
        >>> net = nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8))
        >>> print(match(net, Policy({"1": ConvPattern(height=1, width="whole", repeat="fill", stride=1)})))
        site  module       map  drop rate  key  pattern
        1     BatchNorm2d  -    -          1    height=1, width='whole', stride=1, repeat='fill'
    """
    if not isinstance(policy, Policy):
        raise UsageError(f"the policy is a {type(policy).__name__}; expected a Policy")
    found = all_sites(model, layouts)
    claimed = [(site, key) for site in found if (key := _claim(site, policy)) is not None]
    if unmatched := sorted(set(policy.sites) - {key for site in found for key in _claims(site, policy)}):
        raise SiteError(unmatched_text(model, found, unmatched[0]))
    shapes: Mapping[str, Sequence[int]] = {}
    if example_input is not None:
        shapes = site_shapes(model, [site for site, _ in claimed], example_input)
    acting = _acting_on_shortcuts(claimed, policy)
    matches = [
        _match(model, site, key, policy.sites[key], shortcut=site.name in acting, shape=shapes.get(site.name))
        for site, key in claimed
    ]
    return Matches(matches, own_dropout(model))


def _match(
    model: nn.Module,
    site: Site,
    key: str,
    pattern: Pattern,
    *,
    shortcut: bool,
    shape: Sequence[int] | None,
) -> Match:
    if site.layout not in LAYOUTS_OF[type(pattern)]:
        kind = next(kind for kind, layouts in LAYOUTS_OF.items() if site.layout in layouts)
        raise SiteError(
            f'site "{site.name}" has layout {site.layout} and takes a {kind.__name__}; '
            f"the policy's key {key!r} has a {type(pattern).__name__}"
        )
    check_float(model, site)
    _check_consumer(site, pattern)
    _check_axes(site, shape)
    size = map_size(site, shape)
    return Match(
        site=site,
        module=_class_name(model, site),
        key=key,
        pattern=pattern,
        shortcut=site.shortcut if shortcut else None,
        size=size,
        drop_rate=_drop_rate(pattern, size),
    )


def _check_consumer(site: Site, pattern: Pattern) -> None:
    if site.consumer is None and isinstance(pattern, ConvPattern) and pattern.backward_rate > 0.0:
        raise SiteError(
            f'site "{site.name}": the pattern has backward_rate={pattern.backward_rate:g}, but no Linear or '
            "convolution is known that alone reads the site; set backward_rate=0 there, or name the layer in "
            "the block's autodropout_sites() (see autodropout.site.Site)"
        )


def _check_axes(site: Site, shape: Sequence[int] | None) -> None:
    if shape is not None and _NUM_AXES.get(site.layout, len(shape)) != len(shape):
        raise SiteError(
            f'site "{site.name}" has layout {site.layout}, but its output has shape {tuple(shape)}; leave it '
            "out of the policy, or give the layout that it has with layouts="
        )


def _class_name(model: nn.Module, site: Site) -> str:
    """Return whose output it is, as people know it: the norm, not the drop slot inside it."""
    opened = reversed([opening.place for opening in site.openings])  # the innermost first
    for name in (site.name, site.module_name, *opened):
        if not _is_added(name) and (module := found_module(model, name)) is not None:
            return class_of(module).__name__
    raise SiteError(f'site "{site.name}": the model has no module "{site.module_name}"')


def _is_added(name: str) -> bool:
    """Say whether a module of that name is there only while its place is open."""
    return any(part.startswith(CHILD) for part in name.split("."))


def _acting_on_shortcuts(claimed: Sequence[tuple[Site, str]], policy: Policy) -> set[str]:
    """Return the sites whose pattern acts on a shortcut, too: the last one in each block that wants it."""
    last: dict[str, str] = {}
    for site, key in claimed:
        pattern = policy.sites[key]
        if pattern.off or not (isinstance(pattern, ConvPattern) and pattern.residual):
            continue
        if site.shortcut is None:
            raise SiteError(
                f'site "{site.name}": the pattern has residual=True, but no module is known on the '
                "shortcut of its block; set residual=False there, or put an nn.Identity on the shortcut and "
                "name it in the block's autodropout_sites() (see autodropout.site.Site)"
            )
        last[site.name if site.block is None else f"block {site.block}"] = site.name
    return set(last.values())


def _drop_rate(pattern: Pattern, size: tuple[int, int] | None) -> float | None:
    if not isinstance(pattern, ConvPattern):
        return pattern.drop_rate()
    return None if size is None else pattern.drop_rate(*size)


def _claim(site: Site, policy: Policy) -> str | None:
    """Return the most specific key for a site: exact, then role, then glob."""
    keys = _claims(site, policy)
    if len(keys) > 1 and "*" in keys[0]:
        raise SiteError(
            f'site "{site.name}" is claimed by the globs {keys}; add the key "{site.name}" to decide, '
            "or make them disjoint"
        )
    return keys[0] if keys else None


def _claims(site: Site, policy: Policy) -> list[str]:
    """Return all keys that match a site, most specific first."""
    direct = [key for key in (site.name, f"role:{site.role}") if key in policy.sites]
    return direct + [key for key in policy.sites if "*" in key and glob_matches(key, site.name)]


def _row(found: Match) -> tuple[str, ...]:
    size = "-" if found.size is None else f"{found.size[0]} x {found.size[1]}"
    rate = "-" if found.drop_rate is None else f"{found.drop_rate:.4f}"
    what = pattern_text(found.pattern)
    if found.shortcut is not None:
        of = f" of {found.site.block}" if found.site.block else ""
        what = f"{what} (also on the shortcut{of})"
    return found.site.name, found.module, size, rate, found.key, what
