"""--data: the folder of data sets, for tasks that read files."""

import json
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

import pytest

from autodropout.cli import main
from autodropout.engine.study import Study
from autodropout.tasks import registry
from autodropout.tasks.images.digits import Digits
from autodropout.tasks.text.small import PtbSmall

SMALL = ("--executor", "inline", "--trials", "2", "--confirm-top", "1", "--confirm-seeds", "1")


def reading_kind(toy):
    """The toy as a task that wants a folder, and whose figures are for one version of the data only."""

    @dataclass(frozen=True)
    class Reading(type(toy)):
        name = "reading"
        key = "reading (version 1)"
        trouble = lacking = None

        data: str | None = None

        def missing(self):
            return None if self.data and Path(self.data).is_dir() else f"the data are not at {self.data}"

        def result(self, reward, seed):
            Path(self.data, "read").touch()
            return toy.result(reward, seed)

    return Reading


@pytest.fixture
def folder(toy, tmp_path, monkeypatch):
    reading = reading_kind(toy)()
    monkeypatch.setattr(registry, "TASKS", MappingProxyType({"toy": toy, "reading": reading}))
    folder = tmp_path / "data sets"
    folder.mkdir()
    return folder


def test_every_command_reads_the_folder_and_repeats_it(folder, capsys):
    assert main(["search", "reading", *SMALL, "--out", "x", "--data", str(folder)]) == 0
    assert (folder / "read").exists()
    again = f"autodropout compare reading --policy x/best.json --data '{folder}'"
    assert again in capsys.readouterr().out.replace("python -m ", "")
    (folder / "read").unlink()
    assert main(["resume", "x", "--trials", "3", "--data", str(folder)]) == 0
    assert (folder / "read").exists()
    (folder / "read").unlink()
    words = ["--baselines", "none", "--seeds", "2", "--executor", "inline", "--data", str(folder)]
    assert main(["compare", "reading", "--policy", "x/best.json", *words, "--random-trials", "2"]) == 0
    assert (folder / "read").exists()
    document = json.loads(Path("x/compare/comparison.json").read_text())
    assert f"--data '{folder}'" in document["command"]


def test_ledgers_are_labelled_with_the_key(folder, capsys):
    assert main(["search", "reading", *SMALL, "--out", "x", "--data", str(folder)]) == 0
    assert (
        main(
            [
                "compare",
                "reading",
                "--policy",
                "x/best.json",
                "--baselines",
                "none,dropout",
                "--seeds",
                "2",
                "--tune-trials",
                "4",
                "--random-trials",
                "2",
                "--executor",
                "inline",
                "--data",
                str(folder),
            ]
        )
        == 0
    )
    ledgers = [path.parent for path in Path("x").rglob("study.db")]
    assert len(ledgers) == 4
    assert {Study(ledger).task for ledger in ledgers} == {"reading (version 1)"}


def test_a_search_on_other_data_is_not_gone_on_with(folder, capsys, monkeypatch):
    assert main(["search", "reading", *SMALL, "--out", "x", "--data", str(folder)]) == 0
    monkeypatch.setattr(type(registry.TASKS["reading"]), "key", "reading (version 2)")
    assert main(["resume", "x", "--data", str(folder)]) == 2
    assert (
        "holds a search of 'reading (version 1)', which the command line does not know"
        in capsys.readouterr().err
    )


@pytest.mark.parametrize("command", ["search", "compare", "resume"])
def test_a_missing_folder_is_said(folder, capsys, command):
    assert main(["search", "reading", *SMALL, "--out", "x", "--data", str(folder)]) == 0
    capsys.readouterr()
    words = {
        "search": ["search", "reading", "--out", "y"],
        "compare": ["compare", "reading", "--policy", "x/best.json", "--out", "y"],
        "resume": ["resume", "x"],
    }
    assert main([*words[command], "--data", "nowhere"]) == 2
    assert capsys.readouterr().err == "error: the data are not at nowhere\n"
    assert not Path("y").exists()


def test_a_task_without_files_takes_no_folder(toy, capsys):
    assert main(["search", "toy", "--data", "somewhere"]) == 2
    assert (
        capsys.readouterr().err
        == "error: the task 'toy' reads no files; leave out the data folder 'somewhere'\n"
    )
    with pytest.raises(registry.UsageError, match="'digits' reads no files"):
        registry.reading(Digits(), Path("x"))


def test_tasks_says_whether_they_are_there(folder, capsys):
    assert main(["tasks", "--json", "--data", str(folder)]) == 0
    assert [task["ready"] for task in json.loads(capsys.readouterr().out)] == [True, True]
    assert main(["tasks", "--json"]) == 0
    assert [task["ready"] for task in json.loads(capsys.readouterr().out)] == [True, False]


def test_ptb_small_says_where_to_get_its_files(monkeypatch, tmp_path, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(["search", "ptb-small", "--data", "nowhere"]) == 2
    error = capsys.readouterr().err
    assert f"Penn Treebank is not at {tmp_path}/nowhere/ptb/ptb.train.txt" in error
    assert "into a folder ptb/, and name the folder that holds ptb/ by --data or by the environment" in error
    assert not Path("runs").exists()
    assert registry.reading(PtbSmall(), Path("here")) == PtbSmall(data="here")
