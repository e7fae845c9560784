"""Table 3 of Demystifying Dropout: LeNet on MNIST, standard against augmented dropout before the last layer.

    python experiments/demystifying.py --data DATA [--seeds 4] [--steps 12000]

DATA holds ``mnist/`` with its four files; without --data it is what AUTODROPOUT_DATA says. At full size a run
takes 12,000 steps, some eight minutes of one core, and the table 40 of them and four without dropout. It may
be stopped at any moment; the same command goes on. The settings are the paper's: batches of 100, momentum .9,
weight decay .0005, learning rate .01, a tenth of it from half of the steps on, the mean of four runs. From
Caffe's example, which the paper adopts: the network, its start, pixels times 1/256, twice the learning rate
for biases.

The paper's differences are .0001 to .0007, the standard error of one test accuracy is .0009: more seeds than
four are needed to see anything.
"""

import argparse
import math
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from autodropout.augmenting import augmented_dropout
from autodropout.comparison import Comparison, compare
from autodropout.data.mnist import load_mnist
from autodropout.data.ptb import VARIABLE
from autodropout.data.splits import Examples, Splits
from autodropout.models.lenet import LeNet
from autodropout.policy import Policy
from autodropout.result import Result
from autodropout.tasks.batches import shuffled_batches
from autodropout.tasks.fit import FitSettings, fit

RATES = (0.1, 0.2, 0.3, 0.4, 0.5)
BACKWARD_RATE = 0.0001
STEPS = 12_000
CHUNK = 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """One cell of the table.

    Attributes:
        rate: Forward ratio; 0 is the plain network.
        backward_rate: Backward ratio; 0 is standard dropout.
        steps: Optimiser steps; the learning rate falls at half of them.
        batch_size: Images per step.
        data: Folder of data sets.
    """

    rate: float
    backward_rate: float
    steps: int = STEPS
    batch_size: int = 100
    data: str | None = None

    def __call__(self, seed: int) -> Result:
        """Train one network; its weights and batches follow from the seed alone."""
        return self.train(load_mnist(self.data), seed)

    def train(self, splits: Splits, seed: int) -> Result:
        """Train one network on some images and measure its accuracy on the test images."""
        torch.manual_seed(seed)
        net = LeNet()
        if self.rate:
            augmented_dropout(net, "fc2", self.rate, self.backward_rate)
        biases = [p for name, p in net.named_parameters() if name.endswith("bias")]
        weights = [p for name, p in net.named_parameters() if not name.endswith("bias")]
        groups = [{"params": weights}, {"params": biases, "lr": 0.02}]
        optimiser = torch.optim.SGD(groups, lr=0.01, momentum=0.9, weight_decay=0.0005)
        batches = shuffled_batches(scaled(splits.train), self.batch_size, seed)
        fitted = fit(net, optimiser, halved, batches, FitSettings(steps=self.steps))
        reward = math.nan if fitted.diverged else -fitted.loss
        test = {} if fitted.diverged else {"accuracy": accuracy(net, scaled(splits.test))}
        return Result(reward=reward, metrics={"train_loss": fitted.loss}, test=test, seconds=fitted.seconds)


def halved(progress: float) -> float:
    """Return the factor on the learning rate: a tenth from half of training on."""
    return 1.0 if progress < 0.5 else 0.1


def scaled(examples: Examples) -> Examples:
    """Return images whose white is 255/256, as Caffe's example has them."""
    return Examples(inputs=examples.inputs * (255 / 256), labels=examples.labels)


@torch.no_grad()
def accuracy(net: LeNet, examples: Examples) -> float:
    """Return the share of images that a network names rightly."""
    right = [
        (net(images).argmax(1) == labels).sum()
        for images, labels in zip(examples.inputs.split(CHUNK), examples.labels.split(CHUNK), strict=True)
    ]
    total: Tensor = torch.stack(right).sum()
    return int(total) / len(examples)


def arms(steps: int, data: str | None) -> dict[str, Run]:
    """Return the cells of Table 3, and the plain network beside them."""
    found = {"plain": Run(rate=0.0, backward_rate=0.0, steps=steps, data=data)}
    for rate in RATES:
        for kind, backward_rate in (("standard", 0.0), ("augmented", BACKWARD_RATE)):
            found[f"{kind} {rate}"] = Run(rate=rate, backward_rate=backward_rate, steps=steps, data=data)
    return found


def run(table: Mapping[str, Run], out: Path, seeds: int, workers: int) -> Comparison:
    """Train every cell on the same seeds and measure each against standard dropout."""
    standard = [name for name in table if name.startswith("standard")]
    return compare(
        refuse, table, seeds=seeds, baselines=standard, workers=workers, out=out, task="lenet-mnist"
    )


def refuse(policy: Policy, seed: int) -> Result:
    """No arm of this table is a policy."""
    raise TypeError(f"asked to train {policy} with seed {seed}, but every arm is a run of its own")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--data", default=os.environ.get(VARIABLE), help="folder that holds mnist/")
    parser.add_argument("--seeds", type=int, default=4, help="runs of each cell; the paper has 4")
    parser.add_argument("--steps", type=int, default=STEPS, help="optimiser steps; the paper has 12000")
    parser.add_argument("--workers", type=int, default=2, help="processes, one thread each")
    parser.add_argument("--out", type=Path, default=Path("runs/lenet-mnist"), help="directory of the runs")
    given = parser.parse_args()
    load_mnist(given.data)  # what is missing is said before anything runs
    folder = None if given.data is None else str(Path(given.data).absolute())
    print(run(arms(given.steps, folder), given.out, given.seeds, given.workers))
