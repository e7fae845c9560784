import json

import pytest

from autodropout.cli import main
from autodropout.comparison import compare
from autodropout.engine.control import requested
from autodropout.engine.ledger import Ledger
from recorded import STUDY, Run, Writer, record_study, record_whole_study


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    out = tmp_path_factory.mktemp("whole")
    record_whole_study(out)
    return out


@pytest.fixture
def running(tmp_path):
    """A study whose search still holds its lock: one trial runs, one waits."""
    writer = Writer(tmp_path)
    writer.run([Run(reward=0.5), Run(reward=0.7)])
    writer.queue()
    writer.queue()
    writer.start(3)
    yield tmp_path
    writer.close()


def refusal(capsys, *arguments, code=2):
    """The one-line error of a command that is wrong."""
    assert main([*map(str, arguments)]) == code
    captured = capsys.readouterr()
    assert captured.err.startswith("error: ")
    assert captured.err.count("\n") == 1
    return captured.err


def test_report_writes_a_page_and_says_where(whole, capsys):
    assert main(["report", str(whole)]) == 0
    path = whole / "report.html"
    assert path.as_uri() in capsys.readouterr().out
    assert "ValueError: boom" in path.read_text(encoding="utf8")


def test_report_goes_where_it_is_told(whole, tmp_path, capsys):
    assert main(["report", str(whole), "--to", str(tmp_path / "r.html")]) == 0
    assert (tmp_path / "r.html").exists()


def test_following_a_finished_study_ends_at_once(whole, capsys):
    assert main(["report", str(whole), "--follow"]) == 0
    assert "Ctrl-C ends this, not the search" in capsys.readouterr().out
    assert "data-refresh" not in (whole / "report.html").read_text(encoding="utf8")


@pytest.mark.parametrize("command", ["report", "export --to csv", "status", "pause", "stop", "logs 1"])
def test_a_directory_without_a_study_is_one_sentence(tmp_path, capsys, command):
    name, *rest = command.split()
    assert "holds no study" in refusal(capsys, name, tmp_path, *rest)


def test_an_empty_ledger_is_one_sentence(tmp_path, capsys):
    Writer(tmp_path).close()
    for arguments in (["report", tmp_path], ["export", tmp_path, "--to", "csv"]):
        assert "the ledger is empty" in refusal(capsys, *arguments)


def test_a_damaged_ledger_is_one_sentence(tmp_path, capsys):
    record_study(tmp_path, [Run(reward=0.5)])
    (tmp_path / "study.db").write_bytes(b"SQLite format 3\0" + b"\xff" * 5000)
    assert "study.db" in refusal(capsys, "report", tmp_path, code=1)


def test_export_says_what_it_wrote_and_how_to_look_at_it(whole, capsys):
    assert main(["export", str(whole), "--to", "csv"]) == 0
    assert "trials.csv" in capsys.readouterr().out
    pytest.importorskip("optuna")
    assert main(["export", str(whole), "--to", "optuna"]) == 0
    assert f"optuna-dashboard sqlite:///{whole / 'optuna.db'}" in capsys.readouterr().out


def test_status_of_a_running_search(running, capsys):
    assert main(["status", str(running), "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert facts["running"]
    assert facts["search"] == {"done": 2, "running": 1, "queued": 1, "failed": 0}
    assert facts["best"] == {"reward": 0.7, "trial": 2, "confirmed": False}
    assert main(["status", str(running)]) == 0
    text = capsys.readouterr().out
    assert "searching, running now" in text
    assert "2 done, 1 running, 1 queued" in text
    assert "0.7000 (trial 2, not confirmed)" in text


def test_status_when_nothing_runs(tmp_path, whole, capsys):
    writer = Writer(tmp_path)
    writer.run([Run(reward=0.5)])
    writer.queue()
    writer.start(2)
    writer.close()
    assert main(["status", str(tmp_path)]) == 0
    text = capsys.readouterr().out
    assert f"not running; it was searching; go on with: autodropout resume {tmp_path}\n" in text
    assert "1 done, 1 interrupted" in text
    assert main(["status", str(whole)]) == 0
    text = capsys.readouterr().out
    assert "finished" in text
    assert "confirmed" in text


def test_status_of_a_comparison(tmp_path, capsys):
    arms = {"a": lambda seed: 0.5, "b": lambda seed: 0.6}
    compare(lambda policy, seed: 0.0, arms, seeds=2, executor="inline", out=tmp_path)
    assert main(["status", str(tmp_path)]) == 0
    text = capsys.readouterr().out
    assert "finished" in text
    assert "4 done" in text


def test_looking_leaves_the_lock_free(tmp_path, capsys):
    record_study(tmp_path, [Run(reward=0.5)])
    assert main(["status", str(tmp_path)]) == 0
    Ledger.open(tmp_path).close()


def test_a_pause_is_asked_for_and_ended(running, capsys):
    assert main(["pause", str(running)]) == 0
    assert requested(running) == "pause"
    assert f"autodropout pause {running} --go-on" in capsys.readouterr().out
    main(["status", str(running)])
    assert "paused while searching" in capsys.readouterr().out
    assert main(["pause", str(running), "--go-on"]) == 0
    assert requested(running) == "go"


def test_a_stop_is_asked_for(running, capsys):
    assert main(["stop", str(running)]) == 0
    assert requested(running) == "stop"
    assert f"autodropout resume {running}" in capsys.readouterr().out
    main(["status", str(running)])
    assert "stopping" in capsys.readouterr().out


@pytest.mark.parametrize("command", ["pause", "stop"])
def test_nobody_is_asked_where_nothing_runs(tmp_path, whole, capsys, command):
    record_study(tmp_path, [Run(reward=0.5)])
    assert "no search is running in" in refusal(capsys, command, tmp_path)
    assert "is finished; there is nothing to pause or stop" in refusal(capsys, command, whole)


def test_logs_are_printed(whole, capsys):
    assert main(["logs", str(whole), "6"]) == 0
    assert capsys.readouterr().out == "epoch 1\nTraceback\nValueError: boom\n"
    assert main(["logs", str(whole), "6", "--attempt", "1", "--follow"]) == 0
    assert capsys.readouterr().out == "epoch 1\nTraceback\nValueError: boom\n"


def test_a_silent_trial_is_said_to_be_silent(whole, capsys):
    (whole / "logs" / "trial-000007-1.log").touch()
    assert main(["logs", str(whole), "7"]) == 0
    captured = capsys.readouterr()
    assert (captured.out, captured.err) == ("", "trial 7 has printed nothing\n")


def test_logs_that_are_not_there_are_explained(whole, running, capsys):
    assert "no log of attempt 1 at trial 1 was kept: there is no" in refusal(capsys, "logs", whole, 1)
    text = refusal(capsys, "logs", whole, 99, code=2)
    assert text == f"error: there is no trial 99 in {whole}; it holds trials 1 to 30\n"
    text = refusal(capsys, "logs", whole, 1, "--attempt", 0, code=2)
    assert text == "error: attempt is 0; expected a whole number of at least 1\n"
    assert "trial 4 has not started yet" in refusal(capsys, "logs", running, 4)


def test_following_a_log_goes_on_until_the_trial_ends(tmp_path, monkeypatch, capsys):
    writer = Writer(tmp_path, STUDY)
    writer.queue()
    writer.start(1)
    log = tmp_path / "logs" / "trial-000001-1.log"
    log.parent.mkdir()
    log.write_text("one\n", encoding="utf8")
    lines = iter(["two\n", "three\n"])

    def work(seconds):
        with log.open("a", encoding="utf8") as file:
            file.write(line := next(lines))
        if line == "three\n":
            writer.end(1, Run(reward=0.5), started=True)

    monkeypatch.setattr("autodropout.cli.tailing.time.sleep", work)
    assert main(["logs", str(tmp_path), "1", "--follow"]) == 0
    writer.close()
    assert capsys.readouterr().out == "one\ntwo\nthree\n"
