"""What augmented dropout costs: whole training steps beside the same step with nn.Dropout.

Every figure is a ratio: each round runs all cases one after the other, on one thread, in processor time, and
divides by the same round's step with nn.Dropout at the same places. Reported are median, quartile distance
and extremes over the rounds. Target: at most 1.1.

    python benchmarks/augmented.py [--rounds 15]
"""

import argparse
import copy
from collections.abc import Sequence

import torch
from torch import Tensor, nn

import record
from autodropout.augmenting import augmented_dropout, backward_dropout, forward_dropout
from autodropout.models.convnet_quick import ConvNetQuick
from autodropout.models.lenet import LeNet
from layers import compared, step
from networks import WideNet

RATE, BACKWARD_RATE, TARGET = 0.2, 0.0002, 1.1


def steps(model: nn.Module, names: Sequence[str], inputs: Tensor, rounds: int) -> dict[str, object]:
    """Return the ratios of one network's training steps, dropout on the inputs of the named layers."""
    plain, standard, augmented, forward, backward = (copy.deepcopy(model) for _ in range(5))
    for name in names:
        drop = nn.Dropout(RATE)
        standard.get_submodule(name).register_forward_pre_hook(
            lambda _, args, drop=drop: (drop(args[0]), *args[1:])
        )
    augmented_dropout(augmented, names, RATE, BACKWARD_RATE)
    forward_dropout(forward, names, RATE)
    backward_dropout(backward, names, RATE)
    cases = {
        "nn.Dropout": standard,
        "no dropout": plain,
        "augmented": augmented,
        "forward": forward,
        "backward": backward,
    }
    runs = {name: step(case, inputs) for name, case in cases.items()}
    return compared(runs, rounds, dict.fromkeys(("augmented", "forward", "backward"), TARGET))


def main() -> None:
    """Measure the steps and write results/augmented.json."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=15, help="repetitions of each measurement")
    options = parser.parse_args()
    torch.set_num_threads(1)
    wide = WideNet()
    second = [name for name, _ in wide.named_modules() if name.endswith("conv2")]
    figures = {
        "LeNet, batch 100, input of fc2": steps(LeNet(), ["fc2"], torch.rand(100, 1, 28, 28), options.rounds),
        "ConvNet-Quick, batch 100, inputs of fc1 and fc2": steps(
            ConvNetQuick(), ["fc1", "fc2"], torch.randn(100, 3, 32, 32), options.rounds
        ),
        "WRN-28-2, batch 32, between the two convolutions of each block": steps(
            wide, second, torch.randn(32, 3, 32, 32), options.rounds
        ),
    }
    record.write("augmented", figures)


if __name__ == "__main__":
    main()
