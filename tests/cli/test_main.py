import json
import subprocess
import sys
import warnings

import pytest

import autodropout
from autodropout.cli import _COMMANDS, main
from autodropout.cli.command import Command
from autodropout.cli.listing import Tasks
from autodropout.errors import (
    ApplyError,
    DataError,
    LedgerError,
    MissingError,
    PatternError,
    ShapeError,
    SiteError,
    SpaceError,
    StudyError,
    UsageError,
)

COMMANDS = tuple(_COMMANDS)


def test_the_commands_there_are():
    names = "tasks search resume compare show report export status pause stop logs"
    assert set(names.split()) <= set(COMMANDS)


def test_version(capsys):
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"autodropout {autodropout.__version__}\n"


@pytest.mark.parametrize("arguments", [[], ["--help"], ["-h"]])
def test_the_overview_names_every_command(capsys, arguments):
    assert main(arguments) == 0
    text = capsys.readouterr().out
    for command in COMMANDS:
        assert f"• {command}" in text
    assert "autodropout search digits" in text


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help_with_an_example(capsys, command):
    assert main([command, "--help"]) == 0
    text = capsys.readouterr().out
    assert text.startswith(f"usage: autodropout {command}")
    assert f"For example:\n  autodropout {command}" in text
    assert "--debug" in text
    assert "None" not in text


@pytest.mark.parametrize("command", COMMANDS)
def test_help_has_no_gaps(capsys, command):
    main([command, "--help"])
    assert "\n\n\n" not in capsys.readouterr().out


def test_a_command_that_does_nothing_cannot_be_made():
    with pytest.raises(TypeError, match="abstract"):
        type("Idle", (Command,), {})()


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize("columns", [60, 80, 200])
def test_help_fits_the_terminal(capsys, monkeypatch, command, columns):
    monkeypatch.setenv("COLUMNS", str(columns))
    main([command, "--help"])
    prose = capsys.readouterr().out.partition("For example:")[0]
    assert all(len(line) <= min(columns, 100) for line in prose.splitlines() if "usage:" not in line)


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["bogus"], "bogus"),
        (["--bogus"], "--bogus"),
        (["search"], "TASK"),
        (["search", "digits", "--bogus"], "--bogus"),
        (["search", "digits", "--trials", "many"], "--trials"),
        (["search", "digits", "--executor", "moon"], "--executor"),
        (["search", "digits", "--searcher", "luck"], "--searcher"),
        (["resume"], "DIR"),
        (["show"], "POLICY"),
        (["tasks", "toy", "extra"], "extra"),
    ],
)
def test_wrong_arguments_are_wrong_use(capsys, arguments, text):
    assert main(arguments) == 2
    captured = capsys.readouterr()
    assert text in captured.err
    assert "Traceback" not in captured.err
    assert captured.out == ""


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (UsageError("x is 3; expected 4"), 2),
        (PatternError("x is 3; expected 4"), 2),
        (SpaceError("x is 3; expected 4"), 2),
        (SiteError("x is 3; expected 4"), 2),
        (DataError("x is 3; expected 4"), 2),
        (ShapeError("x is 3; expected 4"), 1),
        (ApplyError("x is 3; expected 4"), 1),
        (LedgerError("x is 3; expected 4"), 1),
        (StudyError("x is 3;\n  expected 4"), 1),
    ],
)
def test_our_errors_are_one_line(capsys, monkeypatch, error, code):
    def run(self):
        raise error

    monkeypatch.setattr(Tasks, "run", run)
    assert main(["tasks"]) == code
    assert capsys.readouterr().err == "error: x is 3; expected 4\n"


def test_an_unexpected_error_says_how_to_see_more(capsys, monkeypatch):
    def run(self):
        raise ZeroDivisionError("division by zero")

    monkeypatch.setattr(Tasks, "run", run)
    assert main(["tasks"]) == 1
    assert capsys.readouterr().err == (
        "error: ZeroDivisionError: division by zero "
        "(this should not happen; run it again with --debug to see where)\n"
    )


@pytest.mark.parametrize(("error", "code"), [(UsageError("no"), 2), (ZeroDivisionError("oh"), 1)])
def test_debug_shows_the_traceback(capsys, monkeypatch, error, code):
    def run(self):
        raise error

    monkeypatch.setattr(Tasks, "run", run)
    assert main(["tasks", "--debug"]) == code
    assert "Traceback (most recent call last)" in capsys.readouterr().err


def test_an_interrupt_is_130(capsys, monkeypatch):
    def run(self):
        raise KeyboardInterrupt

    monkeypatch.setattr(Tasks, "run", run)
    assert main(["tasks"]) == 130
    assert "Traceback" not in capsys.readouterr().err


def test_help_needs_no_torch():
    code = (
        "import sys; from autodropout.cli import main; main(['--help']); main(['search', '--help']);"
        "sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, check=False).returncode == 0


def test_it_runs_as_a_module():
    run = subprocess.run(
        [sys.executable, "-m", "autodropout", "--version"], capture_output=True, text=True, check=False
    )
    assert (run.returncode, run.stdout) == (0, f"autodropout {autodropout.__version__}\n")
    run = subprocess.run(
        [sys.executable, "-m", "autodropout", "nope"], capture_output=True, text=True, check=False
    )
    assert run.returncode == 2


def test_a_reader_that_goes_away_is_no_error():
    code = (
        "import sys; from autodropout.cli import listing, main;"
        "listing.Tasks.run = lambda self: sys.stdout.write('x' * 10**6); sys.exit(main(['tasks']))"
    )
    run = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    run.stdout.close()
    assert run.stderr.read() == b""
    run.wait()


def test_tasks_as_a_list(capsys, toy):
    toy.lacking = "fetch it with: fetch toy"
    assert main(["tasks"]) == 0
    first, second, _, hint, *_ = capsys.readouterr().out.splitlines()
    assert first.split() == ["toy", "4", "weights", "0", "s", "a", "training", "no", "data"]
    assert second.strip().startswith("counts sites")
    assert hint.startswith("autodropout tasks TASK says more")
    toy.lacking = None
    assert main(["tasks"]) == 0
    assert "0 s a training  data ready" in capsys.readouterr().out


def test_all_about_a_task(capsys, toy):
    toy.lacking = "fetch it with: fetch toy"
    assert main(["tasks", "toy"]) == 0
    text = " ".join(capsys.readouterr().out.split())
    assert "toy counts sites" in text
    assert "network 4 parameters" in text
    assert "16 decisions, about 10^" in text
    assert "about 0 s a training; a search is 8 trials and 4 to confirm the best, 0 s of one" in text
    assert "nothing: fetch it with: fetch toy" in text
    assert main(["tasks", "toy", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["name"] == "toy"
    assert main(["tasks", "tay"]) == 2
    assert "there is no task 'tay'" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("number", "words"),
    [
        (4, "4 weights"),
        (163_104, "163k weights"),
        (999_600, "1.0M weights"),
        (66_347_960, "66.3M weights"),
        (None, ""),
    ],
)
def test_tasks_say_how_large_the_network_is(number, words):
    from autodropout.cli.listing import _size

    assert _size(number) == words


def test_every_line_of_the_list_but_the_summaries_fits_80_columns(capsys, monkeypatch):
    from autodropout.cli.listing import _list
    from autodropout.tasks.registry import TASKS

    monkeypatch.setattr("autodropout.cli.listing._num_parameters", lambda task: 66_347_960)
    lines = list(_list(list(TASKS.values())))[::2]
    assert len(lines) == len(TASKS)
    for line, name in zip(lines, TASKS, strict=True):
        assert line.plain.startswith(name)
        assert "66.3M weights" in line.plain
        assert len(line.plain) <= 80


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(6.0, "6 s"), (100.0, "1 min 40 s"), (2_400.0, "40 min"), (14_400.0, "4 h"), (7_776_000.0, "90 days")],
)
def test_tasks_say_how_long_a_training_takes(capsys, toy, monkeypatch, seconds, words):
    monkeypatch.setattr(type(toy), "seconds", seconds)
    assert main(["tasks"]) == 0
    assert f"{words} a training" in capsys.readouterr().out


def test_the_space_of_a_task_that_takes_days_is_not_built(capsys, toy, monkeypatch):
    monkeypatch.setattr(type(toy), "seconds", 2 * 86_400.0)
    monkeypatch.setattr(toy, "space", lambda: pytest.fail("it was built"))
    assert main(["tasks", "toy"]) == 0
    text = capsys.readouterr().out
    assert "counts sites" in text
    assert "decisions" not in text


def test_what_is_missing_is_said_to_the_end(capsys, toy, monkeypatch):
    monkeypatch.setenv("COLUMNS", "60")
    toy.lacking = f"fetch it with: python -c \"fetch('/{'long' * 20}', [part for part in ('a', 'b')])\""
    assert main(["tasks", "toy"]) == 0
    text = capsys.readouterr().out
    assert "…" not in text
    assert toy.lacking.replace(" ", "") in "".join(text.split())


def test_tasks_whose_library_is_not_installed_are_listed(capsys, toy, monkeypatch):
    def space():
        raise MissingError("install it")

    monkeypatch.setattr(toy, "space", space)
    monkeypatch.setattr(toy, "model", space)
    assert main(["tasks", "--json"]) == 0
    (found,) = json.loads(capsys.readouterr().out)
    assert (found["parameters"], found["decisions"], found["policies_log10"]) == (None, None, None)
    assert main(["tasks", "toy"]) == 0
    assert "parameters" not in capsys.readouterr().out
    assert main(["tasks"]) == 0
    assert "weights" not in capsys.readouterr().out


def test_tasks_as_json(capsys, toy):
    assert main(["tasks", "--json"]) == 0
    (found,) = json.loads(capsys.readouterr().out)
    assert found["name"] == "toy"
    assert found["ready"] is True
    assert found["missing"] is None
    assert found["decisions"] == 16
    assert found["parameters"] == 4


def test_the_number_of_policies_counts_what_differs():
    from autodropout.cli.listing import _num_policies
    from autodropout.token_space import TokenSpace

    space = TokenSpace(sites=("ffn", "key"), sizes=(1, 2), strides=(0, 1, 2), rates=(0.1,), schedule=True)
    policies = {
        space.decode([a, b, c, d, 0, e, f, g, h, 0, s]).key
        for a in range(3)
        for b in range(3)
        for c in range(2)
        for d in range(2)
        for e in range(3)
        for f in range(3)
        for g in range(2)
        for h in range(2)
        for s in range(4)
    }
    assert _num_policies(space) == len(policies) == 25 * 25 * 4


def test_a_warning_is_one_plain_line(monkeypatch, capsys):
    def warn(self):
        warnings.warn("nothing is\nlearned", stacklevel=1)

    monkeypatch.setattr("autodropout.cli.listing.Tasks.run", warn)
    assert main(["tasks"]) == 0
    assert capsys.readouterr().err == "warning: nothing is learned\n"
