"""A policy in Lightning: ``Trainer(callbacks=[PolicyCallback(policy)])``."""

import warnings
from collections.abc import Mapping, Sequence
from typing import Any

from autodropout.applied import Applied, Existing
from autodropout.choosing import Layouts
from autodropout.errors import MissingError, UsageError
from autodropout.integrations.steering import Order, Steering
from autodropout.layers import PatternDropout
from autodropout.policy import Policy

try:
    from lightning.pytorch import Callback, LightningModule, Trainer
except ImportError:
    try:
        from pytorch_lightning import Callback, LightningModule, Trainer
    except ImportError as error:
        raise MissingError(
            "autodropout.integrations.lightning needs Lightning, which is not installed; "
            "install it with: pip install lightning"
        ) from error


class PolicyCallback(Callback):  # type: ignore[misc]  # a type checker does not follow that import
    """Applies a policy when ``fit`` starts and removes it when ``fit`` ends, by an exception too.

    Schedules follow ``max_steps`` or ``max_epochs``, whichever is nearer. Checkpoints carry progress and
    step, so that a run that is resumed with ``seed=`` drops what the uninterrupted one would have. The
    policy is applied after Lightning has wrapped the model or converted its batch normalisation, and gets on
    with callbacks that keep an averaged copy.

    Args:
        policy: What to drop where.
        submodule: Attribute of the LightningModule that the policy's names start from, such as ``"net"``;
            ``""`` is the LightningModule itself. Callbacks for several of them get on with each other.
        existing: ``"off"`` silences the model's own dropout until the end; ``"keep"`` leaves it alone.
        seed: Makes each mask a pure function of (seed, rank, site, number of the micro-batch).
        layouts: Further sites: name or glob of modules to the axes of their outputs.
        protect: For a Hugging Face model: padding is left out of every mask, and so are the tokens with
            these ids, such as ``tokenizer.all_special_ids``. None: every token is like any other.

    Raises:
        UsageError: The policy or another argument is none.

    Example:
        >>> PolicyCallback(Policy({}), submodule="net", seed=0).state_key
        'PolicyCallback[net]'
    """

    def __init__(
        self,
        policy: Policy,
        *,
        submodule: str = "",
        existing: Existing = "keep",
        seed: int | None = None,
        layouts: Layouts | None = None,
        protect: Sequence[int] | None = None,
    ) -> None:
        order = Order(
            policy=policy, submodule=submodule, existing=existing, seed=seed, layouts=layouts, protect=protect
        )
        self._steering = Steering(order)
        self._loaded: dict[str, Any] | None = None
        self._running = False

    @property
    def applied(self) -> Applied[PatternDropout] | None:
        """What is applied, or was in the last fit; None before the first."""
        return self._steering.applied

    @property
    def state_key(self) -> str:
        """Name of this callback's part of a checkpoint."""
        submodule = self._steering.order.submodule
        return f"PolicyCallback[{submodule}]" if submodule else "PolicyCallback"

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Forget what an earlier run loaded."""
        self._loaded = None

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Apply the policy; go on where the checkpoint, or an earlier fit of this trainer, ended."""
        _check_end(trainer, self._steering.order.policy)
        goes_on = self._loaded is None and trainer.global_step > 0
        self._steering.begin(pl_module, self._steering.state_dict() or None if goes_on else self._loaded)
        self._running = True

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Warn of a checkpoint that knows nothing of the policy."""
        if trainer.ckpt_path is not None and self._loaded is None:
            warnings.warn(
                f"the checkpoint {trainer.ckpt_path} holds no state of {self.state_key}; "
                "the policy begins with it",
                stacklevel=2,
            )

    def on_train_batch_start(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        batch: object,
        batch_idx: int,
    ) -> None:
        """Set progress, and with a seed the step, for this micro-batch."""
        self._steering.next_batch(_progress(trainer, batch_idx))

    def on_fit_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Give the model back as it was."""
        self._remove()

    def on_exception(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        exception: BaseException,
    ) -> None:
        """Give the model back as it was."""
        self._remove()

    def state_dict(self) -> dict[str, Any]:
        """Return what a checkpoint keeps."""
        return self._steering.state_dict()

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Take what a checkpoint kept; some strategies call this before the fit starts, some after."""
        self._loaded = dict(state_dict) or None
        if self._running and self._loaded is not None:
            self._steering.load_state_dict(self._loaded)

    def _remove(self) -> None:
        self._running = False
        self._steering.remove()


def _progress(trainer: Trainer, batch_idx: int) -> float:
    """Return how far training is, 0 to 1, by the limit that is nearer; 0 where there is none."""
    shares = [0.0]
    if _is_limit(trainer.max_steps):
        shares.append(trainer.global_step / trainer.max_steps)
    if _is_limit(trainer.max_epochs):
        epochs = trainer.current_epoch + batch_idx / trainer.num_training_batches
        shares.append(epochs / trainer.max_epochs)
    return float(max(shares))


def _is_limit(number: int | None) -> bool:
    return number is not None and number > 0


def _check_end(trainer: Trainer, policy: Policy) -> None:
    if policy.schedule != "constant" and not (_is_limit(trainer.max_steps) or _is_limit(trainer.max_epochs)):
        raise UsageError(
            f"the policy's schedule is {policy.schedule!r}, but this Trainer has no end to measure progress "
            'by; give it max_epochs or max_steps, or use a policy with schedule="constant"'
        )
