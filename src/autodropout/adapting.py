"""Adaptive dropout onto a built model: layers on its sites, and rates refreshed while it trains."""

import math
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from autodropout.adaptive import DEFAULTS, AdaptiveDropout, AdaptiveSettings
from autodropout.applied import Applied
from autodropout.applying import check_model
from autodropout.attach import RATES, attach, named_module
from autodropout.attribution import METHODS, Method, relevance
from autodropout.attribution.methods import units_of
from autodropout.errors import ApplyError, UsageError
from autodropout.naming import meant
from autodropout.policy import SCHEDULES, Schedule, scheduled
from autodropout.site import Closing


@dataclass(frozen=True, slots=True, kw_only=True)
class Refreshing:
    """When and how rates are refreshed.

    Attributes:
        every: Calls of ``Adaptive.observe`` from one refresh to the next.
        method: Of ``autodropout.relevance``.

    Raises:
        UsageError: A value is out of range.
    """

    every: int = 100
    method: Method = "lrp"

    def __post_init__(self) -> None:
        if isinstance(self.every, bool) or not isinstance(self.every, int) or self.every < 1:
            raise UsageError(f"every is {self.every!r}; expected a whole number of at least 1")
        if self.method not in METHODS:
            raise UsageError(f"method is {self.method!r}; expected one of {', '.join(map(repr, METHODS))}")


class Adaptive(Applied[AdaptiveDropout]):
    """Adaptive dropout at work on a model: a handle as ``apply`` returns it, which refreshes rates.

    ``adaptive_dropout`` makes it.

    Args:
        model: The model.
        layers: Site to the layer that acts there.
        attachments: What gives the model back as it was, in the order in which it was changed.
        refreshing: When and how rates are refreshed; the attribute may be set anew.
        schedule: How strength follows ``progress``, as in ``Policy``.
        seed: None for draws from the default generator.
    """

    def __init__(
        self,
        model: nn.Module,
        layers: Mapping[str, AdaptiveDropout],
        attachments: Sequence[Closing],
        *,
        refreshing: Refreshing,
        schedule: Schedule,
        seed: int | None,
    ) -> None:
        self.refreshing = refreshing
        self.schedule = schedule
        self._calls = 0
        super().__init__(model, None, layers, attachments, None, seed)

    def observe(self, inputs: object, targets: Tensor) -> bool:
        """Refresh the rates at the first call and every ``every`` calls; call it once per training step.

        Args:
            inputs: What the model is called with, such as the batch of this step.
            targets: Its classes, see ``autodropout.relevance``.

        Returns:
            Whether rates were refreshed.
        """
        due = self._calls % self.refreshing.every == 0
        if due:
            self.refresh(inputs, targets)
        self._calls += 1
        return due

    def refresh(self, inputs: object, targets: Tensor) -> None:
        """Set the rates by the relevance of these examples and the moving average of earlier ones.

        The model runs once more, forward and backward, in evaluation mode; modes, gradients and running
        statistics stay as they are. In data-parallel training every process calls it.
        """
        self._check_active()
        found = relevance(self._model, inputs, targets, tuple(self.layers), self.refreshing.method)
        for name, layer in self.layers.items():
            layer.observe(found[name])

    def state_dict(self) -> dict[str, object]:
        """Return what must be equal to go on, with the number of calls and every layer's averages."""
        layers = {
            name: {"average": layer.average.tolist(), "observed": int(layer.observed), "rate": layer.rate}
            for name, layer in self.layers.items()
        }
        mine = {"schedule": self.schedule, "calls": self._calls, "layers": layers}
        return super().state_dict() | mine

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from what ``state_dict`` returned: averages and rates are those of then.

        Raises:
            ApplyError: It belongs to other sites, rates or another schedule, or is incomplete or damaged.
        """
        if (theirs := state.get("schedule", self.schedule)) != self.schedule:
            raise ApplyError(
                f"the state is of schedule {theirs!r}, what is applied here of {self.schedule!r}"
            )
        if missing := sorted({"layers", "calls"} - set(state)):
            raise ApplyError(f"the state lacks {missing}; give what state_dict() returned")
        units = {name: len(part["average"]) for name, part in state["layers"].items()}
        mine = {name: layer.num_channels for name, layer in self.layers.items()}
        if units != mine:
            raise ApplyError(f"the state is of the sites {units}, what is applied here of {mine}")
        for name, layer in self.layers.items():
            part = state["layers"][name]
            if (rate := part.get("rate", layer.rate)) != layer.rate:
                raise ApplyError(f'the state has a mean rate of {rate} at "{name}", here it is {layer.rate}')
            if not all(math.isfinite(unit) for unit in part["average"]):
                raise ApplyError(f'the state\'s average at "{name}" is not finite')
        super().load_state_dict(state)
        for name, layer in self.layers.items():
            part = state["layers"][name]
            layer.restore(torch.tensor(part["average"]), part["observed"])
        self._calls = int(state["calls"])

    def _scheduled_strength(self) -> float:
        return scheduled(self.schedule, self.progress)


def adaptive_dropout(
    model: nn.Module,
    names: str | Sequence[str],
    rate: float = 0.2,
    *,
    settings: AdaptiveSettings = DEFAULTS,
    refreshing: Refreshing = Refreshing(),
    schedule: Schedule = "constant",
    seed: int | None = None,
) -> Adaptive:
    """Drop what some modules put out, each unit with a rate that follows how much it matters.

    Call ``observe(inputs, targets)`` of what is returned once per training step. Parameters, ``state_dict``
    and evaluation stay as they are; averages and rates are saved in the handle's ``state_dict``.

    Args:
        model: A classifier, not yet compiled or wrapped for parallel training.
        names: Names or globs (whose ``*`` stops at dots) of Linear, convolution, normalisation, Embedding or
            recurrent modules whose outputs are dropped; of the last, that of all steps, not the last state.
        rate: Mean rate over the units of each module, which is kept.
        settings: How rates follow relevance; ``saved`` has no meaning here.
        refreshing: When and how rates are refreshed.
        schedule: Factor on all rates: ``"constant"`` 1, or as in ``Policy`` by ``Applied.progress``.
        seed: None draws from the device's default generator; a number makes masks a pure function of
            (seed, data-parallel rank, name, step), see ``Applied.step``.

    Returns:
        A handle that refreshes rates, steers and removes; also a context manager.

    Raises:
        SiteError: A name matches no module, or one of another kind.
        ApplyError: The model is compiled, wrapped or scripted, or something stands on a module already.
        UsageError: A number is out of range, the schedule is unknown, or there are no names.

    Example:
        >>> net = nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 3))
        >>> x, y = torch.randn(4, 8), torch.tensor([0, 1, 2, 0])
        >>> with adaptive_dropout(net, "0", rate=0.3) as adaptive:
        ...     refreshed = adaptive.observe(x, y)
        ...     loss = nn.functional.cross_entropy(net(x), y)
        >>> refreshed, round(adaptive.layers["0"].rates.mean().item(), 4)
        (True, 0.3)
    """
    check_model(model)
    if schedule not in SCHEDULES:
        raise UsageError(f"schedule is {schedule!r}; expected one of {', '.join(SCHEDULES)}")
    for given, kind in ((settings, AdaptiveSettings), (refreshing, Refreshing)):
        if not isinstance(given, kind):
            raise UsageError(f"got {given!r}; expected {kind.__module__}.{kind.__name__}(...)")
    settings = replace(settings, saved=False)
    layers = {}
    for name in meant(model, names, _refusal):
        module = named_module(model, name)
        units = units_of(module)
        assert units is not None, "names of other modules are refused"
        layers[name] = AdaptiveDropout(units.count, rate, settings, axis=units.axis, site=name, seed=seed)
        layers[name].batch_axis = _batch_axis(model, name)
    with ExitStack() as undo:
        closings = []
        for name, layer in layers.items():
            module = named_module(model, name)
            tensor = next(iter([*module.parameters(), *module.buffers(), *model.parameters()]), None)
            layer = layer if tensor is None else layer.to(tensor.device)
            closings.append(attach(model, name, [layer], RATES))
            undo.callback(closings[-1].close)
        undo.pop_all()
    return Adaptive(model, layers, closings, refreshing=refreshing, schedule=schedule, seed=seed)


def _refusal(module: nn.Module) -> str | None:
    if units_of(module) is not None:
        return None
    return (
        f"{type(module).__name__} has no known number of units; name a Linear, convolution, normalisation, "
        "recurrent or Embedding module"
    )


def _batch_axis(model: nn.Module, name: str) -> int:
    """Return the axis of the batch: 1 inside what torch has with the steps first, and 0 elsewhere."""
    parts = name.split(".")
    around = [named_module(model, ".".join(parts[:end])) for end in range(len(parts) + 1)]
    return int(any(_has_steps_first(module) for module in around))


def _has_steps_first(module: nn.Module) -> bool:
    match module:
        case nn.TransformerEncoderLayer() | nn.TransformerDecoderLayer():
            return not module.self_attn.batch_first
        case nn.RNNBase() | nn.MultiheadAttention():
            return not module.batch_first
    return False
