"""What is tried, without weights: timm's networks, torchvision's classifiers, families of Hugging Face's."""

import fnmatch
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import timm
import torch
import torchvision
from timm.models import _registry
from torch import Tensor, nn

from model_check import Inputs, call
from quick_init import quick_init
from transformer_zoo import TINY

SIDE = 96
TOO_LARGE = 700e6  # parameters

_REDUCTIONS: Sequence[dict[str, Any]] = (
    {"depth": 2},
    {"depths": (1, 1, 2, 1)},
    {"depths": (1, 1, 1, 1)},
    {"layers": (1, 1, 1, 1)},
)
"""Arguments of timm's builders that leave out layers which are like the others."""


class CannotRunError(Exception):
    """A model cannot be built or run here; the text says why."""


def names(library: str, pattern: str = "*") -> list[str]:
    """Return the names of networks that match a glob: each family's first, then the second of each family."""
    found = fnmatch.filter(_NAMES[library](), pattern)
    families: Mapping[str, list[str]] = defaultdict(list)
    for name in found:
        families[family(library, name)].append(name)
    return sorted(found, key=lambda name: families[family(library, name)].index(name))


def family(library: str, name: str) -> str:
    """Return the file in which a library keeps the network."""
    if library == "timm":
        return _registry._model_to_module[name]
    if library == "transformers":
        return name
    return torchvision.models.get_model_builder(name).__module__.rpartition(".")[2]


@dataclass(frozen=True, slots=True, kw_only=True)
class Built:
    """A network that runs.

    Attributes:
        model: Random weights, none of them all zeros; ten classes where it has classes.
        inputs: A batch that it takes.
        side: Height and width of its images in pixels; None where it takes none.
        reduced: It has fewer layers than its name says.
    """

    model: nn.Module
    inputs: Inputs
    side: int | None
    reduced: bool


def build(library: str, name: str) -> Built:
    """Build a network that takes images of 96 pixels, or else of the size it is made for.

    Raises:
        CannotRunError: It is too large, its builder fails, or it runs with neither.
    """
    if library == "transformers":
        model, inputs = TINY[name].build(), TINY[name].batch()
        _wake(model)
        return Built(model=model, inputs=inputs, side=None, reduced=True)
    reasons = []
    for arguments, side, reduced in _ways(library, name):
        try:
            model = _made(library, name, arguments)
            call(model.train(), images(side))
        except Exception as error:
            reasons.append(f"{type(error).__name__}: {' '.join(str(error).split())[:160]}")
            continue
        return Built(model=model, inputs=images(side), side=side, reduced=reduced)
    raise CannotRunError(reasons[0])


def images(side: int) -> Tensor:
    """Return the two images that every network gets."""
    return torch.randn(2, 3, side, side, generator=torch.Generator().manual_seed(0))


def _made(library: str, name: str, arguments: Mapping[str, Any]) -> nn.Module:
    torch.manual_seed(0)
    with quick_init():
        model = _make(library, name, arguments)
    _wake(model)
    return model


def _wake(model: nn.Module) -> None:
    """Give parameters that begin as zeros small values: behind them no pattern would show."""
    with torch.no_grad(), quick_init():
        for parameter in model.parameters():
            if not parameter.any():
                parameter.normal_(std=0.1)


def _ways(library: str, name: str) -> Iterator[tuple[dict[str, Any], int, bool]]:
    """Yield arguments, side and whether layers are missing: what is cheap first."""
    argument = "image_size" if library == "torchvision" and name.startswith("vit") else "img_size"
    sided: list[tuple[dict[str, Any], int]] = [({argument: SIDE}, SIDE), ({}, SIDE)]
    sided += [({}, side) for side in _own_sides(library, name)]
    if library == "timm":
        yield from ((given | fewer, side, True) for given, side in sided for fewer in _REDUCTIONS)
    if (size := _num_parameters(library, name)) > TOO_LARGE:
        raise CannotRunError(f"{size / 1e6:.0f} million parameters, and it takes no smaller depth")
    yield from ((given, side, False) for given, side in sided)


def _own_sides(library: str, name: str) -> Sequence[int]:
    if library == "torchvision":
        return (224, 299)
    config = timm.get_pretrained_cfg(name, allow_unregistered=True)
    return () if config is None else (config.input_size[-1],)


def _num_parameters(library: str, name: str) -> float:
    """Return the number of parameters, 0 where it cannot be known without building."""
    try:
        with torch.device("meta"):
            return sum(parameter.numel() for parameter in _make(library, name, {}).parameters())
    except Exception:
        return 0


def _make(library: str, name: str, arguments: Mapping[str, Any]) -> nn.Module:
    if library == "timm":
        return timm.create_model(name, pretrained=False, num_classes=10, **arguments)
    extra = {"init_weights": False} if name in ("googlenet", "inception_v3") else {}
    return torchvision.models.get_model(name, weights=None, num_classes=10, **extra, **arguments)


def _torchvision_names() -> list[str]:
    """Return the classifiers, the smallest first."""
    found = [
        name
        for name in torchvision.models.list_models(module=torchvision.models)
        if torchvision.models.get_model_builder(name).__module__.count(".") == 2
    ]
    weights = {name: next(iter(torchvision.models.get_model_weights(name))) for name in found}
    return sorted(found, key=lambda name: weights[name].meta["num_params"])


_NAMES: Mapping[str, Callable[[], list[str]]] = {
    "torchvision": _torchvision_names,
    "transformers": lambda: list(TINY),
    "timm": timm.list_models,
}
LIBRARIES = tuple(_NAMES)
