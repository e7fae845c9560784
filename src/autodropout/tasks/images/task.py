"""An image task: a set of images, a network, a recipe; reward = validation accuracy."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import lru_cache, partial
from pathlib import Path
from typing import Self

import torch
from torch import Tensor, nn

from autodropout.applying import apply, space_for
from autodropout.conv_space import ConvSpace
from autodropout.data.augmentation.chain import Chained, Change
from autodropout.data.images import ImageData
from autodropout.data.photographs import Files, PhotographData, Photographs
from autodropout.data.reading import middle_crops
from autodropout.data.source import ImageSource
from autodropout.data.splits import Examples
from autodropout.errors import AutoDropoutError, DataError, UsageError
from autodropout.policy import Policy
from autodropout.result import Result
from autodropout.tasks.base import Baseline, Budget, Prepare
from autodropout.tasks.fit import shortened
from autodropout.tasks.images.batches import Changes, ImageBatches, in_order, on_device, step_seed
from autodropout.tasks.images.identity import identified
from autodropout.tasks.images.networks import Network
from autodropout.tasks.images.photograph_batches import PhotographBatches
from autodropout.tasks.images.recipe import ImageRecipe
from autodropout.tasks.images.training import Scoring, memory_suffices, train_images
from autodropout.tasks.images.uda.batches import UdaBatches, Unlabelled
from autodropout.tasks.methods.batchwise import Batchwise, batchwise
from autodropout.tasks.saving import Saving

Data = ImageData | PhotographData
Batches = ImageBatches | PhotographBatches

SPLIT = "split.txt"
"""Names of the photographs that were drawn, beside a training's checkpoint."""

_AT_A_TIME = 250
"""Photographs that are scored together where the recipe's batch is not smaller."""


@dataclass(frozen=True, kw_only=True)
class ImageTask:
    """Image classification, supervised, or with few labels by UDA.

    The paper's experiment and its small sibling are both of this class and differ in numbers. Test figures
    are recorded only.

    Attributes:
        name: Word for it on the command line.
        summary: One line: data, model, reward.
        source: The images and how they are split.
        network: What is trained.
        recipe: How it is trained.
        seconds: About how long a trial takes, on one core or on one GPU.
        budget: What a search spends by default.
        baselines: Known methods that a policy has to beat.
        unlabelled: What is learned from the images without labels of a source that has some, by the recipe's
            ``objective``; None where all labels are known.
        data: Folder of data sets; None for the one that the variable ``AUTODROPOUT_DATA`` names.
        saving: Where a training keeps its checkpoint; None keeps none.
    """

    name: str
    summary: str
    source: ImageSource
    network: Network
    recipe: ImageRecipe
    seconds: float
    budget: Budget
    baselines: tuple[Baseline, ...]
    unlabelled: Unlabelled | None = None
    data: str | None = None
    saving: Saving | None = None

    @property
    def key(self) -> str:
        """What figures on this task are comparable under."""
        return self.name

    @property
    def needs(self) -> str:
        """Which data it needs, how large they are and where they are looked for."""
        return self.source.needs

    @property
    def floor(self) -> float:
        """Reward of a model that learned nothing: all classes equally likely."""
        return 1.0 / self.source.num_classes

    def missing(self) -> str | None:
        """Return what to do to get the data; None if they are there."""
        try:
            self.source.check(self.data)
        except DataError as error:
            return str(error)
        return None

    def space(self) -> ConvSpace:
        """Return the standard space over all sites of the network."""
        source = self.source
        return image_space(self.network, source.num_classes, (source.channels, source.side, source.side))

    def model(self) -> nn.Module:
        """Return an untrained network."""
        return self.network.build(self.source.num_classes, self.source.channels)

    def evaluate(self, policy: Policy, seed: int, budget: float = 1.0) -> Result:
        """Train one network with a policy and return its validation accuracy, the test's beside it."""
        return self.shortened(budget).train(partial(apply, policy=policy), seed)

    def shortened(self, budget: float) -> Self:
        """Return the task with this fraction of the steps, in (0, 1]; the whole schedule runs over them."""
        return replace(self, recipe=replace(self.recipe, steps=shortened(self.recipe.steps, budget)))

    def train(self, prepare: Prepare, seed: int) -> Result:
        """Train one network and return its validation accuracy, the test's beside it.

        Weights, batches and masks follow from the seed; the order of the batches, what changes them and the
        first weights are the same whatever ``prepare`` does. Where a checkpoint is kept of a training on
        photographs, the names of those that were drawn are put beside it.
        """
        data = self.source.load(self.data)
        if self.saving is not None and isinstance(self.source, Photographs):
            self._note(self.source, self.saving.folder / SPLIT)
        torch.manual_seed(seed)
        net = self.model()
        asked = batchwise(prepare(net))
        with memory_suffices(self.recipe.torch_device()):
            batches = self.batches(data, asked, seed)
            scored = scoring(data, min(_AT_A_TIME, self.recipe.batch_size))
            return train_images(net, batches, scored, self.recipe, self._identified())

    def keeping(self, saving: Saving) -> Self:
        """Return the task with trainings that keep a checkpoint there and go on from it.

        The checkpoint of another network, other images or another recipe is refused, whatever the identity
        that is given here says of them.
        """
        return replace(self, saving=saving)

    def _note(self, source: Photographs, file: Path) -> None:
        """Write down which photographs were drawn; what another training left there stays."""
        if not file.exists():
            file.parent.mkdir(parents=True, exist_ok=True)
            source.write_split(self.data, file)

    def _identified(self) -> Saving | None:
        """Return where the checkpoint is kept, its identity with all that a training depends on."""
        if self.saving is None:
            return None
        parts = self.network, self.source, self.recipe, self.unlabelled
        return replace(self.saving, identity=identified(self.saving.identity, *parts))

    def batches(self, data: Data, asked: Batchwise, seed: int) -> Batches | UdaBatches:
        """Return what the network is trained on.

        Args:
            data: What the source loads.
            asked: What the method that prepared the network asks for.
            seed: Of order and changes.

        Raises:
            UsageError: A task with few labels is to mix them, or its source has no images without, or fewer
                than a batch.
        """
        changes = Changes(
            mean=data.mean,
            deviation=data.deviation,
            stored=(*asked.images, *_given(self.recipe.augment)),
            mixing=(*_given(self.recipe.mix), *asked.mixing),
        )
        train = data.train if isinstance(data, PhotographData) else data.splits.train
        labelled = self._of(train, self.recipe.batch_size, seed, changes)
        return labelled if self.unlabelled is None else self._with_more(labelled, data, changes)

    def _of(self, part: Examples | Files, batch_size: int, seed: int, change: Change) -> Batches:
        device = self.recipe.torch_device()
        if isinstance(part, Files):
            return PhotographBatches(
                files=part, batch_size=batch_size, seed=seed, change=change, device=device
            )
        there = on_device(part, device)
        return ImageBatches(examples=there, batch_size=batch_size, seed=seed, change=change)

    def _with_more(self, labelled: Batches, data: Data, changes: Changes) -> UdaBatches:
        more = self.unlabelled
        if more is None or data.unlabelled is None:
            raise UsageError("the images all have labels; use a source with few of them (FewLabelled)")
        if changes.mixing:
            raise UsageError(
                f"the task {self.name!r} learns from few labels, which cannot be mixed or smoothed there; "
                "leave out Mixup, CutMix, Manifold Mixup, MoEx and label smoothing"
            )
        if len(data.unlabelled) < more.batch_size:
            raise UsageError(
                f"there are {len(data.unlabelled)} images without labels, fewer than the {more.batch_size} "
                "of a batch; make the batch_size of Unlabelled smaller, or give the source more images"
            )
        seed = step_seed(labelled.seed, -1)  # of no step of the labelled part
        stored = _given(self.recipe.augment)
        return UdaBatches(
            labelled=labelled,
            pool=self._of(data.unlabelled, more.batch_size, seed, Chained(())),
            seed=step_seed(seed, -1),
            plain=replace(changes, stored=stored),
            augmented=replace(changes, stored=(more.augment, *stored)),
        )


def _given(change: Change | None) -> tuple[Change, ...]:
    return () if change is None else (change,)


def scoring(data: Data, at_a_time: int = _AT_A_TIME) -> Scoring:
    """Return what a classifier of these images is scored on.

    Args:
        data: What the source loads.
        at_a_time: Photographs that are scored together; a network that is trained on small batches so that
            they fit into memory may have no room for more. Small images do not need it.

    Raises:
        UsageError: Nothing is set apart for validation, so that there is no reward.
    """
    parts = data if isinstance(data, PhotographData) else data.splits
    if not len(parts.validation):
        raise UsageError(
            "no images are set apart for validation, where the reward comes from; let the source keep some "
            "(num_validation, of photographs validation_per_class)"
        )
    return Scoring(
        validation=partial(_in_order, parts.validation, at_a_time),
        test=partial(_in_order, parts.test, at_a_time),
        mean=data.mean,
        deviation=data.deviation,
        num_classes=data.num_classes,
    )


def _in_order(part: Examples | Files, at_a_time: int) -> Iterator[tuple[Tensor, Tensor]]:
    return middle_crops(part, at_a_time) if isinstance(part, Files) else in_order(part)


@lru_cache(maxsize=64)
def image_space(network: Network, num_classes: int, shape: tuple[int, int, int]) -> ConvSpace:
    """Return the standard space over all sites of a network; nothing is computed to see how large they are.

    Args:
        network: The network.
        num_classes: Outputs.
        shape: (channels, height, width) of an image.
    """
    with torch.device("meta"):
        space = space_for(network.build(num_classes, shape[0]), torch.empty(1, *shape))
    if not isinstance(space, ConvSpace):
        raise AutoDropoutError(f"{network.title} has no feature maps")
    return space
