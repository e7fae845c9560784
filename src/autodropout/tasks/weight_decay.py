"""Which parameters weight decay acts on."""

from torch import nn


def decay_groups(model: nn.Module, weight_decay: float) -> list[dict[str, object]]:
    """Return an optimiser's groups: matrices and kernels decay, biases and norms do not.

    Args:
        model: The model.
        weight_decay: Of what decays.
    """
    parameters = list(model.parameters())
    decayed = [parameter for parameter in parameters if parameter.ndim > 1]
    others = [parameter for parameter in parameters if parameter.ndim <= 1]
    groups: list[dict[str, object]] = [{"params": decayed, "weight_decay": weight_decay}]
    return [*groups, {"params": others, "weight_decay": 0.0}] if others else groups
