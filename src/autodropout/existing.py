"""The dropout that a model has of its own: finding it, switching it off, giving it back."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from torch import nn
from torch.nn.modules.dropout import _DropoutNd

from autodropout.attach import CHILD
from autodropout.families.norms import full_name

_RATES = {
    "torchvision.ops.stochastic_depth.StochasticDepth": "p",
    "torchvision.ops.drop_block.DropBlock2d": "p",
    "timm.layers.patch_dropout.PatchDropout": "prob",
    "timm.layers.patch_dropout.PatchDropoutWithIndices": "prob",
}
"""Full name of classes to the attribute with their rate, where it does not bear "drop" in its name."""

_NAME = re.compile(r"(?!.*drop_path_rate).*drop")  # timm keeps drop_path_rate as a note; its DropPaths act


@dataclass(frozen=True, slots=True, kw_only=True)
class OwnDropout:
    """One place where a model drops by itself.

    Attributes:
        name: Dotted name of the module; empty for the model itself.
        module: Class name of it.
        attribute: Its attribute that holds the rate.
        rate: The rate, above 0.
    """

    name: str
    module: str
    attribute: str
    rate: float


def own_dropout(model: nn.Module) -> tuple[OwnDropout, ...]:
    """Return where a model drops by itself in training, in the order of its modules.

    These are the modules of PyTorch's dropout family, stochastic depth, DropPath and DropBlock of
    torchvision and timm, and functional dropout that reads its rate from a float attribute with "drop" in
    its name, such as ``nn.MultiheadAttention.dropout`` or timm's ``drop_rate``. A rate that a forward pass
    takes from anywhere else, such as a Hugging Face ``config``, is not seen.
    """
    return tuple(
        OwnDropout(name=name, module=type(module).__name__, attribute=attribute, rate=rate)
        for name, module in model.named_modules()
        if CHILD not in name
        for attribute, rate in rates_of(module)
    )


def rates_of(module: nn.Module) -> Iterator[tuple[str, float]]:
    """Yield the attributes of one module that hold a drop rate above 0, and the rates."""
    names = [name for name in vars(module) if _NAME.match(name)]
    if isinstance(module, _DropoutNd):
        names.append("p")
    names += [_RATES[known] for known in map(full_name, type(module).__mro__) if known in _RATES]
    for name in dict.fromkeys(names):
        rate = getattr(module, name)
        if isinstance(rate, float) and 0.0 < rate <= 1.0:
            yield name, rate


def silence(model: nn.Module) -> "Silenced":
    """Set every rate of a model's own dropout to 0.

    Returns:
        What sets them back.
    """
    rates = [
        (module, attribute, rate)
        for name, module in model.named_modules()
        if CHILD not in name
        for attribute, rate in rates_of(module)
    ]
    for module, attribute, _ in rates:
        setattr(module, attribute, 0.0)
    return Silenced(rates)


class Silenced:
    """Rates that were set to 0; deep copies and pickles of the model carry their own.

    Args:
        rates: Module, attribute and what it held.
    """

    def __init__(self, rates: Sequence[tuple[nn.Module, str, float]]) -> None:
        self._rates = tuple(rates)

    def close(self) -> None:
        """Set the rates back to what they were. May be called twice."""
        for module, attribute, rate in self._rates:
            setattr(module, attribute, rate)
        self._rates = ()
