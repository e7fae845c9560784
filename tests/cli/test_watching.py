from rich.console import Console

from autodropout.cli.watching import Watch
from autodropout.engine.events import (
    Learned,
    Paused,
    PhaseBegan,
    TrialFailed,
    TrialFinished,
    TrialRetried,
    TrialStarted,
)
from autodropout.engine.tally import Tally


def began(phase="search", total=10, done=0, failed=0, best=None):
    return PhaseBegan(phase=phase, total=total, done=done, failed=failed, best=best)


def started(trial=1):
    return TrialStarted(kind="search", trial=trial, attempt=1)


def finished(reward=0.5, trial=1, kind="search", floored=False):
    return TrialFinished(kind=kind, trial=trial, reward=reward, floored=floored, seconds=1.0)


def failed(trial=1, replaced=False):
    return TrialFailed(kind="search", trial=trial, error="it broke", replaced=replaced)


def retried(trial=1):
    return TrialRetried(kind="search", trial=trial, attempt=1, reason="worker lost")


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def tally(*events) -> Tally:
    counted = Tally(Clock())
    for event in events:
        counted.take(event)
    return counted


def test_counts():
    counted = tally(began(), started(1), started(2), started(3), finished(0.4), finished(0.3))
    assert (counted.done, counted.running, counted.failed, counted.best) == (2, 1, 0, 0.4)
    assert counted.words() == "1 running, 0 failed, best 0.4000"


def test_a_retried_trial_is_not_done_and_a_failed_one_is():
    assert tally(began(), started(), retried()).words() == "0 running, 0 failed"
    counted = tally(began(), started(), failed())
    assert (counted.done, counted.failed, counted.running) == (1, 1, 0)
    counted = tally(began(), started(), failed(replaced=True))
    assert (counted.done, counted.failed, counted.running) == (0, 0, 0)


def test_only_finite_rewards_of_the_search_are_best():
    assert tally(began(), started(), finished(0.1, floored=True)).best is None
    assert tally(began(best=0.2), started(), finished(0.9, kind="confirm")).best == 0.2
    assert tally(began(), started(), finished(None)).best is None


def test_a_resumed_phase_goes_on_where_it_was():
    counted = tally(began(done=6, failed=2, best=0.7))
    assert (counted.done, counted.failed, counted.best) == (6, 2, 0.7)
    assert counted.seconds_left() is None


def test_the_confirmation_does_not_show_the_best_of_the_search():
    assert tally(began("confirm", best=0.7)).words() == "0 running, 0 failed"


def test_pausing_and_learning():
    assert tally(began(), Paused(paused=True)).words() == "0 running, 0 failed, paused"
    assert tally(began(), Paused(paused=True), Paused(paused=False)).words() == "0 running, 0 failed"
    assert tally(began(), Learned(update=1, figures={})).words() == "0 running, 0 failed"


def test_the_time_left_follows_the_pace_of_this_sitting():
    clock = Clock()
    counted = Tally(clock)
    counted.take(began(total=10, done=4))
    counted.take(started())
    assert counted.seconds_left() is None
    clock.now += 30
    counted.take(finished())
    assert counted.seconds_left() == 30 * 5
    clock.now += 20
    assert counted.seconds_left() == 30 * 5 - 20
    clock.now += 1_000
    assert counted.seconds_left() == 0
    counted.take(finished())
    assert counted.seconds_left() == (1050 / 2) * 4


def shown(*events, terminal=False, width=100) -> str:
    console = Console(width=width, force_terminal=terminal, highlight=False)
    with console.capture() as capture, Watch(console, "Searching digits") as watch:
        for event in events:
            watch(event)
    return capture.get()


def test_nothing_is_said_before_the_search_has_begun():
    assert shown() == ""


def test_without_a_terminal_it_writes_plain_lines():
    text = shown(
        began(total=2),
        started(),
        finished(0.5),
        started(),
        failed(2),
        began("confirm", total=1),
        began("done"),
    )
    assert text.splitlines() == [
        "Searching digits",
        "searching 0/2, 0 running, 0 failed",
        "searching 1/2, 0 running, 0 failed, best 0.5000, 0 s left",
        "trial 2 has failed: it broke",
        "searching 2/2, 0 running, 1 failed, best 0.5000",
        "confirming 0/1, 0 running, 0 failed",
    ]


def test_long_searches_do_not_fill_the_log():
    events = [event for trial in range(1_000) for event in (started(trial), finished(0.5, trial))]
    assert len(shown(began(total=1_000), *events).splitlines()) == 2 + 20


def test_troubles_are_told_in_both_ways():
    for terminal in (False, True):
        text = shown(
            began(),
            started(7),
            retried(7),
            failed(8),
            Paused(paused=True),
            Paused(paused=False),
            terminal=terminal,
        )
        assert "trial 7 goes wrong and will run again: worker lost" in text
        assert "trial 8 has failed: it broke" in text
        assert "paused" in text
        assert "going on" in text


def test_error_texts_are_no_markup():
    event = TrialFailed(kind="search", trial=1, error="[/red] in [bold]", replaced=False)
    assert "[/red] in [bold]" in shown(began(), started(), event)


def test_a_terminal_has_a_bar_on_one_line():
    text = shown(began(total=4, best=0.5), started(), finished(0.25), terminal=True, width=90)
    last = [line for line in text.splitlines() if "/4" in line][-1]
    assert "searching" in last
    assert "1/4" in last
    assert "0 running, 0 failed, best 0.5000" in last
    assert "0 s left" in last
