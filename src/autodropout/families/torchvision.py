"""torchvision's ConvNets: residual blocks, with the shortcut of each."""

from autodropout.families.blocks import Block, adapter

_SUM = Block(without="sum", only_if="use_res_connect")

sites_of = adapter(
    {
        "torchvision.models.resnet.BasicBlock": Block(
            shortcut="downsample", without="tested", consumers=(("bn1", "conv2"),)
        ),
        "torchvision.models.resnet.Bottleneck": Block(
            shortcut="downsample", without="tested", consumers=(("bn1", "conv2"), ("bn2", "conv3"))
        ),
        "torchvision.models.regnet.ResBottleneckBlock": Block(shortcut="proj", without="tested"),
        "torchvision.models.efficientnet.MBConv": _SUM,
        "torchvision.models.efficientnet.FusedMBConv": _SUM,
        "torchvision.models.mobilenetv2.InvertedResidual": _SUM,
        "torchvision.models.mobilenetv3.InvertedResidual": _SUM,
        "torchvision.models.mnasnet._InvertedResidual": Block(without="sum", only_if="apply_residual"),
        "torchvision.models.convnext.CNBlock": Block(without="sum", maps_last=("block.2",)),
        "torchvision.models.maxvit.MBConv": Block(shortcut="proj"),
    }
)
"""Return the norms of a residual block; None where the module is none."""
