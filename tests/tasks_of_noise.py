"""Image tasks on images of noise, with a few labels, that train in moments."""

import torch

from autodropout.data.few_labelled import FewLabelled
from autodropout.data.images import image_data
from autodropout.data.splits import Examples
from autodropout.tasks.base import Budget
from autodropout.tasks.images.networks import Wrn
from autodropout.tasks.images.recipe import ImageRecipe
from autodropout.tasks.images.task import ImageTask

SIDE, POOL = 8, 60


class Drawn:
    """Images of three classes that can be told apart, and a source of them."""

    num_classes, channels, side, needs = 3, 3, SIDE, "nothing"

    def check(self, folder):
        pass

    def load(self, folder):
        return image_data(examples(POOL, 0), examples(30, 1), examples(30, 2))


def examples(num, seed):
    labels = torch.arange(num) % 3
    noise = torch.randint(0, 100, (num, 3, SIDE, SIDE), generator=torch.Generator().manual_seed(seed))
    noise[torch.arange(num), labels] += 120
    return Examples(inputs=noise.to(torch.uint8), labels=labels)


SOURCE = FewLabelled(source=Drawn(), num_labels=12)


def task(unlabelled=None, source=SOURCE, **recipe):
    settings = {"steps": 4, "batch_size": 6, "device": "cpu", "measurements": 2, **recipe}
    return ImageTask(
        name="drawn",
        summary="drawn",
        source=source,
        network=Wrn(depth=10, width=1),
        recipe=ImageRecipe(**settings),
        seconds=1.0,
        budget=Budget(trials=8, batch=4, confirm_top=1, confirm_seeds=1),
        baselines=(),
        unlabelled=unlabelled,
    )
