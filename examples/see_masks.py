"""See what a policy really drops: run a model once and draw the holes in its feature maps.

    pip install 'autodropout[plots]' torchvision
    python examples/see_masks.py masks.png

docs/pictures/applied.png was drawn by this command.
"""

import sys
from pathlib import Path

import torch
import torchvision
from torch import Tensor, nn

import autodropout as ad
from autodropout.report.draw import save_png
from autodropout.report.samples import SiteSample, describe

POLICY = ad.Policy(
    {
        "layer1.1.bn2": ad.ConvPattern(height=8, width=8),
        "layer2.1.bn2": ad.ConvPattern(height=2, width=2, stride=2, repeat=4, rotate=30.0),
        "layer3.1.bn2": ad.ConvPattern(height=1, width=4, stride=2, repeat=3, shear_x=0.4),
        "layer4.1.bn2": ad.ConvPattern(height="whole", width=2, share_c=False),
    }
)
IMAGES = 6


def holes(model: nn.Module, policy: ad.Policy, images: Tensor) -> dict[str, Tensor]:
    """Apply, run once in training, remove; return per site what was kept of its first channel, (N, H, W)."""
    kept: dict[str, Tensor] = {}
    with ad.apply(model, policy, seed=0) as applied:
        for site, layer in applied.layers.items():

            def note(_: nn.Module, given: tuple[Tensor], dropped: Tensor, site: str = site) -> None:
                kept[site] = ((dropped != 0) | (given[0] == 0))[:, 0]

            layer.register_forward_hook(note)
        with torch.no_grad():
            model.train()(images)
    return kept


def main(path: Path) -> None:
    """Draw the masks that a torchvision ResNet-18 met on six images of 224 x 224."""
    torch.manual_seed(0)
    model = torchvision.models.resnet18()
    images = torch.randn(IMAGES, 3, 224, 224)
    samples = [
        SiteSample(
            key=site,
            description=describe(POLICY.sites[site]),
            axes=f"a map of {keep.shape[1]} x {keep.shape[2]}",
            drop_rate=POLICY.sites[site].drop_rate(*keep.shape[1:]),
            keep=tuple(mask.numpy() for mask in keep),
        )
        for site, keep in holes(model, POLICY, images).items()
    ]
    save_png(samples, path, title="What six images of 224 x 224 lost inside a ResNet-18")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
