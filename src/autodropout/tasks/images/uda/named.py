"""The paper's semi-supervised experiments by name, and a sibling that takes minutes."""

from autodropout.data.augmentation import Chained, Crops, Flips
from autodropout.data.cifar import Cifar
from autodropout.data.cifar_small import CifarSmall
from autodropout.data.few_labelled import FewLabelled
from autodropout.data.photographs import Photographs
from autodropout.tasks.base import Baseline, Budget
from autodropout.tasks.images.baselines import image_baselines
from autodropout.tasks.images.networks import ResNet, Wrn
from autodropout.tasks.images.recipe import ImageRecipe
from autodropout.tasks.images.task import ImageTask
from autodropout.tasks.images.uda.batches import Unlabelled
from autodropout.tasks.images.uda.objective import Uda
from autodropout.tasks.methods.baselines import penalty_baselines


def _baselines(block_size: int) -> tuple[Baseline, ...]:
    return (*image_baselines(block_size=block_size), *penalty_baselines())


CIFAR10_4K_UDA = ImageTask(
    name="cifar10-4k-uda",
    summary="UDA on CIFAR-10 with 4,000 labels (3,600 to learn, 400 for the reward), WRN-28-2",
    source=FewLabelled(source=Cifar(num_validation=0), num_labels=4000, num_validation=400),
    network=Wrn(depth=28, width=2),
    recipe=ImageRecipe(
        steps=500_000,
        batch_size=64,
        learning_rate=0.03,
        augment=Chained((Flips(), Crops(padding=4))),
        objective=Uda(temperature=0.4, confidence=0.8),
    ),
    seconds=20_000.0,
    budget=Budget(trials=16_384, batch=16, confirm_top=8, confirm_seeds=4),
    baselines=_baselines(7),
    unlabelled=Unlabelled(batch_size=448),
)
"""Batches, rates and thresholds are those of the command that UDA's authors publish for 4,000 labels."""

CIFAR10_SMALL_UDA = ImageTask(
    name="cifar10-small-uda",
    summary="UDA with the 1,000 labels of cifar10-small and 12,000 images at 16x16, WRN-10-1",
    source=FewLabelled(source=CifarSmall(num_train=12_000, small_side=16), num_labels=1000),
    network=Wrn(depth=10, width=1),
    recipe=ImageRecipe(
        steps=500,
        batch_size=32,
        measurements=4,
        device="cpu",
        augment=Chained((Flips(), Crops(padding=2))),
        objective=Uda(temperature=0.4, confidence=0.8, annealing="linear"),
    ),
    seconds=100.0,
    budget=Budget(trials=128, batch=8, confirm_top=8, confirm_seeds=4),
    baselines=_baselines(3),
    unlabelled=Unlabelled(batch_size=64),
)
"""Its labelled images are those that cifar10-small trains on: a policy found there has seen no others."""

IMAGENET10_UDA = ImageTask(
    name="imagenet10-uda",
    summary="UDA on ImageNet with the labels of 10% of its images, ResNet-50 (time: an estimate)",
    source=Photographs(train_per_class=128, unlabelled=True),
    network=ResNet(depth=50),
    recipe=ImageRecipe(
        steps=200_000,
        batch_size=32,
        weight_decay=1e-4,
        warmup=0.02,
        augment=Flips(),
        objective=Uda(temperature=0.4, confidence=0.5),
    ),
    seconds=43_200.0,
    budget=Budget(trials=16_384, batch=16, confirm_top=8, confirm_seeds=4),
    baselines=_baselines(7),
    unlabelled=Unlabelled(batch_size=192),
)
"""Its labels contain those of the 80,000 images of imagenet-resnet50-half, whose policy is taken over.

Temperature and confidence are the paper's; batches, rate and steps are ours, for one GPU.
"""

UDA_TASKS = (CIFAR10_SMALL_UDA, CIFAR10_4K_UDA, IMAGENET10_UDA)
"""All of them, the quick one first."""
