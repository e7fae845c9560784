"""One arm of the comparisons in adaptive.py: a network, its data, its recipe and its regulariser."""

import io
import math
import zipfile
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Literal, Self

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from autodropout.adapting import Refreshing, adaptive_dropout
from autodropout.adaptive import AdaptiveSettings, Favours
from autodropout.attribution import Method
from autodropout.data.cifar import Cifar
from autodropout.data.cifar_small import CifarSmall
from autodropout.data.files import data_folder
from autodropout.data.images import ImageData, examples, image_data, scaled, shrunk
from autodropout.data.pydoc_text import load_pydoc
from autodropout.data.splits import Examples
from autodropout.data.text import CorpusSize, windows
from autodropout.errors import DataError
from autodropout.families import find_sites
from autodropout.models.decoder import Decoder
from autodropout.models.photograph_nets import resnet
from autodropout.result import Result
from autodropout.tasks.batches import Batch, shuffled_batches
from autodropout.tasks.fit import FitSettings, cosine, fit
from autodropout.tasks.images.batches import Changes, ImageBatches
from autodropout.tasks.methods.penalties import penalise
from autodropout.tasks.text.token_baselines import branch_ends

TINY = "tiny-imagenet-10"
CHUNK = 250
NEVER = 10**9


@dataclass(frozen=True, slots=True, kw_only=True)
class Strengths:
    """How strong the regularisers are; the paper prints none of it.

    Attributes:
        rate: Mean drop rate, standard and adaptive.
        l1: Factor of the sum of magnitudes.
        l2: Factor of half the sum of squares, beside the weight decay that every arm has.
    """

    rate: float = 0.1
    l1: float = 1e-5
    l2: float = 5e-4


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageRun:
    """A ResNet on images; called with a seed it trains one.

    Attributes:
        data: Data set.
        steps: Optimiser steps.
        falls: Progress at which the learning rate is divided by 10.
        arm: Name of the regulariser.
        depth: 18, with the stem for small images, or 50.
        multiplier: Factor on all numbers of channels.
        batch_size: Images per step.
        learning_rate: At the start.
        weight_decay: Of all parameters.
        method: Of relevance.
        strengths: Of the regularisers.
        small: Whether the data are those of the sibling.
        folder: Folder of data sets.
    """

    data: Literal["cifar10", "cifar100", "imagenet"]
    steps: int
    falls: tuple[float, ...]
    arm: str = "none"
    depth: Literal[18, 50] = 18
    multiplier: float = 1.0
    batch_size: int = 128
    learning_rate: float = 0.1
    weight_decay: float = 1e-4
    method: Method = "lrp"
    strengths: Strengths = Strengths()
    small: bool = False
    folder: str | None = None

    def sibling(self) -> Self:
        """Return the run that 2 cores finish: a quarter of the width, few images, few steps."""
        return replace(self, multiplier=0.25, batch_size=64, steps=600, small=True)

    def __call__(self, seed: int) -> Result:
        """Train one network; weights and batches follow from the seed, whatever the arm."""
        return self.train(load(self), seed)

    def train(self, data: "Loaded", seed: int) -> Result:
        """Train one network on some images and measure its accuracy on the test images."""
        torch.manual_seed(seed)
        net = network(self, data.num_classes)
        regularise(net, between_convolutions(net), self.arm, self.strengths, self.method)
        optimiser = torch.optim.SGD(net.parameters(), self.learning_rate, 0.9, weight_decay=self.weight_decay)
        device = "cuda" if torch.cuda.is_available() else "cpu"
        settings = FitSettings(steps=self.steps, device=device)
        fitted = fit(net, optimiser, self.falling, data.batches(self.batch_size, seed), settings)
        if fitted.diverged:
            return Result(reward=math.nan, metrics={"train_loss": fitted.loss}, seconds=fitted.seconds)
        parameters = float(sum(parameter.numel() for parameter in net.parameters()))
        return Result(
            reward=-fitted.loss,
            metrics={"train_loss": fitted.loss, "parameters": parameters},
            test={"accuracy": accuracy(net, data.test(), device)},
            seconds=fitted.seconds,
        )

    def falling(self, progress: float) -> float:
        """Return the factor on the learning rate."""
        return float(0.1 ** sum(progress >= fall for fall in self.falls))


@dataclass(frozen=True, slots=True, kw_only=True)
class SequenceRun:
    """A small language model on the help texts of Python, an LSTM or a decoder.

    Attributes:
        network: Which of the two.
        arm: Name of the regulariser.
        steps: Optimiser steps.
        context: Tokens per window.
        width: Of the network.
        batch_size: Windows per step.
        learning_rate: Of AdamW at the start of its cosine.
        strengths: Of the regularisers.
    """

    network: Literal["recurrent", "transformer"]
    arm: str = "none"
    steps: int = 800
    context: int = 32
    width: int = 96
    batch_size: int = 10
    learning_rate: float = 2e-3
    strengths: Strengths = Strengths()

    def __call__(self, seed: int) -> Result:
        """Train one network and return the test text's perplexity."""
        size = CorpusSize(validation=16_000, test=16_000)
        corpus = load_pydoc(size)
        train, test = (windows(part, self.context) for part in (corpus.train, corpus.test))
        torch.manual_seed(seed)
        net: nn.Module
        if self.network == "recurrent":
            net = Recurrent(size.vocabulary, self.width)
            places: tuple[str, ...] = ("embedding", "lstm")
        else:
            net = Decoder(
                vocabulary=size.vocabulary, context=self.context, layers=1, width=self.width, heads=4
            )
            places = branch_ends(net)
        regularise(net, places, self.arm, self.strengths, "gradient")
        optimiser = torch.optim.AdamW(net.parameters(), self.learning_rate, weight_decay=0.01)
        settings = FitSettings(steps=self.steps, loss=token_loss, clip_norm=1.0)
        batches = shuffled_batches(train, self.batch_size, seed)
        fitted = fit(net, optimiser, cosine, batches, settings)
        if fitted.diverged:
            return Result(reward=math.nan, metrics={"train_loss": fitted.loss}, seconds=fitted.seconds)
        perplexity = math.exp(mean_loss(net, test))
        return Result(
            reward=-fitted.loss,
            metrics={"train_loss": fitted.loss},
            test={"perplexity": perplexity},
            seconds=fitted.seconds,
        )


class Recurrent(nn.Module):
    """Embedding, one LSTM layer, a linear head."""

    def __init__(self, vocabulary: int, width: int) -> None:
        super().__init__()
        self.embedding = nn.Embedding(vocabulary, width)
        self.lstm = nn.LSTM(width, width, batch_first=True)
        self.head = nn.Linear(width, vocabulary)

    def forward(self, tokens: Tensor) -> Tensor:
        """Map tokens (N, T) to logits (N, T, vocabulary)."""
        logits: Tensor = self.head(self.lstm(self.embedding(tokens))[0])
        return logits


def regularise(
    net: nn.Module, places: tuple[str, ...], arm: str, strengths: Strengths, method: Method
) -> None:
    """Let the regulariser of an arm act on a network, dropout on the outputs of these places.

    Standard dropout is adaptive dropout that has no room to adapt: the coins are the same.
    """
    match arm:
        case "l1":
            penalise(net, l1=strengths.l1)
        case "l2":
            penalise(net, l2=strengths.l2)
        case "standard":
            same = AdaptiveSettings(least=strengths.rate, most=strengths.rate, whole=False)
            once = Refreshing(every=NEVER, method=method)
            adaptive_dropout(net, places, strengths.rate, settings=same, refreshing=once)
        case "adaptive" | "adaptive-unimportant":
            favours: Favours = "important" if arm == "adaptive" else "unimportant"
            settings = AdaptiveSettings(favours=favours, whole=False)
            refreshing = Refreshing(method=method)
            adaptive_dropout(net, places, strengths.rate, settings=settings, refreshing=refreshing)


def network(run: ImageRun, num_classes: int) -> nn.Module:
    """Return the ResNet; for small images its stem is one 3x3 convolution without pooling."""
    net = resnet(run.depth, run.multiplier, num_classes)
    if run.data != "imagenet" or run.small:
        stem = net.get_submodule("conv1")
        assert isinstance(stem, nn.Conv2d)
        net.conv1 = nn.Conv2d(3, stem.out_channels, 3, padding=1, bias=False)
        net.maxpool = nn.Identity()
    return net


def between_convolutions(net: nn.Module) -> tuple[str, ...]:
    """Return the norms that stand between two convolutions of a residual block."""
    return tuple(site.name for site in find_sites(net) if site.consumer is not None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Loaded:
    """Images that a network trains on and is tested on.

    Attributes:
        num_classes: Classes there are.
        batches: (images per batch, seed) to endless batches.
        test: Gives all test images, scaled, and labels, some at a time.
    """

    num_classes: int
    batches: Callable[[int, int], Iterable[Batch]]
    test: Callable[[], Iterable[tuple[Tensor, Tensor]]]


def check(run: ImageRun) -> None:
    """Raise a DataError where the images are not there; what is in them is not read."""
    if run.data != "imagenet":
        classes: Literal[10, 100] = 10 if run.data == "cifar10" else 100
        (CifarSmall(classes=classes) if run.small else Cifar(classes=classes)).check(run.folder)
        return
    place = _imagenet(run)
    if not place.exists():
        raise DataError(f"there is no {place}; put ImageNet's folders train/ and val/ of class folders there")


def load(run: ImageRun) -> Loaded:
    """Return a run's images."""
    check(run)
    if run.data == "imagenet" and not run.small:
        return _streamed(_imagenet(run))
    return in_memory(_images(run.data, run.small, run.folder))


def in_memory(data: ImageData) -> Loaded:
    """Return images that fit into memory."""
    changes = Changes(mean=data.mean, deviation=data.deviation)

    def batches(size: int, seed: int) -> Iterable[Batch]:
        return ImageBatches(examples=data.splits.train, batch_size=size, seed=seed, change=changes)

    def test() -> Iterable[tuple[Tensor, Tensor]]:
        part = data.splits.test
        for images, labels in zip(part.inputs.split(CHUNK), part.labels.split(CHUNK), strict=True):
            yield scaled(images, data.mean, data.deviation), labels

    return Loaded(num_classes=data.num_classes, batches=batches, test=test)


@lru_cache(maxsize=1)
def _images(data: str, small: bool, folder: str | None) -> ImageData:
    if data == "imagenet":
        return _tiny(data_folder(folder).absolute() / TINY / f"{TINY}.zip")
    classes: Literal[10, 100] = 10 if data == "cifar10" else 100
    if small:
        return CifarSmall(classes=classes, num_train=4000 if classes == 10 else 8000).load(folder)
    return Cifar(classes=classes, num_validation=0).load(folder)


def _tiny(path: Path) -> ImageData:
    """Return ten classes of Tiny ImageNet at 32x32."""
    from PIL import Image

    parts: dict[str, list[tuple[np.ndarray[tuple[int, ...], np.dtype[np.uint8]], str]]] = {
        "train": [],
        "val": [],
    }
    with zipfile.ZipFile(path) as archive:
        for name in sorted(n for n in archive.namelist() if n.endswith(".JPEG")):
            part, kind, *_ = Path(name).parts[-3:]
            pixels = np.asarray(Image.open(io.BytesIO(archive.read(name))).convert("RGB"))
            parts[part].append((pixels, kind))
    kinds = sorted({kind for _, kind in parts["train"]})
    train, test = (
        shrunk(examples(np.stack([p for p, _ in part]), [kinds.index(kind) for _, kind in part]), 32)
        for part in parts.values()
    )
    nothing = Examples(inputs=train.inputs[:0], labels=train.labels[:0])
    return image_data(train, nothing, test)


def _imagenet(run: ImageRun) -> Path:
    folder = data_folder(run.folder).absolute()
    return folder / TINY / f"{TINY}.zip" if run.small else folder / "imagenet"


def _streamed(place: Path) -> Loaded:
    """Return ImageNet as it is usually read: random crops and flips to train, the middle to test."""
    from torchvision import transforms
    from torchvision.datasets import ImageFolder

    last = [transforms.ToTensor(), transforms.Normalize((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))]
    crop = [transforms.RandomResizedCrop(224), transforms.RandomHorizontalFlip(), *last]
    middle = [transforms.Resize(256), transforms.CenterCrop(224), *last]
    train = ImageFolder(str(place / "train"), transforms.Compose(crop))
    held_out = ImageFolder(str(place / "val"), transforms.Compose(middle))
    readers = torch.get_num_threads()

    def batches(size: int, seed: int) -> Iterable[Batch]:
        order = torch.Generator().manual_seed(seed)
        while True:
            yield from torch.utils.data.DataLoader(
                train, size, shuffle=True, generator=order, drop_last=True, num_workers=readers
            )

    return Loaded(
        num_classes=len(train.classes),
        batches=batches,
        test=lambda: torch.utils.data.DataLoader(held_out, CHUNK, num_workers=readers),
    )


@torch.no_grad()
def accuracy(net: nn.Module, chunks: Iterable[tuple[Tensor, Tensor]], device: str) -> float:
    """Return the share of images that a network names rightly."""
    right, count = 0, 0
    for images, labels in chunks:
        right += int((net(images.to(device)).argmax(1).cpu() == labels).sum())
        count += len(labels)
    return right / count


def token_loss(logits: Tensor, labels: Tensor) -> Tensor:
    """Return the mean cross-entropy per token."""
    return F.cross_entropy(logits.flatten(0, 1), labels.flatten())


@torch.no_grad()
def mean_loss(net: nn.Module, part: Examples) -> float:
    """Return the mean cross-entropy per token of a text."""
    chunks = zip(part.inputs.split(CHUNK), part.labels.split(CHUNK), strict=True)
    total = sum(token_loss(net(inputs), labels).item() * labels.numel() for inputs, labels in chunks)
    return total / part.labels.numel()
