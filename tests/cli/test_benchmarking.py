import json
from itertools import count
from pathlib import Path

import pytest
from filelock import FileLock

from autodropout.benchmark import finished, racing
from autodropout.benchmark.gathering import gather
from autodropout.cli import main
from toy_landscape import studied

FEW = (
    "--repetitions",
    "3",
    "--trials",
    "8,16",
    "--workers",
    "1",
    "--searchers",
    "evolution,categorical:capacity=2",
)


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    out = tmp_path_factory.mktemp("landscape")
    studied(out / "runs" / "random", "random", 40, 0, top=4)
    gather(out / "runs", floor=0.08, regressor="ridge").release.save(out / "toy.jsonl")
    return str(out / "toy.jsonl")


@pytest.fixture(autouse=True)
def wide(monkeypatch, tmp_path):
    monkeypatch.setenv("COLUMNS", "120")
    monkeypatch.chdir(tmp_path)


def test_a_table_and_what_its_numbers_are(file, capsys):
    assert main(["benchmark", "searchers", file, *FEW]) == 0
    out = capsys.readouterr().out
    lines = [line.split() for line in out.splitlines()]
    (heading,) = [line for line in lines if line[:1] == ["searcher"]]
    assert heading[:6] == ["searcher", "n", "8", "trials", "16", "trials"]
    assert [line[:2] for line in lines if "±" in " ".join(line)] == [
        ["random", "3"],
        ["evolution", "3"],
        ["categorical:capacity=2", "3"],
    ]
    words = " ".join(out.split())
    assert "by a surrogate (ridge) of 52 trials; the 8 best policies of a search are run again on 4" in words
    assert "No dropout has" in words


def test_json_for_a_machine_and_in_a_file(file, capsys):
    assert (
        main(["benchmark", "searchers", file, *FEW, "--json", "--out", "found.json", "--confirm-top", "0"])
        == 0
    )
    captured = capsys.readouterr()
    document = json.loads(captured.out)
    with open("found.json", encoding="utf8") as found:
        assert document == json.load(found)
    assert Path("found.md").read_text(encoding="utf8").startswith("# Searchers on toy\n\n| searcher | n |")
    assert document["plan"] == {
        "trials": [8, 16],
        "repetitions": 3,
        "capacity": 3,
        "confirm": {"top": 0, "seeds": 4},
        "seed": 0,
        "common_seed": False,
    }
    assert [row["variant"]["name"] for row in document["searchers"]][1:] == [
        "evolution",
        "categorical:capacity=2",
    ]
    for row in document["searchers"]:
        for standing in row["standings"]:
            assert standing["value"] == standing["unconfirmed"]  # nothing was confirmed


@pytest.fixture
def stop(monkeypatch):
    """Stops the race before its n-th job, as Ctrl-C would; the clock goes on by one whenever it is read."""
    real = racing._simulated

    def after(jobs):
        ran = []

        def simulated(benchmark, space, job):
            if len(ran) == jobs:
                raise KeyboardInterrupt
            ran.append(job.variant.name)
            return real(benchmark, space, job)

        monkeypatch.setattr(racing, "_simulated", simulated)
        return ran

    monkeypatch.setattr(finished, "perf_counter", count(0.0).__next__)
    return after


def test_what_was_stopped_goes_on_and_gives_the_same_bytes(file, capsys, stop):
    for place in ("whole", "stopped"):
        Path(place).mkdir()
    search = ["benchmark", "searchers", file, *FEW, "--out"]
    jobs = stop(None)
    assert main([*search, "whole/found.json"]) == 0
    assert len(jobs) >= 3
    assert json.loads(Path("whole/found.json").read_text())["seconds"] == 3.0
    stop(len(jobs) - 1)
    assert main([*search, "stopped/found.json"]) == 130
    words = " ".join(capsys.readouterr().out.split())
    assert (
        "Stopped; 2 of 3 searchers are kept in stopped/found.unfinished. The same command goes on." in words
    )
    assert not Path("stopped/found.json").exists()
    again = stop(None)
    assert main([*search, "stopped/found.json"]) == 0
    assert set(again) == {"categorical:capacity=2"}
    assert sorted(path.name for path in Path("stopped").iterdir()) == ["found.json", "found.md"]
    for name in ("found.json", "found.md"):
        assert (Path("stopped") / name).read_bytes() == (Path("whole") / name).read_bytes()


def test_what_was_asked_for_otherwise_does_not_go_on(file, capsys, stop):
    search = ["benchmark", "searchers", file, *FEW, "--out", "found.json"]
    stop(2)
    assert main(search) == 130
    assert main([*search, "--seed", "1"]) == 2
    error = capsys.readouterr().err
    assert "found.unfinished/evolution.json was made with plan {" in error
    assert "move it away to begin anew" in error
    again = "evolution:repetitions=2,categorical:capacity=2"
    assert main([*search, "--searchers", again]) == 2
    assert "found.unfinished/evolution.json was made with variant {" in capsys.readouterr().err
    Path("found.unfinished/evolution.json").write_text("{")
    assert main(search) == 2
    assert (
        "found.unfinished/evolution.json is damaged; remove it, and its searcher is"
        in capsys.readouterr().err
    )


def test_before_a_searcher_is_done_nothing_is_kept(file, capsys, stop):
    stop(0)
    assert main(["benchmark", "searchers", file, *FEW, "--out", "found.json"]) == 130
    words = "Stopped; no searcher is done, so nothing is kept yet. The same command begins anew."
    assert words in capsys.readouterr().out
    assert list(Path().iterdir()) == []


def test_two_at_a_time_do_not_share_a_file(file, capsys, stop):
    search = ["benchmark", "searchers", file, *FEW, "--out", "found.json"]
    stop(2)
    assert main(search) == 130
    capsys.readouterr()
    jobs = stop(None)
    with FileLock("found.unfinished/lock"):
        assert main(search) == 2
    error = capsys.readouterr().err
    assert "error: another comparison is running that keeps its searchers in found.unfinished; wait" in error
    assert (jobs, Path("found.json").exists()) == ([], False)
    assert main(search) == 0
    assert sorted(path.name for path in Path().iterdir()) == ["found.json", "found.md"]


def test_without_a_file_nothing_is_kept(file, capsys, stop):
    stop(1)
    assert main(["benchmark", "searchers", file, *FEW]) == 130
    assert "Stopped; nothing is kept. With --out it goes on where it was." in capsys.readouterr().out
    assert list(Path().iterdir()) == []


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--searchers", "genetic"], "there is no searcher 'genetic'; choose from reinforce"),
        (["--searchers", "evolution:lr=1"], "the searcher 'evolution' has no setting 'lr'"),
        (["--out", "x.md"], "x.md is where the table would go; name the file of the JSON, such as x.json"),
        (["--out", "x.unfinished"], "x.unfinished is where searchers that are done would be kept; name the"),
        (["--seed", "-1"], "seed is -1; expected at least 0"),
        (["--trials", "many"], "trials are 'many'; expected whole numbers, as in 64,128,256,512"),
        (["--trials", "0"], "trials are [0]; expected one or more numbers >= 1, rising"),
        (["--repetitions", "1"], "repetitions is 1; expected at least 2"),
        (["--workers", "0"], "workers is 0; expected at least 1"),
        (["--out", "nowhere/x.json"], "nowhere is no directory; make it, or name another file"),
        (["--out", "."], ". is a directory; expected the name of a file"),
    ],
)
def test_wrong_use_is_said_in_a_line(file, capsys, words, message):
    few = ["--repetitions", "2", "--trials", "4", "--searchers", "random", "--workers", "1"]
    assert main(["benchmark", "searchers", file, *few, *words]) == 2
    error = capsys.readouterr().err.strip()
    assert error.startswith("error: ")
    assert message in error
    assert "\n" not in error


def test_an_unknown_landscape_is_said(capsys):
    assert main(["benchmark", "searchers", "nothing"]) == 2
    assert "there is no benchmark 'nothing'; this version has: " in capsys.readouterr().err
    assert main(["benchmark", "searchers", "nothing.jsonl"]) == 2
    assert "nothing.jsonl cannot be read (No such file or directory)" in capsys.readouterr().err


def test_a_landscape_without_repeats_is_said(file, capsys, tmp_path):
    with open(file, encoding="utf8") as whole:
        header, *lines = whole.read().splitlines()
    kept = [line for line in lines if '"kind":"search"' in line]
    header = header.replace(f'"trials":{len(lines)}', f'"trials":{len(kept)}')
    (tmp_path / "bare.jsonl").write_text("\n".join([header, *kept]) + "\n")
    assert main(["benchmark", "searchers", "bare.jsonl", *FEW]) == 2
    assert "error: no policy of the landscape was trained with two seeds" in capsys.readouterr().err
