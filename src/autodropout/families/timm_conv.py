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
    *_named("cpubone", ("ResidualBlock",)),
    *_named("efficientvit_mit", ("ResidualBlock",)),
    *_named("lowformer", ("ResidualBlock",)),
    *_named("maxxvit", ("MbConvBlock",)),
    *_named("vitamin", ("MbConvLNBlock",)),
)
_IDENTITY = (
    *_named("byobnet", ("RepVggBlock", "MobileOneBlock")),
    *_named("fastvit", ("MobileOneBlock",)),
)
_SHORTCUT_OR_SUM = (
    *_named("ghostnet", ("GhostBottleneck", "GhostBottleneckV3")),
    *_named("repghost", ("RepGhostBottleneck",)),
)
_USE_SHORTCUT = (
    *_named("lcnetv2", ("RepDepthwiseSeparable",)),
    *_named("rexnet", ("LinearBottleneck",)),
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
    *_named("convmixer", ("Residual",)),
    *_named("cspnet", ("DarkBlock", "EdgeBlock")),
    *_named("efficientvit_msra", ("ResidualDrop",)),
    *_named("fasternet", ("MLPBlock",)),
    *_named("fastvit", ("RepMixer",)),
    *_named("iformer", ("Residual",)),
    *_named("inception_next", ("MetaNeXtBlock",)),
    *_named("shvit", ("Residual",)),
    *_named("starnet", ("Block",)),
    *_named("swiftformer", ("ConvEncoder", "LocalRepresentation")),
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
        **dict.fromkeys(_IDENTITY, Block(shortcut="identity")),
        **dict.fromkeys(_SHORTCUT_OR_SUM, Block(shortcut="shortcut", without="sum")),
        **dict.fromkeys(_USE_SHORTCUT, Block(without="sum", only_if="use_shortcut")),
        **dict.fromkeys(_named("regnet", ("Bottleneck", "PreBottleneck")), Block(shortcut="downsample")),
        **dict.fromkeys(
            _named("resnetv2", ("PreActBasic", "PreActBottleneck")),
            Block(shortcut="downsample", without="sum"),
        ),
        **dict.fromkeys(_named("_efficientnet_blocks", _HAS_SKIP), Block(without="sum", only_if="has_skip")),
        **dict.fromkeys(_ALWAYS_SUM, Block(without="sum")),
        **dict.fromkeys(
            _named("dla", ("DlaBasic", "DlaBottleneck", "DlaBottle2neck")), Block(without="argument")
        ),
        **dict.fromkeys(
            _named("xception_aligned", ("XceptionModule", "PreXceptionModule")),
            Block(shortcut="shortcut", unless="no_skip"),
        ),
        "timm.models.hgnet.HighPerfGpuBlock": Block(without="sum", only_if="residual"),
        "timm.models.repvit.RepViTBlock": Block(without="sum", branch="channel_mixer"),
        "timm.models.vovnet.OsaBlock": Block(without="sum", only_if="residual"),
        "timm.models.xception.Block": Block(shortcut="skipbn", without="sum"),
        "timm.models.csatv2.Block": Block(without="sum", maps_last=("norm",)),
        "timm.models.edgenext.SplitTransposeBlock": Block(without="sum", maps_last=("norm",)),
        "timm.models.mambaout.GatedConvBlock": Block(without="sum", maps_last=("norm",), layout="NHWC"),
        "timm.models.convnext.ConvNeXtBlock": Block(shortcut="shortcut", maps_last=("norm",)),
        "timm.models.maxxvit.ConvNeXtBlock": Block(shortcut="shortcut", maps_last=("norm",)),
        "timm.models.edgenext.ConvBlock": Block(maps_last=("norm",)),
    }
)
"""Return the norms of a residual block; None where the module is none."""
