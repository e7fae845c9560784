"""The image tasks by name: their numbers are those of the paper, or of the sources that stand beside them."""

import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from autodropout.data.augmentation import Chained, Crops, Flips
from autodropout.data.cifar import Cifar
from autodropout.data.cifar_small import CifarSmall
from autodropout.data.drawing import few_labels, held_out
from autodropout.data.few_labelled import FewLabelled
from autodropout.data.mnist_images import Mnist
from autodropout.data.photographs import Photographs
from autodropout.tasks.images.imagenet import IMAGENET_TASKS
from autodropout.tasks.images.named import IMAGE_TASKS
from autodropout.tasks.images.networks import EfficientNet, ResNet, Wrn
from autodropout.tasks.images.recipe import ImageRecipe
from autodropout.tasks.images.uda.batches import Unlabelled
from autodropout.tasks.images.uda.named import UDA_TASKS
from autodropout.tasks.images.uda.objective import Uda
from autodropout.tasks.registry import TASKS

CIFAR10_LABELS = np.arange(50_000) % 10
FINAL = ("imagenet-resnet50", *(f"imagenet-efficientnet-b{variant}" for variant in range(8)))
PROXIES = ("imagenet-resnet50-half", "imagenet-efficientnet-b0-half")


def drawn(source):
    """Images to train and for validation out of CIFAR-10's 50,000."""
    return tuple(map(len, held_out(CIFAR10_LABELS, source.num_validation, source.seed)))


def test_the_names_are_those_that_were_asked_for():
    small = ["cifar10-small", "cifar100-small", "mnist-small"]
    assert [task.name for task in IMAGE_TASKS] == [*small, "cifar10-wrn28-2", "cifar10-wrn28-10"]
    assert [task.name for task in UDA_TASKS] == ["cifar10-small-uda", "cifar10-4k-uda", "imagenet10-uda"]
    assert [task.name for task in IMAGENET_TASKS] == [*PROXIES, *FINAL]
    assert all(TASKS[task.name] is task for task in (*IMAGE_TASKS, *UDA_TASKS, *IMAGENET_TASKS))


def test_settings_on_cifar10_are_the_papers():
    proxy, final = TASKS["cifar10-wrn28-2"], TASKS["cifar10-wrn28-10"]
    assert (proxy.network, final.network) == (Wrn(depth=28, width=2), Wrn(depth=28, width=10))
    assert (proxy.recipe.steps, final.recipe.steps) == (32_000, 78_200)
    for task in (proxy, final):
        assert task.source == Cifar(classes=10, num_validation=5000)
        assert drawn(task.source) == (45_000, 5_000)
        assert task.budget.trials == 16_384
        assert task.budget.batch == 16


def test_the_recipe_on_cifar10_is_that_of_wide_resnets():
    """Zagoruyko and Komodakis (2016): SGD with Nesterov momentum .9, .1, 5e-4, batches of 128; a cosine."""
    expected = ImageRecipe(
        steps=1,
        batch_size=128,
        learning_rate=0.1,
        optimiser="sgd",
        momentum=0.9,
        weight_decay=5e-4,
        warmup=0.0,
        augment=Chained((Flips(), Crops(padding=4))),
    )
    for name in ("cifar10-wrn28-2", "cifar10-wrn28-10"):
        assert replace(TASKS[name].recipe, steps=1) == expected


def test_the_proxies_on_imagenet_are_the_papers():
    resnet, efficientnet = (TASKS[name] for name in PROXIES)
    assert resnet.network == ResNet(depth=50, multiplier=0.5)
    assert efficientnet.network == EfficientNet(variant=0, multiplier=0.5)
    for task in (resnet, efficientnet):
        source = task.source
        assert source.classes * source.train_per_class == 80_000
        assert source.classes * source.validation_per_class == 5_000
        assert (source.folder, source.side, source.unlabelled) == ("imagenet", 224, False)
        assert task.recipe.steps == 16_000
        assert task.budget.trials == 16_384
        assert replace(task.recipe, steps=1) == replace(TASKS[task.name[:-5]].recipe, steps=1)


def test_the_recipe_of_resnet50_is_the_published_one():
    """Goyal et al. (2017): .1 for 256 images, 1e-4, five epochs of warm-up; 270 epochs of all but 5,000."""
    task = TASKS["imagenet-resnet50"]
    assert (task.network, task.source) == (ResNet(depth=50), Photographs())
    assert task.recipe == ImageRecipe(
        steps=1_345_957,
        batch_size=256,
        learning_rate=0.1,
        optimiser="sgd",
        momentum=0.9,
        weight_decay=1e-4,
        warmup=5 / 270,
        augment=Flips(),
    )


def test_efficientnets_have_the_published_sides_and_one_recipe():
    """Tan and Le (2019): RMSprop, .256 for 4,096 images, 1e-5, 350 epochs; smaller batches, lower rates."""
    tasks = [TASKS[f"imagenet-efficientnet-b{variant}"] for variant in range(8)]
    assert [task.network for task in tasks] == [EfficientNet(variant=variant) for variant in range(8)]
    sides = (224, 240, 260, 300, 380, 456, 528, 600)
    assert [task.source for task in tasks] == [Photographs(side=side) for side in sides]
    assert [task.recipe.batch_size for task in tasks] == [256, 256, 128, 128, 64, 32, 32, 16]
    for task in tasks:
        size = task.recipe.batch_size
        assert task.recipe.learning_rate == pytest.approx(0.256 * size / 4096)
        assert task.recipe == ImageRecipe(
            steps=1_744_759 * 256 // size,
            batch_size=size,
            learning_rate=task.recipe.learning_rate,
            optimiser="rmsprop",
            momentum=0.9,
            weight_decay=1e-5,
            warmup=5 / 350,
            augment=Flips(),
        )


def test_few_labels_on_cifar10_are_the_papers():
    task = TASKS["cifar10-4k-uda"]
    assert task.network == Wrn(depth=28, width=2)
    source = task.source
    assert source == FewLabelled(source=Cifar(num_validation=0), num_labels=4000, num_validation=400)
    few = few_labels(CIFAR10_LABELS, source.num_labels, source.num_validation, source.seed)
    assert (len(few.labelled), len(few.validation), len(few.unlabelled)) == (3_600, 400, 50_000)
    assert task.recipe == ImageRecipe(
        steps=500_000,
        batch_size=64,
        learning_rate=0.03,
        weight_decay=5e-4,
        augment=Chained((Flips(), Crops(padding=4))),
        objective=Uda(temperature=0.4, confidence=0.8, weight=1.0, annealing="none"),
    )
    assert task.unlabelled == Unlabelled(batch_size=448)


def test_few_labels_on_imagenet_contain_those_of_the_search():
    task = TASKS["imagenet10-uda"]
    assert (task.network, task.unlabelled) == (ResNet(depth=50), Unlabelled(batch_size=192))
    assert task.source == Photographs(train_per_class=128, unlabelled=True)
    assert task.source.train_per_class * task.source.classes == 128_000  # 10% of 1,281,167 images
    assert task.recipe == ImageRecipe(
        steps=200_000,
        batch_size=32,
        learning_rate=0.1,
        weight_decay=1e-4,
        warmup=0.02,
        augment=Flips(),
        objective=Uda(temperature=0.4, confidence=0.5, weight=1.0, annealing="none"),
    )


def test_settings_of_the_small_tasks():
    small = ImageRecipe(steps=500, batch_size=32, measurements=4, device="cpu")
    for name, source, steps in (
        ("cifar10-small", CifarSmall(classes=10, num_train=1000, num_validation=2000, small_side=16), 500),
        ("cifar100-small", CifarSmall(classes=100, num_train=5000, num_validation=2000, small_side=16), 500),
        ("mnist-small", Mnist(num_train=200, num_validation=2000, small_side=14), 300),
    ):
        task = TASKS[name]
        assert (task.source, task.network) == (source, Wrn(depth=10, width=1))
        assert task.recipe == replace(small, steps=steps)
        assert (task.budget.trials, task.budget.confirm_top * task.budget.confirm_seeds) == (128, 32)


def test_the_small_task_with_few_labels_is_cifar10_small_with_more_images():
    task, alone = TASKS["cifar10-small-uda"], TASKS["cifar10-small"]
    assert task.source == FewLabelled(source=CifarSmall(num_train=12_000, small_side=16), num_labels=1000)
    assert (task.network, task.unlabelled) == (alone.network, Unlabelled(batch_size=64))
    assert task.recipe == replace(
        alone.recipe,
        augment=Chained((Flips(), Crops(padding=2))),
        objective=Uda(temperature=0.4, confidence=0.8, annealing="linear"),
    )


def test_the_page_states_these_recipes():
    page = (Path(__file__).parents[3] / "docs" / "image_tasks.md").read_text(encoding="utf8")
    _, _, section = page.partition("## Recipes")
    rows = re.findall(r"^\| (`.*`) \| (.*) \|$", section, re.MULTILINE)
    stated = {name: cells for names, cells in rows for name in re.findall(r"`([^`]+)`", names)}
    assert stated.keys() >= {task.name for task in (*IMAGE_TASKS, *UDA_TASKS)} | set(PROXIES)
    for name, cells in stated.items():
        task = TASKS[name]
        recipe, more = task.recipe, "" if task.unlabelled is None else f" + {task.unlabelled.batch_size}"
        assert cells == (
            f"{recipe.optimiser} | {recipe.batch_size}{more} | {recipe.learning_rate:g} | "
            f"{recipe.weight_decay:g} | {recipe.steps:,}"
        )
    sides = [TASKS[f"imagenet-efficientnet-b{variant}"].source.side for variant in range(1, 8)]
    assert f"{', '.join(map(str, sides[:-1]))} and {sides[-1]} pixels" in section
