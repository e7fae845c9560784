"""The paper's experiments on small photographs by name, and siblings that take seconds instead of an hour."""

from dataclasses import replace

from autodropout.data.augmentation import Chained, Crops, Flips
from autodropout.data.cifar import Cifar
from autodropout.data.cifar_small import CifarSmall
from autodropout.data.mnist_images import Mnist
from autodropout.tasks.base import Budget
from autodropout.tasks.images.baselines import image_baselines
from autodropout.tasks.images.networks import Wrn
from autodropout.tasks.images.recipe import ImageRecipe
from autodropout.tasks.images.task import ImageTask
from autodropout.tasks.methods.baselines import method_baselines

FLIPS_AND_CROPS = Chained((Flips(), Crops(padding=4)))
"""The usual augmentation of CIFAR (He et al. 2016)."""

_PAPER = Budget(trials=16_384, batch=16, confirm_top=8, confirm_seeds=4)
_SMALL = Budget(trials=128, batch=8, confirm_top=8, confirm_seeds=4)

_CIFAR_RECIPE = ImageRecipe(steps=32_000, augment=FLIPS_AND_CROPS)
_SMALL_RECIPE = ImageRecipe(steps=500, batch_size=32, measurements=4, device="cpu")

CIFAR10_WRN28_2 = ImageTask(
    name="cifar10-wrn28-2",
    summary="the paper's proxy on CIFAR-10: WRN-28-2, 32,000 steps, validation accuracy",
    source=Cifar(),
    network=Wrn(depth=28, width=2),
    recipe=_CIFAR_RECIPE,
    seconds=2400.0,
    budget=_PAPER,
    baselines=(*image_baselines(block_size=7), *method_baselines(10)),
)

CIFAR10_WRN28_10 = ImageTask(
    name="cifar10-wrn28-10",
    summary="the paper's final training on CIFAR-10: WRN-28-10, validation accuracy",
    source=Cifar(),
    network=Wrn(depth=28, width=10),
    recipe=ImageRecipe(steps=78_200, augment=FLIPS_AND_CROPS),
    seconds=14_400.0,
    budget=_PAPER,
    baselines=(*image_baselines(block_size=7), *method_baselines(10)),
)

CIFAR10_SMALL = ImageTask(
    name="cifar10-small",
    summary="1,000 images of CIFAR-10 at 16x16, WRN-10-1, validation accuracy",
    source=CifarSmall(num_train=1000, small_side=16),
    network=Wrn(depth=10, width=1),
    recipe=_SMALL_RECIPE,
    seconds=12.0,
    budget=_SMALL,
    baselines=(*image_baselines(block_size=3), *method_baselines(10)),
)

CIFAR100_SMALL = ImageTask(
    name="cifar100-small",
    summary="5,000 images of CIFAR-100 at 16x16, WRN-10-1, validation accuracy",
    source=CifarSmall(classes=100, num_train=5000, small_side=16),
    network=Wrn(depth=10, width=1),
    recipe=_SMALL_RECIPE,
    seconds=12.0,
    budget=_SMALL,
    baselines=(*image_baselines(block_size=3), *method_baselines(100)),
)

MNIST_SMALL = ImageTask(
    name="mnist-small",
    summary="200 digits of MNIST at 14x14, WRN-10-1, validation accuracy",
    source=Mnist(num_train=200, num_validation=2000, small_side=14),
    network=Wrn(depth=10, width=1),
    recipe=replace(_SMALL_RECIPE, steps=300),
    seconds=7.0,
    budget=_SMALL,
    baselines=(*image_baselines(block_size=3), *method_baselines(10)),
)

IMAGE_TASKS = (CIFAR10_SMALL, CIFAR100_SMALL, MNIST_SMALL, CIFAR10_WRN28_2, CIFAR10_WRN28_10)
"""All of them, the quick ones first."""
