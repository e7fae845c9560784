"""Residual blocks: how the shortcut of each known class is reached."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from torch import Tensor, nn

from autodropout.families.mixing import Mixin, class_of, mix
from autodropout.families.norms import full_name, is_map_norm, norm_site, norms_within
from autodropout.opening import SHORTCUT, IdentityAt, sum_shortcut
from autodropout.site import Closing, Layout, Opening, Site


@dataclass(frozen=True, slots=True, kw_only=True)
class Block:
    """What is known about a class of residual blocks.

    Attributes:
        shortcut: Attribute that holds the module on the shortcut; None if the class has none.
        without: What the shortcut is where there is no such module, or an empty container. ``"nothing"``:
            there is none. ``"tested"``: the input itself, and the forward pass tests the attribute for None,
            so that an ``nn.Identity`` may stand there. ``"sum"``: the input itself, and the block is exactly
            f(x) + x. ``"argument"``: the second argument of its forward pass, or else the input itself.
        branch: Name of the module f inside, if ``"sum"`` is not of the block but of f and its input.
        only_if: Attribute that says whether the block has a shortcut; None if it always has.
        unless: Attribute that says that the block has none after all; None if the class has no such one.
        maps_last: Names of norms inside whose output is (N, H, W, C); not those that are another norm.
        consumers: Norm and the convolution that alone reads its output, behind the activation.
        between: Attributes that stand between those in some networks; these have no consumers then.
        layout: Axes of the block's input and of its shortcut.
    """

    shortcut: str | None = None
    without: Literal["nothing", "tested", "sum", "argument"] = "nothing"
    branch: str = ""
    only_if: str | None = None
    unless: str | None = None
    maps_last: tuple[str, ...] = ()
    consumers: tuple[tuple[str, str], ...] = ()
    between: tuple[str, ...] = ()
    layout: Layout = "NCHW"


def adapter(blocks: Mapping[str, Block]) -> Callable[[nn.Module], Sequence[Site] | None]:
    """Return an adapter for blocks.

    Args:
        blocks: Full name of the class whose ``forward`` runs, to what is known about it. A subclass that
            has no forward of its own counts as its parent, one that has as unknown.
    """

    def sites_of(module: nn.Module) -> Sequence[Site] | None:
        block = blocks.get(_forward_of(class_of(module)))
        return None if block is None else sites_of_block(module, block)

    return sites_of


def sites_of_block(module: nn.Module, block: Block) -> Sequence[Site]:
    """Return the norms inside a residual block, each with the way to the block's shortcut.

    Norms on the shortcut itself have none.

    Args:
        module: The block.
        block: What is known about its class.
    """
    shortcut, openings = _shortcut(module, block)
    branch = None if shortcut is None else block.shortcut
    consumers = _consumers(module, block)

    def completed(site: Site) -> Site:
        site = replace(site, consumer=consumers.get(site.name))
        if shortcut is None or _is_within(site.name, branch):
            return site
        return replace(
            site, shortcut=shortcut, shortcut_openings=openings, shortcut_layout=block.layout, block=""
        )

    return tuple(completed(site) for site in _norms(module, block))


def _consumers(module: nn.Module, block: Block) -> Mapping[str, str]:
    between = [module._modules.get(name) for name in block.between]
    if any(other is not None and type(other) is not nn.Identity for other in between):
        return {}
    return dict(block.consumers)


def _norms(module: nn.Module, block: Block) -> Iterator[Site]:
    last = {name: child for name in block.maps_last if (child := _last_norm(module, name)) is not None}
    order = [name for name, _ in module.named_modules()]
    sites = [*norms_within(module), *(norm_site(child, name, "NHWC") for name, child in last.items())]
    yield from sorted(sites, key=lambda site: order.index(site.name))


def _last_norm(module: nn.Module, name: str) -> nn.Module | None:
    child = dict(module.named_modules()).get(name)
    return None if child is None or isinstance(child, nn.Identity) or is_map_norm(child) else child


def _shortcut(module: nn.Module, block: Block) -> tuple[str | None, tuple[Opening, ...]]:
    """Return the name of the module on the shortcut and what makes it reachable."""
    attributes: Mapping[str, Any] = {**vars(module), **module._modules}
    if block.only_if is not None and not attributes.get(block.only_if):
        return None, ()
    if block.unless is not None and attributes.get(block.unless):
        return None, ()
    side = None if block.shortcut is None else attributes.get(block.shortcut)
    match block.without:
        case _ if side is not None and block.shortcut is not None and not _is_empty(side):
            return _end_of(side, block.shortcut), ()
        case "tested" if side is None and block.shortcut is not None:
            return block.shortcut, (Opening(place="", open=IdentityAt(block.shortcut)),)
        case "sum":
            name = f"{block.branch}.{SHORTCUT}" if block.branch else SHORTCUT
            return name, (Opening(place=block.branch, open=sum_shortcut),)
        case "argument":
            return SHORTCUT, (Opening(place="", open=open_argument),)
        case _:
            return None, ()


def open_argument(module: nn.Module) -> Closing:
    """Open the shortcut that a block takes as its second argument. Its place is the child ``SHORTCUT``."""
    return mix(module, _WithShortcut, "shortcut")


class _WithShortcut(Mixin):
    """In front of such a block."""

    def forward(self, x: Tensor, shortcut: Tensor | None = None, *args: Any, **kwargs: Any) -> Tensor:
        """Compute what the block does, in training with its shortcut past the place."""
        if self.training:
            shortcut = self.get_submodule(SHORTCUT)(x if shortcut is None else shortcut)
        output: Tensor = super().forward(x, shortcut, *args, **kwargs)
        return output


def _is_empty(side: nn.Module) -> bool:
    return isinstance(side, nn.Sequential) and not len(side)


def _end_of(side: nn.Module, name: str) -> str:
    """Return the module that makes a branch's output: a container's last one."""
    return f"{name}.{list(side._modules)[-1]}" if isinstance(side, nn.Sequential) else name


def _forward_of(kind: type) -> str:
    return next((full_name(one) for one in kind.__mro__ if "forward" in vars(one)), "")


def _is_within(name: str, branch: str | None) -> bool:
    return branch is not None and (name == branch or name.startswith(f"{branch}."))
