"""What a policy costs in a training step of WRN-28-2 on a GPU: bfloat16, channels last, compiled.

Every figure is a ratio: each round runs all cases one after the other and divides by the same round's step
without a policy. Steps are timed by the device's own events, several at a time. Target: at most 1.10 with a
pattern on every site. How many trials should share one GPU is measured by: autodropout calibrate
cifar10-wrn28-2 --slots 1,2,4,8 --budget 0.1

    python benchmarks/gpu.py [--rounds 15] [--batch 128] [--plain]

Without a GPU it says so and measures nothing. --plain leaves the compiler out.
"""

import argparse
import sys
from collections.abc import Callable
from dataclasses import replace

import torch
from torch import nn
from torch.nn import functional as F

import record
from autodropout.applying import apply
from autodropout.families import find_sites
from autodropout.pattern import ConvPattern
from autodropout.policy import Policy
from autodropout.tasks.images.networks import Wrn

TARGET = 1.10
STEPS = 20
SHARED = ConvPattern(height=3, width=3, stride=2, repeat=2, rotate=30.0)
PATTERNS = {"shared": SHARED, "per channel": replace(SHARED, share_c=False)}
Run = Callable[[], object]


def stepping(pattern: ConvPattern | None, batch: int, device: str, *, compiled: bool) -> Run:
    """Return one whole training step of WRN-28-2 with a pattern on every site."""
    net: nn.Module = Wrn(depth=28, width=2).build(10, 3).to(device, memory_format=torch.channels_last)
    if pattern is not None:
        apply(net, Policy(dict.fromkeys([site.name for site in find_sites(net)], pattern)))
    trained = torch.compile(net) if compiled else net
    images = torch.randn(batch, 3, 32, 32, device=device).contiguous(memory_format=torch.channels_last)
    labels = torch.randint(10, (batch,), device=device)
    optimizer = torch.optim.SGD(net.parameters(), lr=1e-4, momentum=0.9, nesterov=True, fused=True)

    def run() -> None:
        optimizer.zero_grad()
        with torch.autocast(device, torch.bfloat16):
            loss = F.cross_entropy(trained(images), labels)
        loss.backward()
        optimizer.step()

    return run


def milliseconds(run: Run) -> float:
    """Return the device's time of one of several steps."""
    start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    start.record()
    for _ in range(STEPS):
        run()
    end.record()
    torch.cuda.synchronize()
    return start.elapsed_time(end) / STEPS


def ratios(runs: dict[str, Run], rounds: int, timed: Callable[[Run], float]) -> dict[str, object]:
    """Return every case's time over the first one's, and the first one's own."""
    for run in runs.values():
        run()  # compiles
        timed(run)
    times = [{name: timed(run) for name, run in runs.items()} for _ in range(rounds)]
    base, *others = runs
    return {"no policy": record.summary([found[base] for found in times], "milliseconds")} | {
        name: record.summary([found[name] / found[base] for found in times], "x no policy", target=TARGET)
        for name in others
    }


def main() -> None:
    """Measure on the GPU, if there is one, and write results/gpu.json."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=15, help="repetitions of each measurement")
    parser.add_argument("--batch", type=int, default=128, help="images per step")
    parser.add_argument("--plain", action="store_true", help="without the compiler")
    given = parser.parse_args()
    if not torch.cuda.is_available():
        sys.stdout.write("no GPU is visible: nothing was measured\n")
        return
    torch.manual_seed(0)
    cases: dict[str, ConvPattern | None] = {"no policy": None, **PATTERNS}
    runs = {
        name: stepping(pattern, given.batch, "cuda", compiled=not given.plain)
        for name, pattern in cases.items()
    }
    figures = {"device": torch.cuda.get_device_name(), "images per step": given.batch}
    record.write("gpu", figures | ratios(runs, given.rounds, milliseconds))


if __name__ == "__main__":
    main()
