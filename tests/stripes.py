"""The smallest image task: which channel of an 8x8 image is bright."""

from dataclasses import dataclass
from functools import lru_cache
from typing import ClassVar

import torch

from autodropout.data.images import ImageData, image_data
from autodropout.data.splits import Examples
from autodropout.errors import DataError
from autodropout.pattern import ConvPattern
from autodropout.policy import Policy
from autodropout.tasks.base import Budget
from autodropout.tasks.images.baselines import image_baselines
from autodropout.tasks.images.networks import Wrn
from autodropout.tasks.images.recipe import ImageRecipe
from autodropout.tasks.images.task import ImageTask

POLICY = Policy(
    {"group*.0.bn2": ConvPattern(height=2, width=2, residual=True), "bn": ConvPattern(height=1, width=1)}
)


def stripes(count: int, seed: int) -> Examples:
    """Images whose class is the channel that is bright."""
    generator = torch.Generator().manual_seed(seed)
    labels = torch.arange(count) % 3
    inputs = torch.randint(0, 120, (count, 3, 8, 8), generator=generator, dtype=torch.uint8)
    inputs[torch.arange(count), labels] += 100
    return Examples(inputs=inputs, labels=labels)


@lru_cache
def loaded() -> ImageData:
    return image_data(stripes(48, 0), stripes(30, 1), stripes(33, 2))


@dataclass(frozen=True, kw_only=True)
class Stripes:
    num_classes: ClassVar[int] = 3
    channels: ClassVar[int] = 3
    side: ClassVar[int] = 8
    needs: ClassVar[str] = "nothing"
    lacking: str | None = None

    def check(self, folder):
        if self.lacking is not None:
            raise DataError(self.lacking)

    def load(self, folder):
        return loaded()


TASK = ImageTask(
    name="stripes",
    summary="which channel is bright",
    source=Stripes(),
    network=Wrn(depth=10, width=1, multiplier=0.25),
    recipe=ImageRecipe(steps=8, batch_size=16, measurements=2, device="cpu"),
    seconds=1.0,
    budget=Budget(trials=8, batch=4, confirm_top=1, confirm_seeds=2),
    baselines=image_baselines(3),
)
