"""REINFORCE with a baseline and importance weights (AutoDropout, Eqs. 2 and 3)."""

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, replace

import torch
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor

from autodropout.engine.advantage import Advantages, advantages, moved
from autodropout.engine.base import Decisions, Proposal, Scored
from autodropout.engine.controller import Controller
from autodropout.engine.gradient import effective_sample_size, importance_weights, reinforce_loss
from autodropout.engine.reinforce_settings import ReinforceSettings
from autodropout.engine.seeds import derived_seed
from autodropout.errors import LedgerError, StudyError, UsageError


class Reinforce:
    """The paper's searcher: a ``Controller`` trained by REINFORCE with Adam.

    ``learn`` returns these figures: ``baseline`` (b), ``mean_reward``, ``entropy`` (nats per live decision,
    along the batch's sequences, before the update), ``ess`` (effective sample size of the weights,
    (sum w)^2 / sum w^2, at most M), ``truncated`` (number of weights at the bound), ``staleness``
    (mean number of updates between draw and use), ``grad_norm``, ``updates`` (made so far).

    Args:
        space: What to decide.
        seed: Seed of the controller's first parameters and of all its draws.
        settings: See ``ReinforceSettings``.
        name: Word for it on the command line.

    Example:
        >>> from autodropout.token_space import TokenSpace
        >>> searcher = Reinforce(TokenSpace(sites=("ffn",)), settings=ReinforceSettings.default(48))
        >>> len(searcher.propose(0))
        4
    """

    def __init__(
        self,
        space: Decisions,
        *,
        seed: int = 0,
        settings: ReinforceSettings | None = None,
        name: str = "reinforce",
    ) -> None:
        self._settings = settings or ReinforceSettings()
        self._seed, self._name, self._length = seed, name, len(space)
        self._controller = _controller(space, seed, self._settings)
        self._adam = _adam(self._controller, self._settings)
        self._updates = torch.zeros((), dtype=torch.int64, device="cpu")
        self._average = torch.full((), math.nan, dtype=torch.float64, device="cpu")

    @property
    def name(self) -> str:
        """Word for it on the command line."""
        return self._name

    @property
    def batch(self) -> int:
        """M: finished trials per update."""
        return self._settings.batch

    @property
    def settings(self) -> Mapping[str, object]:
        """The fields of ``ReinforceSettings``."""
        return asdict(self._settings)

    @property
    def controller(self) -> Controller:
        """The network; look, do not touch."""
        return self._controller

    def propose(self, draw: int) -> tuple[Proposal, ...]:
        """Return M proposals; the same state and draw give the same ones."""
        seed = derived_seed(self._seed, int(self._updates), draw)
        with _one_thread():
            tokens, log_prob = self._controller.sample(
                self.batch, torch.Generator(device="cpu").manual_seed(seed)
            )
        return tuple(
            Proposal(tokens=tuple(row), log_prob=value)
            for row, value in zip(tokens.tolist(), log_prob.tolist(), strict=True)
        )

    def learn(self, trials: Sequence[Scored]) -> Mapping[str, float]:
        """Make one update from M finished trials; return the figures that the class describes.

        Raises:
            UsageError: There are not M trials, or one lacks a finite reward or log-probability.
            SpaceError: A trial's tokens do not belong to the space.
            StudyError: The gradient is not finite; nothing has been changed.
        """
        _check(trials, self.batch, self._length)
        with _one_thread(), torch.enable_grad():
            return self._update(trials)

    def pretrain(self, trials: Sequence[Scored]) -> None:
        """Learn from trials of another study, M by M in their order; what is left at the end is not used.

        Each batch is one update as in ``learn``, but every trial weighs 1, whatever drew it. That estimates
        no gradient; it moves the draws towards what was good there. Eq. 3's weights do estimate one, and
        taught next to nothing: they vanish wherever the controller does not yet draw what it is shown
        (docs/decisions.md).
        """
        for first in range(0, len(trials) - self.batch + 1, self.batch):
            batch = trials[first : first + self.batch]
            likely = zip(batch, self._log_probs(batch), strict=True)
            self.learn([replace(t, update=int(self._updates), log_prob=now) for t, now in likely])
        self._updates.zero_()

    def snapshot(self) -> bytes:
        """Return parameters, Adam's state, moving average and number of updates as safetensors."""
        return save({name: tensor.detach() for name, tensor in self._state().items()})

    def restore(self, snapshot: bytes) -> None:
        """Take the state back, bit for bit.

        Raises:
            LedgerError: These are no safetensors, or of a searcher on another space or with other settings.
        """
        state = self._state()
        try:
            saved = load(snapshot)
        except SafetensorError as error:
            raise LedgerError(f"the searcher's snapshot is damaged ({error}); replay its updates") from error
        if _shapes(saved) != _shapes(state):
            raise LedgerError(
                "the searcher's snapshot was taken with another space or other settings; restore it into a "
                "searcher built like the one that took it"
            )
        with torch.no_grad():
            for name, tensor in state.items():
                tensor.copy_(saved[name])

    def _log_probs(self, trials: Sequence[Scored]) -> list[float]:
        tokens = torch.tensor([trial.tokens for trial in trials], dtype=torch.int64, device="cpu")
        with _one_thread(), torch.no_grad():
            return [float(value) for value in self._controller.log_prob(tokens)]

    def _update(self, trials: Sequence[Scored]) -> Mapping[str, float]:
        average = float(self._average)
        advantage = advantages(
            [trial.reward for trial in trials],
            [trial.floored for trial in trials],
            self._settings.advantage,
            None if math.isnan(average) else average,
        )
        figures = self._step(trials, advantage)
        self._average.fill_(
            moved(None if math.isnan(average) else average, advantage.rewards, self._settings.decay)
        )
        stale = sum(int(self._updates) - trial.update for trial in trials) / len(trials)
        self._updates += 1
        return figures | {"staleness": stale, "updates": float(self._updates)}

    def _step(self, trials: Sequence[Scored], advantage: Advantages) -> dict[str, float]:
        settings = self._settings
        tokens = torch.tensor([trial.tokens for trial in trials], dtype=torch.int64, device="cpu")
        drawn = torch.tensor([trial.log_prob for trial in trials], dtype=torch.float64, device="cpu")
        gain = torch.tensor(advantage.values, dtype=torch.float64, device="cpu")
        log_prob, entropy = self._controller(tokens)
        loss = reinforce_loss(log_prob, drawn, gain, settings.bound) - settings.entropy * entropy.mean()
        self._adam.zero_grad()
        loss.backward()
        norm = float(torch.nn.utils.get_total_norm(_gradients(self._controller)))
        if not math.isfinite(norm):
            raise StudyError(f"the controller's gradient has norm {norm}; are the rewards of sane size?")
        self._adam.step()
        weights = importance_weights(log_prob, drawn, settings.bound)
        bare = importance_weights(log_prob, drawn, None)
        return {
            "baseline": advantage.baseline,
            "mean_reward": sum(trial.reward for trial in trials) / len(trials),
            "entropy": float(entropy.detach().sum() / self._controller.live(tokens).sum()),
            "ess": effective_sample_size(weights),
            "truncated": float((bare > weights).sum()),
            "grad_norm": norm,
        }

    def _state(self) -> dict[str, Tensor]:
        """Return every tensor of the state, alive, by a name of its own."""
        state = {"updates": self._updates, "average": self._average}
        for name, parameter in self._controller.named_parameters():
            state[f"parameter.{name}"] = parameter
            for key, value in self._adam.state[parameter].items():
                state[f"adam.{key}.{name}"] = value
        return state


def _controller(space: Decisions, seed: int, settings: ReinforceSettings) -> Controller:
    """Build it from a seed of its own and leave torch's default generator where it was."""
    with torch.random.fork_rng(devices=()):
        torch.default_generator.manual_seed(derived_seed(seed, "controller"))
        return Controller(
            space,
            layers=settings.layers,
            width=settings.width,
            heads=settings.heads,
            prior=settings.prior,
            bias=settings.bias,
        )


def _adam(controller: Controller, settings: ReinforceSettings) -> torch.optim.Adam:
    """Return Adam with its state already there, so that a snapshot has the same shape at any time."""
    bias = [] if controller.bias is None else [controller.bias]
    network = [p for p in controller.parameters() if p is not controller.bias]
    groups = [
        {"params": network, "lr": settings.learning_rate},
        {"params": bias, "lr": settings.bias_learning_rate},
    ]
    adam = torch.optim.Adam([group for group in groups if group["params"]], foreach=False)
    for parameter in controller.parameters():
        adam.state[parameter] = {
            "step": torch.zeros((), dtype=torch.float32, device="cpu"),
            "exp_avg": torch.zeros_like(parameter, memory_format=torch.preserve_format),
            "exp_avg_sq": torch.zeros_like(parameter, memory_format=torch.preserve_format),
        }
    return adam


def _gradients(controller: Controller) -> list[Tensor]:
    return [p.grad for p in controller.parameters() if p.grad is not None]


def _shapes(tensors: Mapping[str, Tensor]) -> dict[str, tuple[torch.Size, torch.dtype]]:
    return {name: (tensor.shape, tensor.dtype) for name, tensor in tensors.items()}


def _check(trials: Sequence[Scored], batch: int, length: int) -> None:
    if len(trials) != batch:
        raise UsageError(f"got {len(trials)} trials to learn from; an update takes exactly {batch}")
    for trial in trials:
        if len(trial.tokens) != length:
            raise UsageError(
                f"trial {trial.trial} has {len(trial.tokens)} tokens; the space has {length} decisions"
            )
        if trial.log_prob is None or not math.isfinite(trial.log_prob):
            raise UsageError(
                f"trial {trial.trial} has log-probability {trial.log_prob}; REINFORCE learns only from "
                "trials whose log-probability is known and finite"
            )
        if not math.isfinite(trial.reward):
            raise UsageError(
                f"trial {trial.trial} has reward {trial.reward}; teach the floor for trials that diverged"
            )


@contextmanager
def _one_thread() -> Iterator[None]:
    """Compute in one thread: the order of sums, and so every bit, stays the same on any number of cores."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)
