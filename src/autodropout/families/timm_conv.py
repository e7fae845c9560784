"""timm's ConvNets: residual blocks, with the shortcut of each. Other networks of timm have norms as sites."""

from collections.abc import Iterable

from autodropout.families.blocks import Block, adapter


def _named(module: str, classes: Iterable[str]) -> list[str]:
    return [f"timm.models.{module}.{name}" for name in classes]


_TESTED = (
    *_named("resnetv2", ("Bottleneck",)),
    *_named("resnest", ("ResNestBottleneck",)),
    *_named("res2net", ("Bottle2neck",)),
    *_named("sknet", ("SelectiveKernelBasic", "SelectiveKernelBottleneck")),
    *_named("senet", ("Bottleneck", "SEResNetBlock")),
    *_named("tresnet", ("BasicBlock", "Bottleneck")),
)
_SHORTCUT = (
    *_named("byobnet", ("BasicBlock", "BottleneckBlock", "DarkBlock", "EdgeBlock", "SelfAttnBlock")),
    *_named("ghostnet", ("GhostBottleneckV3",)),
    *_named("maxxvit", ("MbConvBlock",)),
    *_named("vitamin", ("MbConvLNBlock",)),
    *_named("xception_aligned", ("XceptionModule", "PreXceptionModule")),
)
_HAS_SKIP = (
    "ConvBnAct",
    "DepthwiseSeparableConv",
    "InvertedResidual",
    "UniversalInvertedResidual",
    "CondConvResidual",
    "EdgeResidual",
)
_ALWAYS_SUM = (
    *_named("cspnet", ("DarkBlock", "EdgeBlock")),
    *_named("inception_next", ("MetaNeXtBlock",)),
    *_named("starnet", ("Block",)),
)

sites_of = adapter(
    {
        **dict.fromkeys(_TESTED, Block(shortcut="downsample", without="tested")),
        "timm.models.resnet.BasicBlock": Block(
            shortcut="downsample",
            without="tested",
            consumers=(("bn1", "conv2"),),
            between=("drop_block", "aa"),
        ),
        "timm.models.resnet.Bottleneck": Block(
            shortcut="downsample",
            without="tested",
            consumers=(("bn1", "conv2"), ("bn2", "conv3")),
            between=("drop_block", "aa"),
        ),
        **dict.fromkeys(_SHORTCUT, Block(shortcut="shortcut")),
        **dict.fromkeys(_named("regnet", ("Bottleneck", "PreBottleneck")), Block(shortcut="downsample")),
        **dict.fromkeys(
            _named("resnetv2", ("PreActBasic", "PreActBottleneck")),
            Block(shortcut="downsample", without="sum"),
        ),
        **dict.fromkeys(_named("_efficientnet_blocks", _HAS_SKIP), Block(without="sum", only_if="has_skip")),
        **dict.fromkeys(_ALWAYS_SUM, Block(without="sum")),
        "timm.models.vovnet.OsaBlock": Block(without="sum", only_if="residual"),
        "timm.models.convnext.ConvNeXtBlock": Block(shortcut="shortcut", maps_last=("norm",)),
        "timm.models.maxxvit.ConvNeXtBlock": Block(shortcut="shortcut", maps_last=("norm",)),
        "timm.models.edgenext.ConvBlock": Block(maps_last=("norm",)),
    }
)
"""Return the norms of a residual block; None where the module is none."""
