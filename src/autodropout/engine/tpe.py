"""The tree-structured Parzen estimator of Optuna, over all decisions jointly (needs the extra ``optuna``)."""

import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from random import Random
from types import ModuleType
from typing import Any

from autodropout.engine.base import Proposal, Scored
from autodropout.engine.bookkeeping import check_number, checked_whole, figures_of, read_state, write_state
from autodropout.engine.seeds import derived_seed
from autodropout.errors import UsageError
from autodropout.space import PAD, Space

_SEEDS = 2**32  # Optuna's seeds are below this


class TpeSearcher:
    """Proposes what is likely among the good trials and unlikely among the others (Bergstra et al. 2011).

    Optuna's multivariate ``TPESampler`` decides; each proposal asks it afresh, with a seed of its own and
    the trials learned so far. The first ``startup`` proposals come from the starting bias of the space.
    Every trial has a value for every decision there: what a site that is off would have decided is drawn
    evenly when the trial is learned, so that it says nothing, and is PAD in what is proposed.

    The state is all trials learned, so that a snapshot grows by about three bytes per decision and trial,
    and a proposal takes longer and longer: right for hundreds of trials, not for ten thousands.

    Args:
        space: What to decide.
        seed: Seed of all its draws.
        batch: Proposals per draw, and trials per update; at least 1.
        startup: Trials to learn before the estimator proposes, at least 1.
        candidates: Draws from the good trials' density that the best is taken of, at least 1. Optuna's
            own default.

    Raises:
        UsageError: A number is out of range, or Optuna is not installed.
    """

    def __init__(
        self, space: Space, *, seed: int = 0, batch: int = 1, startup: int = 16, candidates: int = 24
    ) -> None:
        self._optuna = _optuna()
        self._space, self._seed = space, seed
        self._batch = checked_whole("batch", batch, 1)
        self._startup = checked_whole("startup", startup, 1)
        self._candidates = checked_whole("candidates", candidates, 1)
        self._distributions = {
            _word(place): self._optuna.distributions.CategoricalDistribution(range(size))
            for place, size in enumerate(space.cardinalities)
            if size > 1
        }
        self._forget()

    @property
    def name(self) -> str:
        """Word for it on the command line."""
        return "tpe"

    @property
    def batch(self) -> int:
        """Trials per update."""
        return self._batch

    @property
    def settings(self) -> Mapping[str, object]:
        """The arguments besides space and seed."""
        return {"batch": self._batch, "startup": self._startup, "candidates": self._candidates}

    def propose(self, draw: int) -> tuple[Proposal, ...]:
        """Return ``batch`` proposals; the same state and draw give the same ones."""
        proposed = (
            self._proposed(derived_seed(self._seed, self._updates, draw, place))
            for place in range(self._batch)
        )
        return tuple(Proposal(tokens=tokens, log_prob=None) for tokens in proposed)

    def learn(self, trials: Sequence[Scored]) -> Mapping[str, float]:
        """Remember the trials; return ``mean_reward`` and ``updates``.

        Raises:
            UsageError: There are not ``batch`` trials.
        """
        check_number(trials, self._batch)
        for trial in trials:
            self._remember(trial.tokens, trial.reward)
        self._updates += 1
        return figures_of(trials, self._updates)

    def pretrain(self, trials: Sequence[Scored]) -> None:
        """Remember the trials of another study as if they were its own."""
        for trial in trials:
            self._remember(trial.tokens, trial.reward)

    def snapshot(self) -> bytes:
        """Return all trials learned and the number of updates as JSON."""
        return write_state(self.name, {"updates": self._updates, "trials": self._learned})

    def restore(self, snapshot: bytes) -> None:
        """Take the state back.

        Raises:
            LedgerError: This is no snapshot of this searcher.
        """
        state = read_state(snapshot, self.name, ("updates", "trials"))
        self._forget()
        self._updates = state["updates"]
        for tokens, reward in state["trials"]:
            self._remember(tuple(tokens), reward)

    def _forget(self) -> None:
        self._updates = 0
        self._learned: list[tuple[tuple[int, ...], float]] = []
        self._storage = self._optuna.storages.InMemoryStorage()
        with _quiet(self._optuna):
            self._study = self._optuna.create_study(
                study_name=self.name, direction="maximize", storage=self._storage
            )

    def _remember(self, tokens: tuple[int, ...], reward: float) -> None:
        rng = Random(derived_seed(self._seed, "dead", len(self._learned)))
        filled = [
            token if alive else rng.randrange(size)
            for token, alive, size in zip(
                tokens, self._space.live(tokens), self._space.cardinalities, strict=True
            )
        ]
        self._learned.append((tokens, reward))
        self._study.add_trial(
            self._optuna.trial.create_trial(
                params={word: filled[_place(word)] for word in self._distributions},
                distributions=self._distributions,
                value=reward,
            )
        )

    def _proposed(self, seed: int) -> tuple[int, ...]:
        if len(self._learned) < self._startup:
            return self._space.sample(Random(seed), biased=True)
        # A study remembers the trials that a sampler has seen, also when more have been added since.
        study = self._optuna.load_study(study_name=self.name, storage=self._storage)
        sampler = self._sampler(seed % _SEEDS)
        # Any trial will do for a place; a copy of all of them would cost ten times the rest.
        first = study.get_trials(deepcopy=False)[0]
        params = sampler.sample_relative(study, first, self._distributions)
        raw = [int(params.get(_word(place), 0)) for place in range(len(self._space))]
        return tuple(token if alive else PAD for token, alive in zip(raw, self._space.live(raw), strict=True))

    def _sampler(self, seed: int) -> Any:
        with _quiet(self._optuna):
            return self._optuna.samplers.TPESampler(
                multivariate=True,
                constant_liar=False,
                n_startup_trials=self._startup,
                n_ei_candidates=self._candidates,
                seed=seed,
            )


def _word(place: int) -> str:
    return f"{place:05d}"


def _place(word: str) -> int:
    return int(word)


def _optuna() -> ModuleType:
    try:
        import optuna
    except ImportError as error:
        raise UsageError(
            "the searcher tpe comes with Optuna, which is not installed; install it with: pip install optuna"
        ) from error
    return optuna


@contextmanager
def _quiet(optuna: ModuleType) -> Iterator[None]:
    """Let it neither log nor warn that its multivariate mode was experimental until 4.x."""
    before = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            yield
    finally:
        optuna.logging.set_verbosity(before)
