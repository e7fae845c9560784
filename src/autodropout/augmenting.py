"""Forward, backward and augmented dropout onto the consumers of a built model, and off again."""

from collections.abc import Callable, Sequence
from contextlib import ExitStack

from torch import nn

from autodropout.applied import Applied
from autodropout.applying import check_model
from autodropout.attach import named_module
from autodropout.augmented.consumer import is_consumer
from autodropout.augmented.layer import AugmentedDropout, unsupported_text
from autodropout.consuming import put
from autodropout.naming import meant


def augmented_dropout(
    model: nn.Module,
    names: str | Sequence[str],
    rate: float = 0.2,
    backward_rate: float = 0.0002,
    *,
    multiply: bool = True,
    seed: int | None = None,
) -> Applied[AugmentedDropout]:
    """Drop what some layers consume, with more noise in the backward pass than in the forward pass.

    eps_b = eps_f * eps, where eps_f is drawn with ``rate`` and eps with ``backward_rate`` (Demystifying
    Dropout, Eqs. 7 to 10). With ``backward_rate=0`` it is standard dropout. The model's own dropout before
    these layers should be off. Parameters, ``state_dict`` and evaluation stay as they are.

    Args:
        model: Any module, not yet compiled or wrapped for parallel training.
        names: The layers that consume the dropped features: names or globs (whose ``*`` stops at dots) of
            Linear, Conv1d, Conv2d or Conv3d modules. Each draws its own mask at each call; with a seed, one
            for all calls of a step.
        rate: Forward ratio, 0 <= rate < 1.
        backward_rate: Backward ratio, 0 <= backward_rate < 1.
        multiply: False draws eps_b by itself with ``backward_rate``, as Eq. 10 is printed; by default the
            sentence on the implementation holds.
        seed: None draws from the device's default generator; a number makes masks a pure function of
            (seed, data-parallel rank, name, step), see ``Applied.step``.

    Returns:
        A handle that steers and removes; also a context manager.

    Raises:
        SiteError: A name matches no module, or one that is no such layer.
        ApplyError: The model is compiled, wrapped or scripted, or such a layer has one already.
        UsageError: A ratio is out of range, or there are no names.

    Example:
        >>> net = nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 3))
        >>> with augmented_dropout(net, "2", rate=0.5, backward_rate=0.01) as applied:
        ...     net(torch.randn(4, 8)).sum().backward()
        >>> applied.layers["2"].fired
        True
    """

    def make(name: str) -> AugmentedDropout:
        return AugmentedDropout(rate, backward_rate, multiply=multiply, site=name, seed=seed)

    return _onto_consumers(model, names, make)


def forward_dropout(
    model: nn.Module, names: str | Sequence[str], rate: float = 0.2, *, seed: int | None = None
) -> Applied[AugmentedDropout]:
    """Drop what some layers consume in the forward pass; the backward pass sees all of it (Definition 1).

    z = W (h * eps) + b, dJ/dW = delta h^T, dJ/dh = W^T delta (Demystifying Dropout, Section 4.2).

    Args:
        model: Any module, not yet compiled or wrapped for parallel training.
        names: The layers that consume the dropped features, as in ``augmented_dropout``.
        rate: Ratio of the forward pass, 0 <= rate < 1; what is kept is scaled by 1 / (1 - rate).
        seed: As in ``augmented_dropout``.

    Returns:
        A handle that steers and removes; also a context manager.

    Raises:
        SiteError: A name matches no module, or one that is no such layer.
        ApplyError: The model is compiled, wrapped or scripted, or such a layer has one already.
        UsageError: The ratio is out of range, or there are no names.

    Example:
        >>> net = nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 3))
        >>> forward_dropout(net, "2", rate=0.05).layers["2"]
        AugmentedDropout(rate=0.05, backward_rate=0, multiply=False, site=2)
    """
    return augmented_dropout(model, names, rate, 0.0, multiply=False, seed=seed)


def backward_dropout(
    model: nn.Module, names: str | Sequence[str], rate: float = 0.2, *, seed: int | None = None
) -> Applied[AugmentedDropout]:
    """Drop what some layers consume in the backward pass; the forward pass sees all of it (Definition 2).

    z = W h + b, dJ/dW = delta (h * eps)^T, dJ/dh = (W^T delta) * eps (Demystifying Dropout, Section 4.2).

    Args:
        model: Any module, not yet compiled or wrapped for parallel training.
        names: The layers whose gradients are disturbed, as in ``augmented_dropout``.
        rate: Ratio of the backward pass, 0 <= rate < 1; what is kept is scaled by 1 / (1 - rate).
        seed: As in ``augmented_dropout``.

    Returns:
        A handle that steers and removes; also a context manager.

    Raises:
        SiteError: A name matches no module, or one that is no such layer.
        ApplyError: The model is compiled, wrapped or scripted, or such a layer has one already.
        UsageError: The ratio is out of range, or there are no names.

    Example:
        >>> net = nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 3))
        >>> backward_dropout(net, "2", rate=0.05).layers["2"]
        AugmentedDropout(rate=0, backward_rate=0.05, multiply=False, site=2)
    """
    return augmented_dropout(model, names, 0.0, rate, multiply=False, seed=seed)


def _onto_consumers(
    model: nn.Module, names: str | Sequence[str], make: Callable[[str], AugmentedDropout]
) -> Applied[AugmentedDropout]:
    check_model(model)
    layers = {name: make(name) for name in meant(model, names, _refusal)}
    with ExitStack() as undo:
        closings = []
        for name, layer in layers.items():
            closings.append(put(named_module(model, name), name, layer))
            undo.callback(closings[-1].close)
        undo.pop_all()
    return Applied(model, None, layers, closings, None, next(iter(layers.values())).seed)


def _refusal(module: nn.Module) -> str | None:
    return None if is_consumer(module) else unsupported_text(module)
