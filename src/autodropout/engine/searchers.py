"""Searchers by the name that the command line has for them."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from autodropout.engine.base import Searcher
from autodropout.engine.random import RandomSearcher
from autodropout.engine.reinforce import Reinforce
from autodropout.engine.reinforce_settings import ReinforceSettings
from autodropout.errors import UsageError
from autodropout.space import Space


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
        name: ``"reinforce"`` (for the number of trials at hand), ``"reinforce-paper"`` or ``"random"``.
        space: What to decide.
        seed: Seed of all its randomness.
        trials: Trials of the whole search: M and step sizes are chosen by it.
        batch: M, if not the searcher's own choice.
        settings: Fields to set otherwise, by name.

    Raises:
        UsageError: There is no such searcher or field, or a value is out of range.
    """
    if name not in _MAKERS:
        raise UsageError(f"there is no searcher {name!r}; choose one of {', '.join(SEARCHERS)}")
    chosen: dict[str, Any] = dict(settings or {})
    if batch is not None:
        chosen["batch"] = batch
    try:
        return _MAKERS[name](space, seed, trials, chosen)
    except TypeError as error:
        raise UsageError(f"the settings {chosen} do not fit the searcher {name!r}: {error}") from error


def _reinforce(space: Space, seed: int, trials: int, settings: dict[str, Any]) -> Searcher:
    preset = ReinforceSettings.default(trials, batch=settings.get("batch"))
    return Reinforce(space, seed=seed, settings=replace(preset, **settings))


def _reinforce_paper(space: Space, seed: int, trials: int, settings: dict[str, Any]) -> Searcher:  # noqa: ARG001
    preset = replace(ReinforceSettings.paper(), **settings)
    return Reinforce(space, seed=seed, settings=preset, name="reinforce-paper")


def _random(space: Space, seed: int, trials: int, settings: dict[str, Any]) -> Searcher:  # noqa: ARG001
    return RandomSearcher(space, seed=seed, **settings)


_MAKERS: Mapping[str, Callable[[Space, int, int, dict[str, Any]], Searcher]] = {
    "reinforce": _reinforce,
    "reinforce-paper": _reinforce_paper,
    "random": _random,
}
SEARCHERS: tuple[str, ...] = tuple(_MAKERS)
