"""One training's checkpoint: tensors in a safetensors file, everything else as JSON in its header."""

import json
import os
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Protocol

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from autodropout.errors import DataError, UsageError

CHECKPOINT = "checkpoint.safetensors"

_SCHEMA = 1
_MODEL, _OPTIMISER, _RANDOM, _CARRIED = "model.", "optimiser.", "random.", "carried."


class Carried(Protocol):
    """What a training takes from step to step beside model and optimiser, such as a memory of the text."""

    def tensors(self) -> Mapping[str, Tensor]:
        """Return what it holds, by name."""
        ...

    def restore(self, tensors: Mapping[str, Tensor]) -> None:
        """Take back what ``tensors`` returned, on the model's device."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Saved:
    """What a training knows beside its tensors.

    Attributes:
        steps: Optimiser steps made.
        curve: Measured so far.
        loss: Mean loss when last looked at.
        total: Sum of the losses since the last measurement.
        since: Steps in that sum.
        finite: Whether the loss has stayed finite.
        stopped: Whether it was stopped early.
        seconds: Time spent.
        adaptive: State of each adaptive dropout on the model, in the order in which they were applied.
    """

    steps: int
    curve: tuple[float, ...]
    loss: float
    total: float
    since: int
    finite: bool
    stopped: bool
    seconds: float
    adaptive: tuple[dict[str, object], ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Saving:
    """Where a training keeps its checkpoint, and what training it is.

    The file is written under another name first, so that a kill at any moment leaves a whole one. It holds
    the weights, the optimiser's tensors, what else is carried from step to step, the states of the random
    generators and the curve.

    Attributes:
        folder: Directory, made when the first checkpoint is written.
        identity: Says what is trained: task, policy and seed, for example. Another training's checkpoint is
            refused instead of being gone on with.
        every: Seconds between two checkpoints; there is one at the end in any case.
    """

    folder: Path
    identity: str
    every: float = 60.0

    @property
    def path(self) -> Path:
        """The file."""
        return self.folder / CHECKPOINT

    def write(
        self,
        model: nn.Module,
        optimiser: torch.optim.Optimizer,
        saved: Saved,
        carried: Carried | None = None,
    ) -> None:
        """Keep the state of a training.

        Raises:
            UsageError: The file cannot be written.
        """
        tensors = {
            name: tensor.detach().to("cpu").clone(memory_format=torch.contiguous_format)
            for name, tensor in _tensors(model, optimiser, carried)
        }
        header = {"schema": _SCHEMA, "identity": self.identity, **asdict(saved)}
        draft = self.path.with_name(f"{CHECKPOINT}.{os.getpid()}")
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            save_file(tensors, draft, {"training": json.dumps(header)})
            with draft.open("rb+") as file:
                os.fsync(file.fileno())
            os.replace(draft, self.path)
        except (OSError, SafetensorError) as error:
            raise UsageError(
                f"the checkpoint {self.path} cannot be written ({error}); make room or name another "
                "directory; the earlier one, if any, is whole"
            ) from error
        finally:
            with suppress(OSError):
                draft.unlink()

    def read(
        self, model: nn.Module, optimiser: torch.optim.Optimizer, carried: Carried | None = None
    ) -> Saved | None:
        """Put the state that was kept back into model, optimiser and random generators.

        Args:
            model: As training begins with, on its device.
            optimiser: Over its parameters.
            carried: What else gets back what it held.

        Returns:
            The rest of the state; None where there is no checkpoint.

        Raises:
            UsageError: The checkpoint is of another training.
            DataError: The file is damaged.
        """
        if not self.path.exists():
            return None
        try:
            with safe_open(self.path, "pt") as file:
                header = json.loads((file.metadata() or {}).get("training", "{}"))
                tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        except (SafetensorError, ValueError, OSError) as error:
            raise DataError(
                f"the checkpoint {self.path} is damaged ({error}); remove it to train from the beginning"
            ) from error
        saved = self._checked(header)
        model.load_state_dict(_within(tensors, _MODEL))
        _restore_optimiser(optimiser, _within(tensors, _OPTIMISER))
        if carried is not None:
            device = next(model.parameters()).device
            carried.restore({name: t.to(device) for name, t in _within(tensors, _CARRIED).items()})
        _restore_generators(_within(tensors, _RANDOM))
        return saved

    def _checked(self, header: dict[str, object]) -> Saved:
        schema, identity = header.pop("schema", None), header.pop("identity", None)
        if schema != _SCHEMA:
            raise DataError(
                f"the checkpoint {self.path} has schema {schema!r}; expected {_SCHEMA}: remove it to train "
                "from the beginning"
            )
        if identity != self.identity:
            raise UsageError(
                f"{self.folder} holds the checkpoint of another training: {identity}; this one is "
                f"{self.identity}; name another directory"
            )
        curve = header.pop("curve")
        assert isinstance(curve, list)
        adaptive = header.pop("adaptive", [])
        assert isinstance(adaptive, list)
        return Saved(curve=tuple(curve), adaptive=tuple(adaptive), **header)  # type: ignore[arg-type]


def saved_weights(folder: Path) -> dict[str, Tensor]:
    """Return the model's state_dict out of a checkpoint.

    Args:
        folder: Its directory.
    """
    with safe_open(folder / CHECKPOINT, "pt") as file:
        return {
            name.removeprefix(_MODEL): file.get_tensor(name)
            for name in file.keys()  # noqa: SIM118
            if name.startswith(_MODEL)
        }


def _tensors(
    model: nn.Module, optimiser: torch.optim.Optimizer, carried: Carried | None
) -> Iterator[tuple[str, Tensor]]:
    for name, tensor in model.state_dict().items():
        yield f"{_MODEL}{name}", tensor
    for number, state in optimiser.state_dict()["state"].items():
        for name, value in state.items():
            if isinstance(value, Tensor):
                yield f"{_OPTIMISER}{number}.{name}", value
    for name, tensor in ({} if carried is None else carried.tensors()).items():
        yield f"{_CARRIED}{name}", tensor
    yield f"{_RANDOM}cpu", torch.get_rng_state()
    if torch.cuda.is_initialized():  # type: ignore[no-untyped-call]
        for number, random in enumerate(torch.cuda.get_rng_state_all()):
            yield f"{_RANDOM}cuda.{number}", random


def _within(tensors: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): t for name, t in tensors.items() if name.startswith(prefix)}


def _restore_optimiser(optimiser: torch.optim.Optimizer, tensors: Mapping[str, Tensor]) -> None:
    state: dict[int, dict[str, Tensor]] = {}
    for place, tensor in tensors.items():
        number, _, name = place.partition(".")
        state.setdefault(int(number), {})[name] = tensor
    optimiser.load_state_dict(optimiser.state_dict() | {"state": state})


def _restore_generators(tensors: Mapping[str, Tensor]) -> None:
    torch.set_rng_state(tensors["cpu"])
    for name, state in tensors.items():
        kind, _, number = name.partition(".")
        if kind == "cuda" and int(number) < torch.cuda.device_count():
            torch.cuda.set_rng_state(state, int(number))
