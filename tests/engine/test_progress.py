"""How a search goes, told through logging."""

import logging

import pytest

from autodropout.comparison import compare
from autodropout.engine.confirm import Confirmation
from autodropout.engine.events import PhaseBegan, TrialFailed, TrialFinished, TrialRetried
from autodropout.engine.progress import logged
from autodropout.engine.run import search
from autodropout.policy import Policy
from autodropout.token_space import TokenSpace

SPACE = TokenSpace(sites=("ffn",))


def test_a_search_prints_nothing_and_logs_how_it_goes(memory_path, caplog, capfd):
    with caplog.at_level(logging.INFO, "autodropout"):
        search(
            lambda policy, seed: 1.0,
            SPACE,
            trials=40,
            searcher="random",
            executor="inline",
            out=memory_path,
            confirm=Confirmation(top=1, seeds=2),
        )
    assert capfd.readouterr() == ("", "")
    lines = [record.getMessage() for record in caplog.records]
    assert lines[0] == "searching 0/40, 0 running, 0 failed"
    assert "searching 40/40, 0 running, 0 failed, best 1.0000" in lines
    assert lines[-1] == "confirming 2/2, 0 running, 0 failed"
    assert len([line for line in lines if line.startswith("searching")]) == 21
    assert {record.levelname for record in caplog.records} == {"INFO"}


def test_a_comparison_logs_too(memory_path, caplog):
    with caplog.at_level(logging.INFO, "autodropout"):
        compare(
            lambda policy, seed: seed,
            {"one": None, "two": Policy({})},
            seeds=2,
            executor="inline",
            out=memory_path,
        )
    lines = [record.getMessage() for record in caplog.records]
    assert lines[0] == "comparing 0/4, 0 running, 0 failed"
    assert lines[-1].startswith("comparing 4/4")


@pytest.mark.parametrize(
    ("event", "line"),
    [
        (
            TrialRetried(kind="search", trial=3, attempt=1, reason="worker killed"),
            "trial 3 goes wrong and will run again: ",
        ),
        (
            TrialFailed(kind="search", trial=3, error="ValueError: no", replaced=False),
            "trial 3 has failed: ValueError: no",
        ),
    ],
)
def test_what_goes_wrong_is_logged(caplog, event, line):
    with caplog.at_level(logging.INFO, "autodropout"):
        notify = logged(lambda event: None)
        notify(PhaseBegan(phase="search", total=4, done=0, failed=0, best=None))
        notify(event)
    assert any(record.getMessage().startswith(line) for record in caplog.records)


def test_every_event_is_passed_on():
    seen = []
    notify = logged(seen.append)
    events = [
        PhaseBegan(phase="search", total=1, done=0, failed=0, best=None),
        TrialFinished(kind="search", trial=1, reward=1.0, floored=False, seconds=None),
        PhaseBegan(phase="done", total=1, done=1, failed=0, best=1.0),
    ]
    for event in events:
        notify(event)
    assert seen == events
