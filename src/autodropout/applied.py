"""What was applied to a model: the handle that steers it and takes it away again."""

import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from types import TracebackType
from typing import Any, Generic, Literal, Self, TypeVar

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from autodropout.errors import ApplyError, UsageError
from autodropout.following import Following, follow
from autodropout.handles import forget, handles, remember
from autodropout.layers import PatternDropout
from autodropout.policy import Policy
from autodropout.site import Closing
from autodropout.tracing import forget_compiled
from autodropout.valid_tokens import checked_tokens
from autodropout.watching import LOOK_EVERY, Layer, check_in_place, disinherit, displaced_sites, frozen_sites

Existing = Literal["keep", "off"]
"""What becomes of the dropout that a model already has."""


LayerT = TypeVar("LayerT", bound=Layer)


class Applied(Generic[LayerT]):
    """A policy at work on a model. As a context manager it removes the policy on leaving.

    Deep copies and pickles of the model carry their own: ``Applied.of(copy)``.

    Args:
        model: The model.
        policy: What was applied; None where it was no policy.
        layers: Site to the layer that acts there. A pattern's second draw on the shortcut branch of
            its block stands under the site's name with ``":shortcut"`` behind it.
        attachments: What gives the model back as it was, in the order in which it was changed.
        silenced: What gives the model's own dropout its rates back; None where it was left alone.
        seed: The seed of ``apply``; None for draws from the default generator.
    """

    def __init__(
        self,
        model: nn.Module,
        policy: Policy | None,
        layers: Mapping[str, LayerT],
        attachments: Sequence[Closing],
        silenced: Closing | None,
        seed: int | None,
    ) -> None:
        self.layers: Mapping[str, LayerT] = dict(layers)
        self.policy = policy
        self.seed = seed
        self._model = model
        self._attachments = tuple(attachments)
        self._silenced = silenced
        self._progress = 0.0
        self._step = 0
        self._num_disabled = 0
        self._valid_tokens: Tensor | None = None
        self._following: Following | None = None
        self._removed = False
        self._warned_of: frozenset[str] | None = None
        self._ran = False
        self._forwards = 0
        self._watch: RemovableHandle = model.register_forward_pre_hook(_look_over_sites)
        remember(model, self)
        self._set_strengths()
        forget_compiled()

    @staticmethod
    def of(model: nn.Module) -> "Applied[Any] | None":
        """Return what is applied to a model, a policy before any other dropout; None if nothing is."""
        return next(iter(sorted(handles(model), key=lambda applied: applied.policy is None)), None)

    @property
    def existing(self) -> Existing:
        """What became of the model's own dropout: ``"keep"`` or ``"off"``."""
        return "keep" if self._silenced is None else "off"

    @property
    def progress(self) -> float:
        """How far training is, 0 to 1; setting it moves the schedule along, which augmented dropout lacks."""
        return self._progress

    @progress.setter
    def progress(self, progress: float) -> None:
        self._check_active()
        if not 0.0 <= progress <= 1.0:
            raise UsageError(f"progress is {progress!r}; expected a number from 0 to 1")
        self._progress = float(progress)
        self._set_strengths()
        if self._progress == 1.0:
            self._warn_of_unfired()

    @property
    def step(self) -> int:
        """Number of the micro-batch, which with ``seed=`` decides its masks; set it before each one.

        A site that is called twice in one step draws the same mask twice.
        """
        self._check_seeded()
        return self._step

    @step.setter
    def step(self, step: int) -> None:
        self._check_active()
        self._check_seeded()
        for layer in self.layers.values():
            layer.set_step(step)
        self._step = int(step)

    @property
    def valid_tokens(self) -> Tensor | None:
        """Which tokens the next batches' patterns act on: bool, (N, T) or (1, T); None for all.

        What belongs to other tokens, such as padding or [CLS], is left as it is and counted neither in Size
        nor in Sum of Eq. 1. Set it before each batch, which ends what ``follow`` began, or let that read it.
        With activation checkpointing, run the backward pass before setting it again.
        """
        return self._valid_tokens

    @valid_tokens.setter
    def valid_tokens(self, tokens: Tensor | None) -> None:
        self._check_active()
        self._valid_tokens = checked_tokens(tokens, "valid_tokens")
        if self._following is not None:
            self._following.close()
            self._following = None
        for layer in self.layers.values():
            if isinstance(layer, PatternDropout):
                layer.set_valid_tokens(self._valid_tokens)

    def follow(self, *, protect: Sequence[int] = ()) -> None:
        """Read the valid tokens off each batch from now on, instead.

        That works in a Hugging Face model, and in modules with ``autodropout.site.HasTokens``, as ours are.
        Tokens take part where ``attention_mask`` is not 0; an encoder and a decoder have one each. Of the
        encoder's tokens, cross-attention sees padding, but not which are protected.

        Args:
            protect: Ids of tokens that never take part, such as ``tokenizer.all_special_ids``; looked for
                in ``input_ids``.

        Raises:
            UsageError: No pattern stands in such a model, or these are no ids.
        """
        self._check_active()
        following = follow(self._model, self.layers.values(), protect)
        self.valid_tokens = None  # ends an earlier following, too
        self._following = following

    def silent_sites(self) -> tuple[str, ...]:
        """Return the applied sites that do nothing.

        These have not run in training mode since ``apply``, or are in evaluation mode while the model
        is in training mode, as frozen batch normalisation is, or their module was exchanged for another.
        """
        silent = {*self._frozen(), *displaced_sites(self._model, self.layers, self._attachments)}
        return tuple(name for name, layer in self.layers.items() if name in silent or not layer.fired)

    @contextmanager
    def disabled(self) -> Iterator[None]:
        """Drop nothing inside a ``with`` block; the model's own dropout stays as it is."""
        self._num_disabled += 1
        self._set_strengths()
        try:
            yield
        finally:
            self._num_disabled -= 1
            self._set_strengths()

    def state_dict(self) -> dict[str, object]:
        """Return progress and step, and what must be equal to go on from them, as plain values."""
        key = None if self.policy is None else self.policy.key
        return {"progress": self._progress, "step": self._step, "seed": self.seed, "policy": key}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from what ``state_dict`` returned.

        Raises:
            ApplyError: It belongs to another policy or seed, or is incomplete.
        """
        self._check_active()
        mine = self.state_dict()
        if missing := sorted(set(mine) - set(state)):
            raise ApplyError(f"the state lacks {missing}; give what state_dict() returned")
        if foreign := sorted(set(state) - set(mine)):
            raise ApplyError(f"the state has {foreign}, as another kind of dropout does; give it to that")
        for name in ("policy", "seed"):
            if state[name] != mine[name]:
                raise ApplyError(
                    f"the state is of {name} {state[name]!r}, what is applied here of {mine[name]!r}; "
                    "apply the policy with which it was saved, and the same seed"
                )
        self.progress = state["progress"]
        if self.seed is not None:
            self.step = state["step"]

    def remove(self) -> None:
        """Give the model back as it was. May be called twice.

        Strength first goes to 0, an exact identity, so that code compiled earlier drops nothing either. Sites
        that never ran although the model was called in training mode are named in a warning, as they are
        when ``progress`` reaches 1.
        """
        if self._removed:
            return
        self._warn_of_unfired()
        self._removed = True
        self._set_strengths()
        if self._following is not None:
            self._following.close()
        disinherit(self._model, self._attachments)
        for attachment in reversed(self._attachments):
            attachment.close()
        if self._silenced is not None:
            self._silenced.close()
        self._watch.remove()
        forget(self._model, self)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.remove()

    def __repr__(self) -> str:
        state = "removed" if self._removed else f"progress={self._progress}"
        return f"Applied({len(self.layers)} layers, {state}, existing={self.existing!r}, seed={self.seed})"

    def warn_of_frozen(self) -> None:
        """Warn, once, of applied sites in evaluation mode while the model is in training mode."""
        if self._warned_of is None and (frozen := self._frozen()):
            self._warned_of = frozenset(frozen)
            warnings.warn(
                f"the model is in training mode, but these sites are in evaluation mode (frozen batch "
                f"normalisation?), so nothing is dropped there: {', '.join(frozen)}",
                stacklevel=2,
            )

    def _warn_of_unfired(self) -> None:
        """Warn, once, of sites that training left out."""
        unfired = [name for name, layer in self.layers.items() if not layer.fired]
        unfired = [name for name in unfired if name not in (self._warned_of or ())]
        if self._ran and unfired:
            self._ran = False
            warnings.warn(
                "the model ran in training mode, but these sites never did, so nothing was dropped there: "
                f"{', '.join(unfired)}; leave out of the policy what this training does not use, call all of "
                "the model rather than parts of it, and where a fused kernel goes past a site name another",
                stacklevel=3,
            )

    def _frozen(self) -> tuple[str, ...]:
        return frozen_sites(self._model, self.layers, self._attachments)

    def _set_strengths(self) -> None:
        strength = 0.0 if self._num_disabled or self._removed else self._scheduled_strength()
        for layer in self.layers.values():
            layer.set_strength(strength)

    def _scheduled_strength(self) -> float:
        return 1.0 if self.policy is None else self.policy.strength(self._progress)

    def _check_active(self) -> None:
        if self._removed:
            raise ApplyError("the policy was removed from the model; apply it again")

    def _check_seeded(self) -> None:
        if self.seed is None:
            raise ApplyError("there is no step without a seed; apply the policy with seed=")


def _look_over_sites(model: nn.Module, _: object) -> None:
    """Forward pre-hook of the whole model: top-level, so that a model that bears it can be pickled."""
    if model.training and not torch.compiler.is_compiling():
        for applied in handles(model):
            if applied._forwards % LOOK_EVERY == 0:
                check_in_place(model, applied.layers, applied._attachments)
            applied._forwards += 1
            applied._ran = True
            applied.warn_of_frozen()
