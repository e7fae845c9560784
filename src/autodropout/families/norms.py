"""Which modules normalise feature maps, and where a pattern acts on them.

Their layout is known by their class, never by the number of dimensions. GroupNorm and SyncBatchNorm also
take other shapes than (N, C, H, W): a site whose output is not four-dimensional is refused by ``match`` with
an example, and at its first training step.
"""

from collections.abc import Iterator

from torch import nn

from autodropout.site import Layout, Site

MAP_NORMS = (nn.BatchNorm2d, nn.SyncBatchNorm, nn.GroupNorm, nn.InstanceNorm2d)

_ELSEWHERE = frozenset(
    {
        "torchvision.ops.misc.FrozenBatchNorm2d",
        "torchvision.models.convnext.LayerNorm2d",
        *(
            f"timm.layers.norm.{name}"
            for name in (
                "LayerNorm2d",
                "LayerNorm2dFp32",
                "LayerNormExp2d",
                "RmsNorm2d",
                "RmsNorm2dFp32",
                "SimpleNorm2d",
                "SimpleNorm2dFp32",
            )
        ),
        *(
            f"timm.layers.norm_act.{name}"
            for name in (
                "FrozenBatchNormAct2d",
                "LayerNormAct2d",
                "LayerNormAct2dFp32",
                "RmsNormAct2d",
                "RmsNormAct2dFp32",
            )
        ),
        *(f"timm.layers.evo_norm.EvoNorm2d{kind}" for kind in ("B0", "B1", "B2", "S0", "S1", "S2")),
        *(f"timm.layers.filter_response_norm.FilterResponseNorm{kind}2d" for kind in ("Act", "Tlu")),
        "timm.layers.inplace_abn.InplaceAbn",
    }
)
"""Full names of classes outside torch: nothing has to be imported to recognise them."""


def is_map_norm(module: nn.Module) -> bool:
    """Say whether a module normalises maps of layout NCHW."""
    return isinstance(module, MAP_NORMS) or any(
        full_name(kind) in _ELSEWHERE for kind in type(module).__mro__
    )


def norm_site(module: nn.Module, name: str, layout: Layout = "NCHW") -> Site:
    """Return the site at a norm's output.

    A norm with an activation of its own and a drop slot before it (timm's BatchNormAct2d and kin) has its
    site at the slot: dropped values must be zeros before the activation, as they are behind a bare norm.

    Args:
        module: The norm.
        name: Its name, relative to whoever asks.
        layout: Axes of its output.
    """
    children = module._modules
    if isinstance(children.get("drop"), nn.Module) and isinstance(children.get("act"), nn.Module):
        return Site(name=name, layout=layout, module=f"{name}.drop" if name else "drop")
    return Site(name=name, layout=layout)


def norms_within(module: nn.Module) -> Iterator[Site]:
    """Yield the sites of all norms of maps inside a module, in the order of its modules."""
    for name, child in module.named_modules():
        if is_map_norm(child):
            yield norm_site(child, name)


def full_name(kind: type) -> str:
    """Return module and name of a class."""
    return f"{kind.__module__}.{kind.__qualname__}"
