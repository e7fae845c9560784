"""How a search goes, as lines of Python's logging: the library prints nothing by itself."""

import logging
from collections.abc import Mapping

from autodropout.engine.events import (
    Event,
    Notify,
    Paused,
    PhaseBegan,
    PhaseName,
    TrialFailed,
    TrialFinished,
    TrialRetried,
)
from autodropout.engine.tally import PHASES, Tally

_LINES = 20  # per phase
_log = logging.getLogger(__name__)


def logged(notify: Notify, phases: Mapping[PhaseName, str] = PHASES) -> Notify:
    """Return what logs how a search goes, at the level INFO, and passes every event on.

    At most 20 lines per phase, and one for every attempt that goes wrong.

    Args:
        notify: Who else is told.
        phases: What the phases are called.
    """
    progress = _Progress(phases)

    def both(event: Event) -> None:
        progress(event)
        notify(event)

    return both


class _Progress:
    def __init__(self, phases: Mapping[PhaseName, str]) -> None:
        self._tally, self._line = Tally(names=phases), -1

    def __call__(self, event: Event) -> None:
        self._tally.take(event)
        match event:
            case PhaseBegan(phase="done"):
                return
            case PhaseBegan():
                self._line = -1
            case TrialRetried():
                _log.info("trial %d goes wrong and will run again: %s", event.trial, event.reason)
            case TrialFailed():
                _log.info("trial %d has failed: %s", event.trial, event.error)
            case Paused():
                _log.info("paused" if event.paused else "going on")
        if isinstance(event, PhaseBegan | TrialFinished | TrialFailed):
            self._say()

    def _say(self) -> None:
        tally = self._tally
        line = tally.done * _LINES // max(1, tally.total)
        if line != self._line:
            self._line = line
            left = tally.left()
            _log.info(
                "%s %d/%d, %s%s", tally.phase, tally.done, tally.total, tally.words(), left and f", {left}"
            )
