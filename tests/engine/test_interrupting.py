import pytest

from autodropout.cli import main
from autodropout.cli.listing import Tasks
from autodropout.engine.interrupting import terminable


class Interrupted:
    def __set_name__(self, owner, name):
        raise KeyboardInterrupt


def test_an_interrupt_where_a_library_makes_a_class_is_one():
    with pytest.raises(KeyboardInterrupt), terminable():

        class _Imported:  # Python before 3.12 raises RuntimeError from KeyboardInterrupt
            field = Interrupted()


def test_an_interrupt_that_python_has_wrapped_is_one():
    with pytest.raises(KeyboardInterrupt), terminable():
        raise RuntimeError("Error calling __set_name__") from KeyboardInterrupt()


def test_other_errors_stay_as_they_are():
    error = RuntimeError("of another kind")
    error.__cause__ = ValueError("its cause")
    with pytest.raises(RuntimeError) as caught, terminable():
        raise error
    assert caught.value is error


def test_a_command_that_is_interrupted_while_a_library_is_imported_says_so(monkeypatch, capsys):
    def run(command):
        raise RuntimeError("Error calling __set_name__") from KeyboardInterrupt()

    monkeypatch.setattr(Tasks, "run", run)
    assert main(["tasks"]) == 130
    assert capsys.readouterr().err == ""
