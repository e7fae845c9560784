"""What must hold whenever the search has stopped, and at its end."""

from collections import Counter
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

from autodropout.engine.history import replay
from autodropout.engine.ledger_reader import LedgerReader
from autodropout.engine.ledger_schema import LEDGER_FILE
from autodropout.engine.study import Study
from autodropout.result import Trial
from chaos_driver import BATCH, Config, set_back
from chaos_trials import KINDS, mended, once, witnessed, worth

ENDED = ("done", "failed")


@dataclass(slots=True)
class Known:
    """What the ledger has acknowledged so far: none of it may ever change.

    Attributes:
        ended: Trials that ended, by number: their ends, and how often they had begun by then.
        taught: Trials of each update.
        stops: How often the ledger was looked at while no driver ran.
    """

    ended: dict[int, tuple[tuple[Any, ...], int]] = field(default_factory=dict)
    taught: tuple[tuple[int, ...], ...] = ()
    stops: int = 0

    def check(self, config: Config) -> None:
        """Look at the ledger after a driver has ended.

        Raises:
            AssertionError: A finished trial was lost, changed or run again; an update was lost or changed; a
                trial was taught twice.
        """
        self.stops += 1
        if not (config.out / LEDGER_FILE).exists():
            assert not self.ended, "the ledger is gone"
            return
        study, begun = Study.open(config.out), starts(config.folder)
        trials = {trial.id: trial for trial in study.trials}
        for number, (end, runs) in self.ended.items():
            assert _end(trials[number]) == end, f"trial {number} ended as {end}, now {_end(trials[number])}"
            again = begun[_evaluation(trials[number])] != runs
            assert not again, f"trial {number} ran again after it had been recorded"
        taught = tuple(update.trials for update in study.updates)
        assert taught[: len(self.taught)] == self.taught, "an update was lost or changed"
        check_taught_once(study)
        # Three that raised in a row are run again when the search is resumed: they have not ended for good.
        final = [t for t in trials.values() if t.state in ENDED and not _to_be_forgiven(t)]
        self.ended = {trial.id: (_end(trial), begun[_evaluation(trial)]) for trial in final}
        self.taught = taught


def check_taught_once(study: Study) -> None:
    """Check that no trial was taught twice, and that each was taught what it ended with.

    Raises:
        AssertionError: It was not so.
    """
    order = [number for update in study.updates for number in update.trials]
    assert len(order) == len(set(order)), "a trial was taught twice"
    marks = {timing.trial: timing.taught for timing in study.timings if timing.taught is not None}
    told = {n: update.number for update in study.updates for n in update.trials}
    assert marks == told, "trials and updates disagree about what was taught"
    numbers = [update.number for update in study.updates]
    assert numbers == list(range(1, len(numbers) + 1)), f"updates are numbered {numbers}"


def check_end(config: Config) -> dict[str, Any]:
    """Check a search that has come to its end; return how its trials misbehaved, and what came of it.

    Raises:
        AssertionError: Something does not hold.
    """
    study = Study.open(config.out)
    assert study.finished, f"the search stopped in phase {study.record.phase!r}"
    check_taught_once(study)
    search = [trial for trial in study.trials if trial.kind == "search"]
    _check_counts(config, study, search)
    for trial in study.trials:
        _check_fate(config, trial)
    _check_witness(config, study)
    with LedgerReader.open(config.out) as reader:
        number, snapshot = reader.snapshot()
    assert number == len(study.updates)
    assert replay(config.out).snapshot() == snapshot, "the controller is not what a replay gives"
    misbehaved = Counter(config.kinds[trial.seed] for trial in search if trial.seed in config.kinds)
    return {
        "misbehaved": dict(misbehaved),
        "ended_as_told": dict(ended_as_told(config)),
        "came_out": _account(config, study, search),
    }


def ended_as_told(config: Config) -> Counter[str]:
    """Return of each kind how many trials misbehaved and ended as the table of kinds says."""
    study = Study.open(config.out)
    scheduled = config.kinds
    kinds = [(trial, scheduled.get(trial.seed)) for trial in study.trials if trial.kind == "search"]
    return Counter(kind for trial, kind in kinds if kind and _as_told(config, trial, kind))


def check_clock(config: Config) -> int:
    """Return how often the clock was set back while drivers ran.

    Raises:
        AssertionError: It never was, or the ledger has not seen it.
    """
    timings = [timing for timing in Study.open(config.out).timings if timing.finish is not None]
    ends = [timing.ended or 0.0 for timing in sorted(timings, key=lambda timing: timing.finish or 0)]
    assert any(after < before for before, after in pairwise(ends)), "no trial ended before an earlier one"
    times = set_back(config.folder)
    assert times > 0, "the clock was never set back"
    return times


def starts(folder: Path) -> Counter[tuple[int, str]]:
    """Return how often each evaluation began, by seed and policy's key, as the witness saw it.

    Confirmations of several policies have the same seeds.
    """
    return Counter((line["seed"], line["policy"]) for line in witnessed(folder) if line["what"] == "start")


def _check_counts(config: Config, study: Study, search: list[Trial]) -> None:
    tally = study.tally("search")
    assert (tally.queued, tally.running) == (0, 0), "the search has ended with trials to be run"
    counted = tally.done + tally.failed - tally.replaced
    assert counted == config.trials, f"{counted} trials were counted, {config.trials} asked for"
    seeds = Counter(trial.seed for trial in study.trials if trial.kind == "search")
    assert set(seeds.values()) == {1}, "a trial was counted twice"
    order = sorted(t.finish for t in study.timings if t.finish is not None)
    assert len(set(order)) == len(order) == len(study.trials), "two trials ended at the same place"
    taught = sum(len(update.trials) for update in study.updates)
    left = len([trial for trial in search if trial.reward is not None]) - taught
    assert taught % BATCH == 0
    # Those that raised last wait for one that ends otherwise.
    assert 0 <= left < BATCH + 2, f"{left} finished trials were never taught"


def _check_fate(config: Config, trial: Trial) -> None:
    """Check that a trial ended as its kind must, unless its attempts were lost to what was thrown."""
    kind = config.kinds.get(trial.seed, "") if trial.kind == "search" else ""
    fate = _fate(trial)
    allowed = {
        KINDS.get(kind, "done"),
        "lost",
        "timeout",
    }  # machines are slow, workers killed again and again
    if trial.seed in mended(config.folder):
        allowed.add("done")
    assert fate in allowed, f"trial {trial.id} ({trial.error}) should have ended as {KINDS.get(kind, 'done')}"
    if fate == "done":
        assert trial.reward == worth(trial.seed), f"trial {trial.id} returned another reward"
    if fate == "lost":
        assert trial.reward is None


def _as_told(config: Config, trial: Trial, kind: str) -> bool:
    happened = not kind.endswith(" once") or once(config.folder, trial.seed).exists()
    return happened and _fate(trial) == KINDS[kind]


def _check_witness(config: Config, study: Study) -> None:
    """Check that whatever the ledger has a result of was seen to come to its end."""
    ends = {(line["seed"], line["policy"]) for line in witnessed(config.folder) if line["what"] == "end"}
    for trial in study.trials:
        if trial.result is not None:
            assert (trial.seed, trial.policy.key) in ends, f"trial {trial.id} was made up"


def _account(config: Config, study: Study, search: list[Trial]) -> dict[str, Any]:
    ends = Counter(line["seed"] for line in witnessed(config.folder) if line["what"] == "end")
    return {
        "search_trials": len(search),
        "fates": dict(Counter(_fate(trial) for trial in search)),
        "evaluations_begun": starts(config.folder).total(),
        "evaluations_ended": ends.total(),
        "ended_unheard_and_run_again": sum(count - 1 for count in ends.values()),
        "updates": len(study.updates),
        "best_confirmed": len(study.confirmed),
    }


def _end(trial: Trial) -> tuple[Any, ...]:
    return trial.state, trial.reward, repr(trial.result), trial.tokens, trial.log_prob, trial.seed


def _fate(trial: Trial) -> str:
    error = trial.error or ""
    if trial.state == "done":
        return "diverged" if error.startswith("diverged") else "done"
    if trial.reward is None:
        return "lost"
    return "timeout" if "time limit" in error else "raised"


def _evaluation(trial: Trial) -> tuple[int, str]:
    return trial.seed, trial.policy.key


def _to_be_forgiven(trial: Trial) -> bool:
    return trial.state == "failed" and _fate(trial) == "raised"
