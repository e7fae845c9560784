import pytest

from autodropout.cli import main
from recorded import Run, Writer


@pytest.fixture
def writer(tmp_path):
    """A study whose search holds its lock; its first trial waits."""
    (tmp_path / "logs").mkdir()
    writer = Writer(tmp_path)
    writer.queue()
    yield writer
    writer.close()


@pytest.fixture
def turns(monkeypatch):
    """What happens while the command sleeps, turn after turn."""
    happening = []
    monkeypatch.setattr("autodropout.cli.tailing.time.sleep", lambda seconds: happening.pop(0)())
    return happening


def write(out, attempt, text):
    with (out / "logs" / f"trial-000001-{attempt}.log").open("a", encoding="utf8") as file:
        file.write(text)


def followed(out, *more) -> int:
    return main(["logs", str(out), "1", "--follow", *more])


def test_a_trial_that_waits_is_followed_from_its_start_to_its_end(tmp_path, writer, turns, capsys):
    turns += [
        lambda: None,
        lambda: (writer.start(1), write(tmp_path, 1, "one\n")),
        lambda: (write(tmp_path, 1, "two\n"), writer.end(1, Run(reward=0.5), started=True)),
    ]
    assert followed(tmp_path) == 0
    assert capsys.readouterr() == ("one\ntwo\n", "")
    assert turns == []


def attempt(writer, number):
    writer._ledger.start(1, number)


def test_the_next_attempt_is_followed_too(tmp_path, writer, turns, capsys):
    turns += [
        lambda: (attempt(writer, 1), write(tmp_path, 1, "one\n")),
        lambda: (write(tmp_path, 1, "late\n"), attempt(writer, 2), write(tmp_path, 2, "two\n")),
        lambda: (write(tmp_path, 2, "three\n"), writer.close()),
    ]
    assert followed(tmp_path) == 0
    assert capsys.readouterr().out == "one\nlate\ntwo\nthree\n"


def test_one_attempt_is_followed_until_the_next_begins(tmp_path, writer, turns, capsys):
    turns += [
        lambda: (attempt(writer, 1), write(tmp_path, 1, "one\n")),
        lambda: (write(tmp_path, 1, "late\n"), attempt(writer, 2), write(tmp_path, 2, "two\n")),
    ]
    assert followed(tmp_path, "--attempt", "1") == 0
    assert capsys.readouterr().out == "one\nlate\n"
    assert turns == []


def test_it_ends_when_nothing_runs_any_more(tmp_path, writer, turns, capsys):
    attempt(writer, 1)
    write(tmp_path, 1, "one\n")
    turns += [writer.close]
    assert followed(tmp_path) == 0
    assert capsys.readouterr().out == "one\n"


def test_a_trial_that_never_starts(tmp_path, writer, turns, capsys):
    turns += [writer.close]
    assert followed(tmp_path) == 2
    assert capsys.readouterr() == ("", "error: trial 1 has not started yet, so it has printed nothing\n")
