"""A policy in the Hugging Face Trainer: ``Trainer(..., callbacks=[PolicyCallback(policy)])``."""

import warnings
from collections.abc import Sequence
from types import TracebackType
from typing import Any, Self

from torch import nn

from autodropout.applied import Applied, Existing
from autodropout.choosing import Layouts
from autodropout.errors import MissingError, UsageError
from autodropout.integrations.steering import Order, Steering
from autodropout.layers import PatternDropout
from autodropout.policy import Policy

try:
    from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments
    from transformers.trainer_callback import ExportableState
except ImportError as error:
    raise MissingError(
        "autodropout.integrations.huggingface needs transformers and accelerate, which are not installed; "
        "install them with: pip install transformers accelerate"
    ) from error


class PolicyCallback(TrainerCallback, ExportableState):  # type: ignore[misc]  # imports are not followed
    """Applies a policy when training begins and removes it when training ends.

    Schedules follow global_step / max_steps. Checkpoints carry progress and step in the Trainer's own
    ``trainer_state.json``, so that a run that is resumed with ``seed=`` drops what the uninterrupted one
    would have. The Trainer tells callbacks nothing of an exception: use the callback as a context manager
    where the model is needed after one. ``train`` called again cleans up by itself.

    Args:
        policy: What to drop where, or its JSON, from which the Trainer rebuilds the callback under
            ``restore_callback_states_from_checkpoint``.
        submodule: Dotted name of the part of the model that the policy's names start from; ``""`` is all.
        existing: ``"off"`` silences the model's own dropout until the end; ``"keep"`` leaves it alone.
        seed: Makes each mask a pure function of (seed, rank, site, number of the micro-batch).
        layouts: Further sites: name or glob of modules to the axes of their outputs.
        protect: For a Hugging Face model: padding is left out of every mask, and so are the tokens with
            these ids, such as ``tokenizer.all_special_ids``. None: every token is like any other.

    Raises:
        UsageError: The policy or another argument is none.
        PatternError: The JSON is no policy.

    Example:
        >>> PolicyCallback(Policy({}), seed=0).applied is None
        True
    """

    def __init__(
        self,
        policy: Policy | str,
        *,
        submodule: str = "",
        existing: Existing = "keep",
        seed: int | None = None,
        layouts: Layouts | None = None,
        protect: Sequence[int] | None = None,
    ) -> None:
        known = Policy.from_json(policy) if isinstance(policy, str) else policy
        order = Order(
            policy=known, submodule=submodule, existing=existing, seed=seed, layouts=layouts, protect=protect
        )
        self._steering = Steering(order)

    @property
    def applied(self) -> Applied[PatternDropout] | None:
        """What is applied, or was in the last training; None before the first."""
        return self._steering.applied

    def state(self) -> dict[str, Any]:
        """Return what a checkpoint keeps: how to build this callback again, and where the run is."""
        order = self._steering.order
        return {
            "args": {
                "policy": order.policy.to_json(),
                "submodule": order.submodule,
                "existing": order.existing,
                "seed": order.seed,
                "layouts": None if order.layouts is None else dict(order.layouts),
                "protect": None if order.protect is None else list(order.protect),
            },
            "attributes": {},
            "run": self._steering.state_dict(),
        }

    def on_train_begin(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        *,
        model: nn.Module,
        **_: object,
    ) -> None:
        """Apply the policy; go on where the checkpoint ended, if training does."""
        kept = state.stateful_callbacks.setdefault(type(self).__name__, {})
        if isinstance(kept, list):
            raise UsageError(
                f"this Trainer has several callbacks of type {type(self).__name__} and keeps one state for "
                "all; join their policies into one"
            )
        resumes = state.global_step > 0
        run = (kept.get("run") or None) if resumes else None
        if resumes and run is None:
            warnings.warn(
                "the checkpoint holds no state of a policy; the policy begins with it", stacklevel=2
            )
        self._steering.begin(model, run)

    def on_step_begin(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        **_: object,
    ) -> None:
        """Set progress, and with a seed the step, for the first micro-batch of an update."""
        self._steering.next_batch(state.global_step / state.max_steps)

    def on_substep_end(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        **_: object,
    ) -> None:
        """Set them for the next micro-batch of the same update."""
        self._steering.next_batch(state.global_step / state.max_steps)

    def on_train_end(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        **_: object,
    ) -> None:
        """Give the model back as it was."""
        self.remove()

    def remove(self) -> None:
        """Give the model back as it was. May be called twice."""
        self._steering.remove()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.remove()
