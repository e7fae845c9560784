"""What it costs to refresh the rates of adaptive dropout, beside the training steps between two refreshes.

Every figure is a ratio: each round times a training step with adaptive dropout and a refresh by each method,
one after the other, on one thread, in processor time. A refresh every 100 steps costs its ratio to a step in
percent of training. Target: at most 5 percent. Integrated gradients pass 16 times through the network for
each site: of WRN-28-2, one site stands for all. DeepLIFT refuses networks whose activations are functions, as
LeNet's and WRN-28-2's are here; timm's ResNet-18 (extras images and adaptive) is there for it.

    python benchmarks/adaptive.py [--rounds 15]
"""

import argparse
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

import record
from autodropout.adapting import Refreshing, adaptive_dropout
from autodropout.attribution import METHODS, Method
from autodropout.families import find_sites
from autodropout.models.lenet import LeNet
from autodropout.models.photograph_nets import resnet
from layers import compared
from networks import WideNet

TARGET = 5.0


def costs(
    model: nn.Module,
    names: Sequence[str],
    inputs: Tensor,
    rounds: int,
    methods: Sequence[Method] = ("lrp", "gradient", "integrated_gradients"),
) -> dict[str, object]:
    """Return the time of a refresh over that of a training step with the same batch."""
    targets = torch.randint(10, (len(inputs),))
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-4, momentum=0.9)
    adaptive = adaptive_dropout(model, names)

    def step() -> None:
        optimizer.zero_grad()
        F.cross_entropy(model(inputs), targets).backward()
        optimizer.step()

    def refresh(method: Method) -> None:
        adaptive.refreshing = Refreshing(method=method)
        adaptive.refresh(inputs, targets)

    cases = {"a training step": step}
    cases |= {f"a refresh, {method}": lambda method=method: refresh(method) for method in methods}
    return compared(cases, rounds, dict.fromkeys(list(cases)[1:], TARGET))


def main() -> None:
    """Measure the refreshes and write results/adaptive.json."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=15, help="repetitions of each measurement")
    options = parser.parse_args()
    torch.set_num_threads(1)
    wide = WideNet()
    norms = [name for name, module in wide.named_modules() if isinstance(module, nn.BatchNorm2d)]
    residual = resnet(18, 0.25, 10)
    between = [site.name for site in find_sites(residual) if site.consumer is not None]
    figures = {
        "LeNet, batch 100, conv1, conv2, fc1": costs(
            LeNet(), ["conv1", "conv2", "fc1"], torch.rand(100, 1, 28, 28), options.rounds
        ),
        "WRN-28-2, batch 32, all normalisations": costs(
            wide, norms, torch.randn(32, 3, 32, 32), options.rounds, ("lrp", "gradient")
        ),
        "WRN-28-2, batch 32, the last normalisation": costs(
            WideNet(), norms[-1:], torch.randn(32, 3, 32, 32), options.rounds
        ),
        "ResNet-18, a quarter as wide, batch 64, between convolutions": costs(
            residual, between, torch.randn(64, 3, 64, 64), options.rounds, METHODS
        ),
    }
    record.write("adaptive", figures)


if __name__ == "__main__":
    main()
