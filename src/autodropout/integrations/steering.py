"""What every trainer's callback does: apply at the start, steer each micro-batch, remove at the end."""

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from torch import nn

from autodropout.applied import Existing
from autodropout.applying import Applied, apply, check_options
from autodropout.attach import named_module
from autodropout.choosing import Layouts
from autodropout.errors import ApplyError, UsageError
from autodropout.following import checked_ids
from autodropout.layers import PatternDropout
from autodropout.policy import Policy


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """What to apply, and how.

    Attributes:
        policy: What to drop where.
        submodule: Dotted name of the part of the trained model that the policy is for; ``""`` is all of it.
        existing: As in ``autodropout.apply``.
        seed: As in ``autodropout.apply``; the step is set before each micro-batch.
        layouts: As in ``autodropout.apply``.
        protect: Ids of tokens that are never dropped, for ``Applied.follow``, which leaves padding out, too;
            None does not follow the batches.

    Raises:
        UsageError: The policy is none, or ``existing``, ``seed``, ``submodule`` or ``protect`` is none.
    """

    policy: Policy
    submodule: str = ""
    existing: Existing = "keep"
    seed: int | None = None
    layouts: Layouts | None = None
    protect: Sequence[int] | None = None

    def __post_init__(self) -> None:
        if not isinstance(self.policy, Policy):
            raise UsageError(
                f"the policy is a {type(self.policy).__name__}; expected a Policy, such as "
                'Policy.load("policy.json")'
            )
        check_options(self.existing, self.seed)
        if not isinstance(self.submodule, str):
            raise UsageError(f"submodule is {self.submodule!r}; expected the dotted name of a module")
        if self.protect is not None:
            checked_ids(self.protect)

    def apply_to(self, model: nn.Module) -> Applied[PatternDropout]:
        """Apply the policy to the model, or to its part."""
        module = named_module(model, self.submodule)
        applied = apply(module, self.policy, existing=self.existing, seed=self.seed, layouts=self.layouts)
        if self.protect is not None:
            try:
                applied.follow(protect=self.protect)
            except BaseException:
                applied.remove()
                raise
        return applied


class Steering:
    """One order, carried out in one training run after another.

    Args:
        order: What to apply, and how.
    """

    def __init__(self, order: Order) -> None:
        self.order = order
        self.applied: Applied[PatternDropout] | None = None
        self._batches = 0  # begun so far, in the runs before this one too
        self._batches_here = 0  # begun in this run

    def begin(self, model: nn.Module, state: Mapping[str, Any] | None = None) -> None:
        """Apply to the model that is about to be trained; what an earlier run left is removed first.

        Args:
            model: The model, not yet compiled; wrapped for parallel training only from outside.
            state: What ``state_dict`` returned in the run that this one goes on with; None starts anew.

        Raises:
            ApplyError: The model cannot take a policy, or the state belongs to another policy or seed.
            SiteError: The policy does not fit the model.
        """
        self.remove()
        self.applied, self._batches, self._batches_here = self.order.apply_to(model), 0, 0
        try:
            if state is not None:
                self.load_state_dict(state)
        except BaseException:
            self.remove()
            raise

    def next_batch(self, progress: float) -> None:
        """Get ready for the next micro-batch.

        Args:
            progress: How far training is; what is above 1 counts as 1.
        """
        applied = self._active()
        if self._batches_here == 1:
            _warn_of_silent(applied)
        applied.progress = min(1.0, progress)
        if self.order.seed is not None:
            applied.step = self._batches
        self._batches += 1
        self._batches_here += 1

    def state_dict(self) -> dict[str, Any]:
        """Return where the run is, as plain values; also after its end. Empty before the first run."""
        if self.applied is None:
            return {}
        return {"applied": self.applied.state_dict(), "batches": self._batches}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from what ``state_dict`` returned.

        Raises:
            ApplyError: It belongs to another policy or seed, or is incomplete.
        """
        if missing := sorted({"applied", "batches"} - set(state)):
            raise ApplyError(f"the checkpoint's state lacks {missing}; give what state_dict() returned")
        self._active().load_state_dict(state["applied"])
        self._batches = state["batches"]

    def remove(self) -> None:
        """Give the model back as it was. May be called twice, and before anything was applied."""
        if self.applied is not None:
            self.applied.remove()

    def _active(self) -> Applied[PatternDropout]:
        if self.applied is None:
            raise ApplyError("no training has begun, so nothing is applied yet")
        return self.applied


def _warn_of_silent(applied: Applied[PatternDropout]) -> None:
    if silent := applied.silent_sites():
        warnings.warn(
            f"nothing was dropped at these sites in the first batch: {', '.join(silent)}; leave out of the "
            "policy what is frozen or not used in this training; if two models of one class are compiled, "
            "set torch._dynamo.config.skip_nnmodule_hook_guards = False first",
            stacklevel=2,
        )
