"""A search as an Optuna study, for optuna-dashboard and Optuna's own plots."""

import math
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

from autodropout.errors import UsageError
from autodropout.pattern import ConvPattern, Pattern
from autodropout.report.record import Record, reward_of
from autodropout.report.tables import drop_rate
from autodropout.result import Trial

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution
    from optuna.trial import FrozenTrial

OPTUNA_FILE = "optuna.db"


def write_optuna(record: Record) -> tuple[Path, ...]:
    """Write the search trials that ended to ``optuna.db`` in the study's directory.

    Parameters are per site its exact drop rate (0 where it is off) and its size. Trials without a finite
    reward are failed trials there. Everything else that is known of a trial is a user attribute.

    Raises:
        UsageError: Optuna is not installed.
    """
    try:
        import optuna
    except ImportError as error:
        raise UsageError(
            "this export needs Optuna, which is not installed; install it with: pip install optuna"
        ) from error
    with _quiet(optuna.logging):
        return (_write(record, record.out / OPTUNA_FILE),)


def _write(record: Record, path: Path) -> Path:
    import optuna

    draft = path.with_name(f"{path.name}.new")
    draft.unlink(missing_ok=True)
    storage = optuna.storages.RDBStorage(f"sqlite:///{draft}")
    study = optuna.create_study(
        study_name=record.study.task or record.out.resolve().name, storage=storage, direction="maximize"
    )
    for name in ("searcher", "command", "seed"):
        study.set_user_attr(name, getattr(record.study, name))
    distributions = _distributions(record)
    study.add_trials([_frozen(record, trial, distributions) for trial in record.ended])
    storage.remove_session()
    storage.engine.dispose()
    return draft.replace(path)


@contextmanager
def _quiet(logging: ModuleType) -> Iterator[None]:
    """Keep Optuna from announcing on stderr what the caller says itself."""
    before = logging.get_verbosity()
    logging.set_verbosity(logging.WARNING)
    try:
        yield
    finally:
        logging.set_verbosity(before)


def _distributions(record: Record) -> "dict[str, BaseDistribution]":
    from optuna.distributions import CategoricalDistribution, FloatDistribution

    found: dict[str, BaseDistribution] = {}
    for site, (size, *_) in record.space.site_choices.items():
        found[f"{site} drop rate"] = FloatDistribution(0.0, 1.0)
        found[f"{site} size"] = CategoricalDistribution([str(value or "off") for value in size.values])
    return found


def _frozen(record: Record, trial: Trial, distributions: "dict[str, BaseDistribution]") -> "FrozenTrial":
    from optuna.trial import TrialState, create_trial

    reward, timing = reward_of(trial), record.timings[trial.id]
    curve = trial.result.curve if trial.result else ()
    frozen = create_trial(
        state=TrialState.FAIL if reward is None else TrialState.COMPLETE,
        value=reward,
        params=_parameters(record, trial),
        distributions=distributions,
        user_attrs=_attributes(trial),
        intermediate_values={step: value for step, value in enumerate(curve) if math.isfinite(value)},
    )
    frozen.datetime_start = datetime.fromtimestamp(timing.started or timing.queued)
    frozen.datetime_complete = datetime.fromtimestamp(timing.ended or timing.queued)
    return frozen


def _parameters(record: Record, trial: Trial) -> dict[str, object]:
    parameters: dict[str, object] = {}
    for site in record.space.site_choices:
        pattern = trial.policy.sites.get(site)
        rate = None if pattern is None else drop_rate(site, pattern, record.space)
        parameters[f"{site} drop rate"] = rate or 0.0
        parameters[f"{site} size"] = "off" if pattern is None else str(_size(pattern))
    return parameters


def _size(pattern: Pattern) -> int | str:
    return pattern.height if isinstance(pattern, ConvPattern) else pattern.size


def _attributes(trial: Trial) -> dict[str, Any]:
    result = trial.result
    figures = {} if result is None else {f"test {name}": value for name, value in result.test.items()}
    return figures | {
        "trial": trial.id,
        "seconds": result.seconds if result else None,
        "seed": trial.seed,
        "attempts": trial.attempt,
        "updates made": trial.update,
        "error": trial.error,
        "policy": trial.policy.to_json(),
    }
