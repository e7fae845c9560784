"""Our controller for people who live in Optuna: ``create_study(sampler=ControllerSampler())``."""

import math
import secrets
from collections.abc import Iterable, Sequence
from random import Random
from threading import Lock
from typing import Any

from autodropout.engine.base import Scored
from autodropout.engine.reinforce import Reinforce
from autodropout.engine.reinforce_settings import ReinforceSettings
from autodropout.engine.seeds import derived_seed
from autodropout.errors import MissingError, UsageError
from autodropout.integrations.parameters import Parameters

try:
    from optuna.distributions import BaseDistribution, CategoricalDistribution
    from optuna.samplers import BaseSampler, RandomSampler
    from optuna.study import Study, StudyDirection
    from optuna.trial import FrozenTrial, TrialState
except ImportError as error:
    raise MissingError(
        "autodropout.integrations.optuna_sampler needs Optuna, which is not installed; "
        "install it with: pip install optuna"
    ) from error

_DRAWN = "autodropout:drawn"
_LOG_PROB = "autodropout:log_prob"
_UPDATES = "autodropout:updates"


class ControllerSampler(BaseSampler):
    """Draws all categorical parameters of a trial jointly, from a Transformer that REINFORCE trains.

    It is the searcher ``"reinforce"`` of this library. The space is defined by running, as Optuna has it:
    parameters that no finished trial has had, and those that are not categorical, are drawn uniformly by
    Optuna's ``RandomSampler``; once a trial with them is finished they join. Every M finished trials make
    one update, those of other processes on the same storage included; parameters that a trial did not ask
    for say nothing. Trials that fail or are pruned are taught as the worst value so far. With a seed and
    one job a study is repeatable; a study that is loaded again is learned again, from its trials.

    Args:
        trials: Trials that the whole study is to have: M and the step sizes follow from it.
        seed: Seed of all its draws; None for a new one.
        settings: In place of what follows from ``trials``.

    Raises:
        UsageError: A number is out of range.

    Example:
        >>> import optuna
        >>> optuna.logging.set_verbosity(optuna.logging.WARNING)
        >>> study = optuna.create_study(sampler=ControllerSampler(trials=20, seed=0))
        >>> study.optimize(lambda trial: trial.suggest_categorical("size", [1, 2, 4]), n_trials=20)
        >>> study.best_params
        {'size': 1}
    """

    def __init__(
        self, *, trials: int = 512, seed: int | None = None, settings: ReinforceSettings | None = None
    ) -> None:
        if seed is not None and (not isinstance(seed, int) or isinstance(seed, bool)):
            raise UsageError(f"seed is {seed!r}; expected a whole number, or None for a new one")
        self._settings = settings or ReinforceSettings.default(trials)
        self._seed = secrets.randbits(63) if seed is None else seed
        self._random = RandomSampler(seed=None if seed is None else derived_seed(seed, "independent") % 2**32)
        self._lock = Lock()
        self._start(Parameters({}))

    def reseed_rng(self) -> None:
        """Give parameters that are drawn by themselves another seed; joint draws follow from the trial."""
        self._random.reseed_rng()

    def infer_relative_search_space(
        self,
        study: Study,
        trial: FrozenTrial,
    ) -> dict[str, BaseDistribution]:
        """Return the categorical parameters of all finished trials, and learn from those."""
        if len(study.directions) > 1:
            raise UsageError(
                f"the study has {len(study.directions)} objectives; the controller maximises or minimises one"
            )
        with self._lock:
            self._learn(study)
            return dict(self._parameters.distributions)

    def sample_relative(
        self, study: Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        """Draw these parameters jointly and note on the trial how likely that was."""
        with self._lock:
            if not search_space or search_space.keys() != self._parameters.distributions.keys():
                return {}  # other trials ended meanwhile: drawn uniformly, like all that is new
            proposal, updates = self._searcher.propose(trial.number)[0], self._updates
        drawn = self._parameters.named(proposal.tokens)
        notes = {_DRAWN: drawn, _LOG_PROB: proposal.log_prob, _UPDATES: updates}
        for key, value in notes.items():
            study._storage.set_trial_system_attr(trial._trial_id, key, value)
        return {name: search_space[name].to_external_repr(index) for name, index in drawn.items()}

    def sample_independent(
        self, study: Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution
    ) -> Any:
        """Draw a parameter uniformly: it is new, or not categorical."""
        with self._lock:
            return self._random.sample_independent(study, trial, param_name, param_distribution)

    def _start(self, parameters: Parameters) -> None:
        self._parameters, self._updates = parameters, 0
        self._taught: set[int] = set()
        self._worst: float | None = None
        if len(parameters):
            self._searcher = Reinforce(parameters, seed=self._seed, settings=self._settings)

    def _learn(self, study: Study) -> None:
        """Make the updates that are due; begin anew if there are parameters that we have not seen."""
        ended = sorted(study.get_trials(deepcopy=False, states=_ENDED), key=_when)
        known = _categorical(ended)
        if known.keys() != self._parameters.distributions.keys():
            self._start(Parameters(known))
        new = [trial for trial in ended if trial.number not in self._taught]
        batch = self._settings.batch
        for first in range(0, len(new) - batch + 1, batch):
            self._update(study.direction, new[first : first + batch])

    def _update(self, direction: StudyDirection, trials: Sequence[FrozenTrial]) -> None:
        self._taught |= {trial.number for trial in trials}
        if not len(self._parameters):
            return
        rewards = [_reward(direction, trial) for trial in trials]
        finite = [reward for reward in rewards if reward is not None]
        self._worst = min([*finite, *([] if self._worst is None else [self._worst])], default=None)
        floor = 0.0 if self._worst is None else self._worst
        scored = [self._scored(trial, reward, floor) for trial, reward in zip(trials, rewards, strict=True)]
        self._searcher.learn(scored)
        self._updates += 1

    def _scored(self, trial: FrozenTrial, reward: float | None, floor: float) -> Scored:
        """Return a trial as it is taught, every parameter with the probability it was drawn with.

        What was drawn by itself, and what is made up here for a parameter that the trial did not ask for, is
        uniform.
        """
        drawn = {name: int(index) for name, index in trial.system_attrs.get(_DRAWN, {}).items()}
        log_prob = float(trial.system_attrs.get(_LOG_PROB, 0.0))
        rng = Random(derived_seed(self._seed, "unasked", trial.number))
        for name, distribution in self._parameters.distributions.items():
            if name in drawn:
                continue
            choices = len(distribution.choices)
            asked = name in trial.params and isinstance(trial.distributions[name], CategoricalDistribution)
            value = trial.params.get(name)
            drawn[name] = int(distribution.to_internal_repr(value)) if asked else rng.randrange(choices)
            log_prob -= math.log(choices)
        return Scored(
            trial=trial.number,
            tokens=tuple(drawn[name] for name in self._parameters.distributions),
            log_prob=log_prob,
            reward=floor if reward is None else reward,
            floored=reward is None,
            update=min(int(trial.system_attrs.get(_UPDATES, 0)), self._updates),
        )


_ENDED = (TrialState.COMPLETE, TrialState.PRUNED, TrialState.FAIL)


def _when(trial: FrozenTrial) -> tuple[float, int]:
    return (trial.datetime_complete.timestamp() if trial.datetime_complete else math.inf, trial.number)


def _categorical(trials: Iterable[FrozenTrial]) -> dict[str, CategoricalDistribution]:
    """Return the categorical parameters that trials had, in the order in which they first appeared."""
    return {
        name: distribution
        for trial in trials
        for name, distribution in trial.distributions.items()
        if isinstance(distribution, CategoricalDistribution)
    }


def _reward(direction: StudyDirection, trial: FrozenTrial) -> float | None:
    """Return the number to maximise; None if the trial has none."""
    if trial.state != TrialState.COMPLETE or trial.value is None or not math.isfinite(trial.value):
        return None
    return -trial.value if direction == StudyDirection.MINIMIZE else trial.value
