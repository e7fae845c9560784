"""What a dropout layer costs: forward and backward, beside a product with a ready mask and beside peers.

Every figure is a ratio: each round runs all cases of a group one after the other, on one thread, in processor
time, and divides by the first case of that round (h*m: the product with a mask that lies ready at full size,
compiled where the others are). Reported are median, quartile distance and extremes over the rounds.

    python benchmarks/layers.py [--rounds 15] [--only eager,channels_last,bf16,compiled,steps]

timm's figures are left out where timm is not installed.
"""

import argparse
import importlib
import importlib.util
import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import replace

import torch
import torchvision.ops
from torch import Tensor, nn
from torch._dynamo.testing import CompileCounterWithBackend

import record
from autodropout.applying import apply
from autodropout.layers import PatternDropout
from autodropout.pattern import ConvPattern, Pattern, TokenPattern
from autodropout.policy import Policy
from networks import Attending, WideNet

Layer = Callable[[Tensor], Tensor]
Run = Callable[[], object]

MAPS = ((64, 64, 32, 32), (32, 256, 14, 14))
SEQUENCES = (16, 70, 512)
SHARED = ConvPattern(height=3, width=3, stride=2, repeat=2, rotate=30.0)
PER_CHANNEL = replace(SHARED, share_c=False)
BLOCKS = TokenPattern(size=2, stride=1, share_t=True, rate=0.1)
UNITS = TokenPattern(size=1, rate=0.1)
TOKENS = {
    "tokens, blocks share_t": BLOCKS,
    "tokens, plain dropout": UNITS,
    "tokens, words": TokenPattern(size=1, share_c=True, rate=0.1),
    "tokens, variational": TokenPattern(size="whole", share_t=True, rate=0.1),
}
TARGETS = {
    "eager": {"conv, shared": 0.95, "conv, per channel": 1.8, "tokens, blocks share_t": 3.0},
    "channels_last": {"conv, per channel": 4.0},
    "compiled": {"conv, per channel": 1.05},
}


def compared(cases: Mapping[str, Run], rounds: int, targets: Mapping[str, float]) -> dict[str, object]:
    """Run all cases in turn, round after round; return each one's time over the first one's."""
    ratios: dict[str, list[float]] = {name: [] for name in cases}
    seconds: list[float] = []
    base = next(iter(cases))
    for number in range(rounds + 2):
        times = {name: processor_time(run) for name, run in cases.items()}
        if number < 2:  # warm-up
            continue
        seconds.append(times[base])
        for name in cases:
            ratios[name].append(times[name] / times[base])
    figures = {name: record.summary(r, f"x {base}", target=targets.get(name)) for name, r in ratios.items()}
    return figures | {f"{base}, milliseconds": statistics.median(seconds) * 1e3}


def processor_time(run: Run) -> float:
    """Seconds of processor time of one of two runs."""
    began = time.process_time()
    run()
    run()
    return (time.process_time() - began) / 2


def both_ways(layer: Layer, h: Tensor, gradient: Tensor) -> Run:
    """Return forward and backward as one function."""

    def run() -> None:
        layer(h).backward(gradient)
        h.grad = None

    return run


def peers(shape: tuple[int, ...]) -> dict[str, Layer]:
    """Return the layers of other libraries that take such a shape."""
    if len(shape) == 3:
        return {"nn.Dropout": nn.Dropout(0.1), "nn.Dropout1d": nn.Dropout1d(0.1)}
    found: dict[str, Layer] = {
        "nn.Dropout": nn.Dropout(0.1),
        "nn.Dropout2d": nn.Dropout2d(0.1),
        "torchvision drop_block2d": lambda h: torchvision.ops.drop_block2d(h, 0.1, 3),
    }
    if importlib.util.find_spec("timm"):
        drop = importlib.import_module("timm.layers.drop")
        found["timm DropBlock2d, shared"] = drop.DropBlock2d(0.1, 3, couple_channels=True)
        found["timm DropBlock2d, per channel"] = drop.DropBlock2d(0.1, 3, couple_channels=False)
        found["timm DropPath"] = drop.DropPath(0.1)
    return found


def ours(shape: tuple[int, ...]) -> dict[str, Pattern]:
    """Return our patterns for a shape."""
    return {"conv, shared": SHARED, "conv, per channel": PER_CHANNEL} if len(shape) == 4 else dict(TOKENS)


def layer_cost(shape: tuple[int, ...], kind: str, rounds: int) -> dict[str, object]:
    """Return the ratios of all layers for one shape, eager, compiled, in channels_last or in bfloat16."""
    torch.compiler.reset()
    dtype = torch.bfloat16 if kind == "bf16" else torch.float32
    memory = torch.channels_last if kind == "channels_last" else torch.contiguous_format
    h, gradient, mask = (torch.randn(shape).to(dtype).contiguous(memory_format=memory) for _ in range(3))
    h.requires_grad_()
    mask = (mask > -1.28).to(dtype)
    layers: dict[str, Layer] = {"h*m": lambda h: h * mask}
    if kind == "eager":
        layers |= {"clone": torch.clone} | peers(shape)
    else:
        layers["nn.Dropout"] = nn.Dropout(0.1)
    layers |= {name: PatternDropout(pattern) for name, pattern in ours(shape).items()}
    if kind == "compiled":
        layers = {name: torch.compile(layer, fullgraph=True) for name, layer in layers.items()}
    runs = {name: both_ways(layer, h, gradient) for name, layer in layers.items()}
    figures = compared(runs, rounds, TARGETS.get(kind, {}))
    if kind == "eager" and len(shape) == 3:
        cases = {name: runs[name] for name in ("nn.Dropout", "tokens, plain dropout")}
        figures["beside nn.Dropout"] = compared(cases, rounds, {"tokens, plain dropout": 0.5})
    return figures


def step(model: nn.Module, inputs: Tensor) -> Run:
    """Return one whole training step of a model."""
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-4, momentum=0.9)

    def run() -> None:
        optimizer.zero_grad()
        model(inputs).square().mean().backward()
        optimizer.step()

    return run


def wide_net_steps(rounds: int) -> dict[str, object]:
    """Return the time of a training step with every site on, over that with none."""
    images = torch.randn(32, 3, 32, 32)
    runs = {"no dropout": step(WideNet(), images)}
    for name, pattern in {"shared": SHARED, "per channel": PER_CHANNEL}.items():
        model = WideNet()
        sites = [site for site, module in model.named_modules() if isinstance(module, nn.BatchNorm2d)]
        apply(model, Policy(dict.fromkeys(sites, pattern)))
        runs[name] = step(model, images)
    if importlib.util.find_spec("timm"):
        drop = importlib.import_module("timm.layers.drop")
        for name, couple in {"timm, shared": True, "timm, per channel": False}.items():
            model = WideNet()
            for module in [m for m in model.modules() if isinstance(m, nn.BatchNorm2d)]:
                layer = drop.DropBlock2d(0.1, 3, couple_channels=couple)
                module.register_forward_hook(lambda _, __, h, layer=layer: layer(h))
            runs[name] = step(model, images)
    return compared(runs, rounds, {"shared": 1.02, "per channel": 1.08})


def transformer_steps(rounds: int) -> dict[str, object]:
    """Return the time of a training step of four blocks with six layers of dropout each."""
    tokens = torch.randn(16, 70, 256)
    kinds: dict[str, Callable[[], nn.Module]] = {
        "no dropout": nn.Identity,
        "nn.Dropout": lambda: nn.Dropout(0.1),
        "tokens, plain dropout": lambda: PatternDropout(UNITS),
        "tokens, blocks share_t": lambda: PatternDropout(BLOCKS),
    }
    runs = {
        name: step(nn.Sequential(*[Attending(256, 4, drop) for _ in range(4)]), tokens)
        for name, drop in kinds.items()
    }
    return compared(runs, rounds, {})


def kept_for_backward(shape: tuple[int, ...]) -> dict[str, object]:
    """Return the bytes per element that each layer saves for its backward pass."""

    def saved(layer: Layer) -> float:
        storages: dict[int, int] = {}

        def pack(tensor: Tensor) -> Tensor:
            storage = tensor.untyped_storage()
            storages[storage.data_ptr()] = storage.nbytes()
            return tensor

        h = torch.randn(shape, requires_grad=True)
        with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
            y = layer(h)
        storages.pop(h.untyped_storage().data_ptr(), None)
        return sum(storages.values()) / y.numel()

    layers = peers(shape) | {name: PatternDropout(pattern) for name, pattern in ours(shape).items()}
    return {name: saved(layer) for name, layer in layers.items()}


def compilations(steps: int = 1000) -> int:
    """Return how many graphs a schedule over so many steps compiles."""
    torch.compiler.reset()
    layer, backend = PatternDropout(PER_CHANNEL), CompileCounterWithBackend("eager")
    compiled, h = torch.compile(layer, fullgraph=True, backend=backend), torch.randn(2, 3, 14, 14)
    for number in range(steps):
        layer.set_strength(number / (steps - 1))
        compiled(h)
    return backend.frame_count


def table(figures: Mapping[str, object]) -> str:
    """Return the figures of all groups as lines of Markdown."""
    lines = ["| measured | case | ratio | spread | target |", "|---|---|---|---|---|"]
    for group, cases in figures.items():
        for name, figure in cases.items() if isinstance(cases, dict) else ():
            if isinstance(figure, dict) and "median" in figure:
                numbers = f"{figure['median']:.2f} | {figure['spread']:.2f} | {figure.get('target') or ''}"
                lines.append(f"| {group} | {name} | {numbers} |")
    return "\n".join(lines)


def main() -> None:
    """Measure everything, print the table and write results/layers.json."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=15, help="repetitions of each measurement")
    parser.add_argument("--only", default="eager,channels_last,bf16,compiled,steps", help="parts to run")
    options = parser.parse_args()
    torch.set_num_threads(1)
    figures: dict[str, object] = {}
    for kind in options.only.split(","):
        if kind == "steps":
            figures["training step, WRN-28-2"] = wide_net_steps(options.rounds)
            figures["training step, Transformer"] = transformer_steps(options.rounds)
            continue
        for shape in (*MAPS, SEQUENCES):
            if len(shape) == 4 or kind != "channels_last":
                figures[f"{kind} {shape}"] = layer_cost(shape, kind, options.rounds)
    figures["bytes per element kept for backward"] = {
        str(s): kept_for_backward(s) for s in (*MAPS, SEQUENCES)
    }
    figures["compilations over a schedule of 1,000 steps"] = compilations()
    record.write("layers", figures)
    print(table(figures))


if __name__ == "__main__":
    main()
