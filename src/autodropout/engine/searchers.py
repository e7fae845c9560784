"""Searchers by the name that the command line has for them."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from autodropout.engine.base import Searcher
from autodropout.engine.evolution import EvolutionSearcher
from autodropout.engine.knobs import KnobSearcher
from autodropout.engine.random import RandomSearcher
from autodropout.engine.reinforce import Reinforce
from autodropout.engine.reinforce_settings import ReinforceSettings
from autodropout.engine.tpe import TpeSearcher
from autodropout.errors import UsageError
from autodropout.space import Space
from autodropout.suggesting import suggested

_Maker = Callable[[Space, int, int, dict[str, Any]], Searcher]


def make_searcher(
    name: str,
    space: Space,
    *,
    seed: int,
    trials: int,
    batch: int | None = None,
    settings: Mapping[str, object] | None = None,
) -> Searcher:
    """Return the searcher of this name.

    With the ``settings`` of a searcher and its seed it builds the same one again, whatever ``trials``.

    Args:
        name: ``"reinforce"`` (for the number of trials at hand), ``"reinforce-paper"``, ``"categorical"``
            (REINFORCE without the Transformer: every decision has a distribution of its own), ``"random"``
            (uniform), ``"random-biased"`` (from the starting bias, sites off at one half),
            ``"evolution"``, ``"tpe"`` or ``"knobs"``.
        space: What to decide.
        seed: Seed of all its randomness.
        trials: Trials of the whole search: M and step sizes are chosen by it.
        batch: M, if not the searcher's own choice.
        settings: Fields to set otherwise, by name.

    Raises:
        UsageError: There is no such searcher or field, or a value is out of range.
    """
    if name not in _MAKERS:
        remedy = suggested(name, SEARCHERS, f"choose one of {', '.join(SEARCHERS)}")
        raise UsageError(f"there is no searcher {name!r}; {remedy}")
    chosen: dict[str, Any] = dict(settings or {})
    if batch is not None:
        chosen["batch"] = batch
    try:
        return _MAKERS[name](space, seed, trials, chosen)
    except TypeError as error:
        settings = _MAKERS[name](space, seed, trials, {}).settings
        if unknown := [word for word in chosen if word not in settings]:
            remedy = suggested(unknown[0], settings, f"it has {', '.join(settings)}")
            raise UsageError(f"the searcher {name!r} has no setting {unknown[0]!r}; {remedy}") from error
        raise UsageError(f"the settings {chosen} do not fit the searcher {name!r}: {error}") from error


def _reinforce(space: Space, seed: int, trials: int, settings: dict[str, Any]) -> Searcher:
    preset = ReinforceSettings.default(trials, batch=settings.get("batch"))
    return Reinforce(space, seed=seed, settings=replace(preset, **settings))


def _reinforce_paper(space: Space, seed: int, trials: int, settings: dict[str, Any]) -> Searcher:  # noqa: ARG001
    preset = replace(ReinforceSettings.paper(), **settings)
    return Reinforce(space, seed=seed, settings=preset, name="reinforce-paper")


def _categorical(space: Space, seed: int, trials: int, settings: dict[str, Any]) -> Searcher:
    # A head that begins at zero and never moves leaves the free bias alone in the logits.
    preset = replace(ReinforceSettings.default(trials, batch=settings.get("batch")), **_NO_NETWORK)
    return Reinforce(space, seed=seed, settings=replace(preset, **settings), name="categorical")


def _simple(make: Callable[..., Searcher], **preset: object) -> _Maker:
    return lambda space, seed, trials, settings: make(space, seed=seed, **preset | settings)  # noqa: ARG005


_NO_NETWORK: Mapping[str, Any] = {"learning_rate": 0.0, "layers": 1, "width": 1, "heads": 1}
_MAKERS: Mapping[str, _Maker] = {
    "reinforce": _reinforce,
    "reinforce-paper": _reinforce_paper,
    "categorical": _categorical,
    "random": _simple(RandomSearcher),
    "random-biased": _simple(RandomSearcher, biased=True),
    "evolution": _simple(EvolutionSearcher),
    "tpe": _simple(TpeSearcher),
    "knobs": _simple(KnobSearcher),
}
SEARCHERS: tuple[str, ...] = tuple(_MAKERS)
