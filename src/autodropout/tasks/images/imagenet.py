"""The paper's experiments on ImageNet by name: proxies of half the width, and final trainings."""

from dataclasses import replace
from typing import Literal

from autodropout.data.augmentation import Flips
from autodropout.data.photographs import Photographs
from autodropout.tasks.base import Baseline, Budget
from autodropout.tasks.images.baselines import image_baselines
from autodropout.tasks.images.networks import EfficientNet, Network, ResNet, last_convolutions
from autodropout.tasks.images.recipe import ImageRecipe
from autodropout.tasks.images.task import ImageTask
from autodropout.tasks.methods.baselines import method_baselines

Variant = Literal[0, 1, 2, 3, 4, 5, 6, 7]

SIDES = (224, 240, 260, 300, 380, 456, 528, 600)
"""Of the images of EfficientNet-B0 to B7 (Tan and Le 2019)."""

_VARIANTS: tuple[Variant, ...] = (0, 1, 2, 3, 4, 5, 6, 7)
_SEARCHED = Photographs(train_per_class=80)
_TRAINED = Photographs()
_IMAGES = 1_281_167 - 5000
_BUDGET = Budget(trials=16_384, batch=16, confirm_top=8, confirm_seeds=4)
_METHODS = method_baselines(1000)

# Goyal et al. (2017): .1 per 256 images, five epochs of warm-up; 270 epochs as DropBlock's authors train.
_RESNET = ImageRecipe(
    steps=270 * _IMAGES // 256,
    batch_size=256,
    learning_rate=0.1,
    weight_decay=1e-4,
    warmup=5 / 270,
    augment=Flips(),
)
# Tan and Le (2019): RMSprop, .256 for 4,096 images, weight decay 1e-5, 350 epochs; a cosine instead of steps.
_EFFICIENTNET = ImageRecipe(
    steps=350 * _IMAGES // 256,
    batch_size=256,
    learning_rate=0.016,
    optimiser="rmsprop",
    weight_decay=1e-5,
    warmup=5 / 350,
    augment=Flips(),
)
_BATCHES = (256, 256, 128, 128, 64, 32, 32, 16)
"""Images per step of B0 to B7, so that one GPU of 80 GB may hold them; rate and steps follow."""


def _task(name: str, network: Network, recipe: ImageRecipe, source: Photographs, seconds: float) -> ImageTask:
    size = "80,000 images, 16,000 steps" if source == _SEARCHED else f"all images at {source.side} pixels"
    return ImageTask(
        name=f"imagenet-{name}",
        summary=f"ImageNet, {network.title}, {size}, validation accuracy (time: an estimate)",
        source=source,
        network=network,
        recipe=recipe,
        seconds=seconds,
        budget=_BUDGET,
        baselines=(*_known(network), *_METHODS),
    )


def _known(network: Network) -> tuple[Baseline, ...]:
    """Return the known kinds of dropout; how relevance flows through EfficientNet's scaling no rule says."""
    if isinstance(network, EfficientNet):
        return image_baselines(7, consumers=last_convolutions, relevance="gradient")
    return image_baselines(7)


def _efficientnet(variant: Variant) -> ImageTask:
    share = 256 // _BATCHES[variant]
    recipe = replace(
        _EFFICIENTNET,
        batch_size=_BATCHES[variant],
        learning_rate=_EFFICIENTNET.learning_rate / share,
        steps=_EFFICIENTNET.steps * share,
    )
    source = replace(_TRAINED, side=SIDES[variant])
    # Two days of one GPU for B0, and more as the images and the network grow.
    days = (2.0, 3.0, 4.0, 6.0, 12.0, 25.0, 50.0, 90.0)[variant]
    return _task(f"efficientnet-b{variant}", EfficientNet(variant=variant), recipe, source, days * 86_400.0)


IMAGENET_TASKS = (
    _task(
        "resnet50-half", ResNet(depth=50, multiplier=0.5), replace(_RESNET, steps=16_000), _SEARCHED, 2400.0
    ),
    _task(
        "efficientnet-b0-half",
        EfficientNet(multiplier=0.5),
        replace(_EFFICIENTNET, steps=16_000),
        _SEARCHED,
        2400.0,
    ),
    _task("resnet50", ResNet(depth=50), _RESNET, _TRAINED, 3.0 * 86_400.0),
    *map(_efficientnet, _VARIANTS),
)
"""Searches first. The proxies' steps are the paper's, the final recipes those published with the networks."""
