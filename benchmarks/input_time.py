"""What it costs to make a batch of images, beside the training step that it is for.

Every figure is a share: each round makes a batch in every way and trains one step, one after the other on one
thread, in processor time, and divides by the same round's step. Images are noise; no data set is needed.
Target: at most .05 for flips and crops, the augmentation of every image task, and for photographs, which are
read from JPEG files of ImageNet's usual size, 500 x 375 pixels and about 110 KiB, beside a step of ResNet-50.

    python benchmarks/input_time.py [--rounds 15]
"""

import argparse
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from unittest import mock

import torch
from PIL import Image
from torch.nn import functional as F

import record
from autodropout.data import reading
from autodropout.data.augmentation import Chained, Change, Crops, CutMix, Flips, Mixup, RandAugment
from autodropout.data.images import ImageData, image_data
from autodropout.data.photographs import Files
from autodropout.data.splits import Examples
from autodropout.models.photograph_nets import resnet
from autodropout.tasks.images.batches import Changes, ImageBatches
from autodropout.tasks.images.networks import Wrn
from autodropout.tasks.images.photograph_batches import PhotographBatches
from autodropout.tasks.images.uda.batches import UdaBatches
from autodropout.tasks.images.uda.objective import Uda

TARGET = 0.05
CLASSES = 10
USUAL = (Flips(), Crops(padding=4))
WAYS: Mapping[str, tuple[tuple[Change, ...], tuple[Change, ...]]] = {
    "nothing but scaling": ((), ()),
    "flips and crops": (USUAL, ()),
    "flips, crops, RandAugment": ((RandAugment(), *USUAL), ()),
    "flips, crops, Mixup": (USUAL, (Mixup(num_classes=CLASSES),)),
    "flips, crops, CutMix": (USUAL, (CutMix(num_classes=CLASSES),)),
}
PHOTOGRAPHS, BATCH = 32, 8
Run = Callable[[], object]


def noise(num: int, side: int) -> ImageData:
    """Return images of noise."""
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(0, 256, (num, 3, side, side), generator=generator, dtype=torch.uint8)
    part = Examples(inputs=images, labels=torch.arange(num) % CLASSES)
    return image_data(part, part, part)


def maker(
    data: ImageData, batch_size: int, way: tuple[tuple[Change, ...], tuple[Change, ...]]
) -> ImageBatches:
    """Return batches that are changed in this way."""
    changes = Changes(mean=data.mean, deviation=data.deviation, stored=way[0], mixing=way[1])
    return ImageBatches(examples=data.splits.train, batch_size=batch_size, seed=0, change=changes)


def supervised(network: Wrn, side: int, batch_size: int, rounds: int) -> dict[str, object]:
    """Return the shares of one network's training step that batches take."""
    data, net = noise(1024, side), network.build(CLASSES, 3).train()
    makers = {name: iter(maker(data, batch_size, way)) for name, way in WAYS.items()}
    inputs, labels = next(makers["flips and crops"])

    def step() -> None:
        net.zero_grad()
        F.cross_entropy(net(inputs), labels).backward()

    return shares(step, {name: batches.__next__ for name, batches in makers.items()}, rounds)


def semi_supervised(side: int, batch_size: int, num_unlabelled: int, rounds: int) -> dict[str, object]:
    """Return the share of a step of UDA that its three kinds of images take."""
    data, net = noise(1024, side), Wrn(depth=10, width=1).build(CLASSES, 3).train()
    scaling = maker(data, batch_size, (USUAL, ())).change
    batches = iter(
        UdaBatches(
            labelled=maker(data, batch_size, (USUAL, ())),
            pool=replace(maker(data, num_unlabelled, ((), ())), change=Chained(())),
            seed=1,
            plain=scaling,
            augmented=Chained((RandAugment(), scaling)),
        )
    )
    batch, loss = next(batches), Uda()

    def step() -> None:
        net.zero_grad()
        loss(net, batch, 0.5).backward()

    return shares(step, {"flips, crops, RandAugment of half": batches.__next__}, rounds)


def photographed(rounds: int) -> dict[str, object]:
    """Return the share of a step of ResNet-50 that its photographs take, and how many a core reads.

    They are read by the process that trains, so that its time is seen.
    """
    net = resnet(50, 1.0, CLASSES).train()
    change = Changes(mean=(0.5, 0.5, 0.5), deviation=(0.25, 0.25, 0.25), stored=(Flips(),))
    with tempfile.TemporaryDirectory() as folder, mock.patch.object(reading, "num_readers", return_value=0):
        files = jpegs(Path(folder))
        batches = PhotographBatches(
            files=files, batch_size=BATCH, seed=0, change=change, device=torch.device("cpu")
        )
        made = batches.starting_at(0)
        inputs, labels = next(made)

        def step() -> None:
            net.zero_grad()
            F.cross_entropy(net(inputs), labels).backward()

        found = shares(step, {"read, cropped, flipped": made.__next__}, rounds, within=TARGET)
        seconds = [processor_time(made.__next__) / BATCH for _ in range(rounds)]
    return found | {"read by one core": record.summary([1 / s for s in seconds], "photographs a second")}


def jpegs(folder: Path) -> Files:
    """Return photographs of smooth noise, about as large on disk as ImageNet's."""
    generator = torch.Generator().manual_seed(0)
    paths = []
    for number in range(PHOTOGRAPHS):
        coarse = torch.rand((1, 3, 94, 125), generator=generator)
        smooth = F.interpolate(coarse, size=(375, 500), mode="bicubic").clamp(0.0, 1.0)
        pixels = (255 * smooth[0]).byte().permute(1, 2, 0).numpy()
        paths.append(folder / f"{number}.jpg")
        Image.fromarray(pixels).save(paths[-1], quality=95)
    return Files(paths=tuple(paths), labels=tuple(n % CLASSES for n in range(PHOTOGRAPHS)), side=224)


def shares(
    step: Run, makers: Mapping[str, Run], rounds: int, within: float | None = None
) -> dict[str, object]:
    """Return summaries of each maker's time over the same round's step, and of the step's own seconds."""
    for run in (step, *makers.values()):
        run()
    found: dict[str, list[float]] = {name: [] for name in makers}
    steps = []
    for _ in range(rounds):
        steps.append(processor_time(step))
        for name, make in makers.items():
            found[name].append(processor_time(make) / steps[-1])
    targets = dict.fromkeys(makers, within) | {"flips and crops": TARGET}
    return {"step": record.summary(steps, "processor seconds")} | {
        name: record.summary(values, "share of a step", target=targets.get(name))
        for name, values in found.items()
    }


def processor_time(run: Run) -> float:
    """Return the processor seconds of one call."""
    began = time.process_time()
    run()
    return time.process_time() - began


def main() -> None:
    """Measure all cases and write results/input_time.json."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=15, help="repetitions of each measurement")
    rounds = parser.parse_args().rounds
    torch.set_num_threads(1)
    record.write(
        "input_time",
        {
            "WRN-28-2, 32x32, batch 32": supervised(Wrn(depth=28, width=2), 32, 32, rounds),
            "WRN-10-1, 16x16, batch 32 (cifar10-small)": supervised(Wrn(depth=10, width=1), 16, 32, rounds),
            "UDA, WRN-10-1, 16x16, 32 with and 64 without labels (cifar10-small-uda)": semi_supervised(
                16, 32, 64, rounds
            ),
            "ResNet-50, 224x224, batch 8, photographs": photographed(rounds),
        },
    )


if __name__ == "__main__":
    main()
