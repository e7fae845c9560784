import json
import math
import re
import shlex
from dataclasses import asdict, replace
from pathlib import Path

import pytest

from autodropout.cli import main
from autodropout.cli.account import tables
from autodropout.comparison import read_comparison
from autodropout.comparison.quotations import quotations
from autodropout.conclusions import conclusion
from autodropout.engine.control import request
from autodropout.engine.executors.inline import InlineExecutor
from autodropout.engine.study import Study
from autodropout.errors import ApplyError
from autodropout.pattern import ConvPattern
from autodropout.policy import Policy
from autodropout.report.record import read_record
from autodropout.result import Result
from autodropout.significance import paired_difference
from autodropout.tasks.base import Figure

ONE_SITE = Policy({"a": ConvPattern(height=1, width=1)})
FEW = ("--executor", "inline", "--tune-trials", "6", "--seeds", "3")


@pytest.fixture
def policy(toy) -> str:
    ONE_SITE.save("mine.json")
    return "mine.json"


def compared(policy: str, *more: str) -> int:
    return main(["compare", "toy", "--policy", policy, *FEW, *more])


def failed(capsys, code: int, *arguments: str) -> str:
    """Run what must fail with this code and one line; return the line without "error: "."""
    assert main(["compare", *arguments]) == code
    text = capsys.readouterr().err
    assert text.startswith("error: ")
    assert text.count("\n") == 1
    return text[7:-1]


def test_the_papers_figures_stand_beside_ours_as_quoted(capsys, toy, policy, monkeypatch):
    quoted = quotations("imagenet-efficientnet-b7")
    monkeypatch.setattr("autodropout.cli.account.quotations", lambda task: quoted)
    monkeypatch.setattr("autodropout.cli.account.quoted_elsewhere", lambda task: f"Not {task}.")
    assert compared(policy, "--out", "x", "--baselines", "none") == 0
    text = " ".join(capsys.readouterr().out.split())
    assert "Quoted figures, not measured here: ImageNet, EfficientNet-B7, top-1 / top-5 accuracy, %" in text
    mean = 100 * read_comparison("x").rows[-1].summary.mean
    assert f"AutoDropout 84.7 / 97.1 policy {mean:.2f} / —" in text
    assert re.search(r"Stochastic Depth \(.*\) 84.1 / 96.9 stochastic-depth not run ", text)
    assert "Not toy." in text
    account = json.loads(Path("x/comparison.json").read_text())
    ours = [quotation.beside({"none": "", "policy": f"{mean:.2f} / —"}) for quotation in quoted]
    assert account["quoted"] == json.loads(json.dumps([quotation.to_plain() for quotation in ours]))
    assert [arm["name"] for arm in account["comparison"]["arms"]] == ["none", "policy"]
    markdown = Path("x/comparison.md").read_text()
    assert (
        "\n## Quoted from the paper\n\n### Quoted figures, not measured here: ImageNet, EfficientNet-B7"
        in markdown
    )
    assert f"| AutoDropout | 84.7 / 97.1 | policy | {mean:.2f} / — |" in markdown
    assert "84.7" not in Path("x/comparison.tex").read_text()


def test_devices_arrive_at_all_that_trains(toy, policy, monkeypatch):
    seen = []

    def make(evaluate, *, workers, devices, timeout, log_dir):
        seen.append((workers, devices))
        return InlineExecutor(evaluate, log_dir=log_dir)

    for room in ("autodropout.engine.run", "autodropout.comparison.running"):
        monkeypatch.setattr(f"{room}.LocalExecutor", make)
    few = "--tune-trials 6 --seeds 3 --baselines none,dropout --random-trials 2 --workers 4 --devices 0,1"
    assert main(["compare", "toy", "--policy", policy, "--out", "x", *few.split()]) == 0
    assert seen == [(4, [0, 1])] * 3
    assert "--devices 0,1" in json.loads(Path("x/comparison.json").read_text())["command"]


def test_a_whole_comparison(capsys, toy, policy):
    assert compared(policy, "--out", "x") == 0
    text = capsys.readouterr().out
    tuned = (
        "dropout: strength 0.2, mean reward 0.0000 (tuned in 6 trials: 3 strengths on 2 seeds)",
        "blocks: strength 0.25, mean reward -0.0500 (tuned in 6 trials: 3 strengths on 2 seeds)",
    )
    for line in (
        "Tuning dropout on validation: 3 strengths on 2 seeds each",
        *tuned,
        "tuning 6/6, 0 running, 0 failed",
        "Comparing 4 arms on 3 seeds each in x",
        "comparing 12/12, 0 running, 0 failed",
        "Saved: x/comparison.json, x/comparison.md, x/comparison.tex",
    ):
        assert line in text.splitlines()
    comparison = read_comparison("x")
    assert [row.name for row in comparison.rows] == ["none", "dropout 0.2", "blocks 0.25", "policy"]
    assert comparison.figure == "accuracy"
    assert {row.parameters for row in comparison.rows} == {4.0}
    policy_row = comparison.rows[-1]
    assert policy_row.against in ("none", "dropout 0.2", "blocks 0.25")
    said = " ".join(text.split())
    assert all(" ".join(sentence.split()) in said for sentence in comparison.conclusions)
    markdown, latex = Path("x/comparison.md").read_text(), Path("x/comparison.tex").read_text()
    assert markdown.startswith(
        "# Comparison on toy\n\ncounts sites.\n\n```\nautodropout compare toy --policy"
    )
    assert comparison.to_markdown() in markdown
    assert comparison.to_latex() in latex
    for line in tuned:
        assert f"- {line}\n" in markdown
        assert f"% {line}\n" in latex


def test_a_task_says_of_its_held_out_figure_that_less_is_better(toy, policy, monkeypatch):
    """As perplexity is; a training that diverged counts as the worst perplexity, not as a reward."""
    kind = type(toy)
    figure = Figure(name="perplexity", higher_is_better=False, floor=50.0)
    monkeypatch.setattr(kind, "figure", property(lambda task: figure), raising=False)

    def result(reward, seed):
        return Result(reward=reward, metrics={"parameters": 4}, test={"other": 0.0, "perplexity": 9 - reward})

    diverged = Result(reward=math.nan, metrics={"parameters": 4})
    monkeypatch.setattr(toy, "result", result)
    monkeypatch.setattr(toy, "evaluate", lambda policy, seed: diverged if policy.sites else result(-1, seed))
    assert compared(policy, "--out", "x", "--baselines", "none,dropout") == 0
    comparison = read_comparison("x")
    assert (comparison.figure, comparison.higher_is_better) == ("perplexity", False)
    rows = {row.name.split()[0]: row for row in comparison.rows}
    assert {name: row.summary.mean for name, row in rows.items()} == {
        "none": pytest.approx(10.0),
        "dropout": pytest.approx(9.0),
        "policy": pytest.approx(50.0),
    }
    assert rows["policy"].against == "dropout 0.2"
    assert rows["policy"].floored == 3


def test_baselines_are_measured_against_each_other_even_if_the_policy_is_best(toy, policy, monkeypatch):
    monkeypatch.setattr(toy, "evaluate", lambda policy, seed: toy.result(2.0 * len(policy.sites), seed))
    assert compared(policy, "--out", "x") == 0
    rows = {row.name: row for row in read_comparison("x").rows}
    assert rows["policy"].summary.mean > max(rows[name].summary.mean for name in rows if name != "policy") + 1
    assert {rows[name].against for name in rows} <= {"none", "dropout 0.2", "blocks 0.25"}


def test_every_run_is_trained_once_on_seeds_of_its_own(toy, policy):
    assert compared(policy, "--out", "x") == 0
    assert toy.evaluated == 2 * 6 + 4 * 3
    tuning, comparing = toy.seeds[:12], toy.seeds[12:]
    assert not set(tuning) & set(comparing)
    assert len(set(comparing)) == 3
    assert set(comparing) == set(read_comparison("x").seeds)


def test_json_for_a_machine(capsys, toy, policy):
    assert compared(policy, "--out", "x", "--json") == 0
    captured = capsys.readouterr()
    document = json.loads(captured.out)
    assert "Tuning dropout" in captured.err
    assert document == json.loads(Path("x/comparison.json").read_text())
    assert (document["schema"], document["task"]) == (1, "toy")
    assert Policy.from_json(json.dumps(document["policy"])) == ONE_SITE
    assert document["random"] is None
    first, second = document["tuning"]
    assert (first["baseline"], first["strength"], first["trials"], first["seeds"]) == ("dropout", 0.2, 6, 2)
    assert second["tried"] == [
        {"strength": 0.1, "reward": pytest.approx(-0.1)},
        {"strength": 0.25, "reward": pytest.approx(-0.05)},
        {"strength": 0.4, "reward": pytest.approx(-0.2)},
    ]
    assert document["comparison"] == json.loads(read_comparison("x").to_json())
    assert "versions" in document
    assert "processors" in document["machine"]


def test_only_some_baselines(toy, policy):
    assert compared(policy, "--out", "x", "--baselines", "dropout, none,dropout") == 0
    assert [row.name for row in read_comparison("x").rows] == ["dropout 0.2", "none", "policy"]
    assert [path.name for path in Path("x/tune").iterdir()] == ["dropout"]


def test_only_none_needs_no_tuning(toy, policy):
    assert compared(policy, "--out", "x", "--baselines", "none") == 0
    assert toy.evaluated == 2 * 3


def test_an_arm_of_equal_budget(capsys, toy, policy):
    assert compared(policy, "--out", "x", "--random-trials", "5", "--baselines", "none") == 0
    study = Study.open("x/random")
    assert (study.record.searcher, len(study.trials)) == ("random", 5 + 4)
    document = json.loads(Path("x/comparison.json").read_text())
    comparison = read_comparison("x")
    paired = paired_difference(comparison.values["policy"], comparison.values["random"])
    assert document["random"] == {
        "trials": 5,
        "confirmations": 4,
        "policy": json.loads(study.best.policy.to_json()),
        "policy_minus_random": asdict(paired),
    }
    assert [(row.name, row.against) for row in comparison.rows] == [
        ("none", None),
        ("random", "none"),
        ("policy", "none"),
    ]
    verdict = f"Search against chance: {conclusion('policy', 'random', paired)}"
    assert " ".join(verdict.split()) in " ".join(capsys.readouterr().out.split())
    notes = ("random: the best of 5 random policies, confirmed in 4 trials", verdict)
    assert Path("x/comparison.md").read_text().endswith("".join(f"- {note}\n" for note in notes))


def test_beside_its_search_by_default_and_elsewhere_in_a_new_directory(toy, policy):
    assert main(["search", "toy", "--executor", "inline", "--out", "runs/mine"]) == 0
    for path in ("runs/mine/best.json", policy, policy):
        Policy({"b": ConvPattern(height=2, width=2)}).save(path)
        assert compared(path, "--baselines", "none") == 0
    assert read_comparison("runs/mine/compare").finished
    assert sorted(path.name for path in Path("runs").iterdir()) == ["mine", "toy-compare", "toy-compare-2"]


def test_going_on_trains_nothing_twice_and_seeds_may_grow(toy, policy):
    assert compared(policy, "--out", "x", "--random-trials", "2") == 0
    spent = toy.evaluated
    assert compared(policy, "--out", "x", "--random-trials", "2") == 0
    assert toy.evaluated == spent
    assert compared(policy, "--out", "x", "--random-trials", "2", "--seeds", "5") == 0
    assert toy.evaluated == spent + 5 * 2


@pytest.mark.parametrize("after", [3, 14])
def test_an_interrupt_says_how_to_go_on(capsys, toy, policy, after):
    toy.trouble, toy.trouble_after = KeyboardInterrupt(), after
    assert compared(policy, "--out", "my runs/x", "--seed", "7") == 130
    captured = capsys.readouterr()
    before, _, line = captured.out.splitlines()[-1].partition(" Go on with: ")
    assert before == "Stopped; nothing is lost."
    assert captured.err == ""
    assert not Path("my runs/x/comparison.json").exists()
    assert line == (
        "autodropout compare toy --policy mine.json --tune-trials 6 --seeds 3 --executor inline --seed 7 "
        "--out 'my runs/x'"
    )
    toy.trouble = None
    assert main(shlex.split(line)[1:]) == 0
    assert toy.evaluated == 2 * 6 + 4 * 3 + 1  # the one that was interrupted ran twice
    assert Path("my runs/x/comparison.json").exists()


@pytest.mark.parametrize("where", ["x/tune/dropout", "x/random", "x"])
def test_a_stop_from_outside_is_no_failure(capsys, toy, policy, monkeypatch, where):
    original = toy.result

    def result(reward, seed):
        if Path(where, "study.db").exists():
            request(where, "stop")
        return original(reward, seed)

    monkeypatch.setattr(toy, "result", result)
    assert compared(policy, "--out", "x", "--random-trials", "2") == 0
    last = capsys.readouterr().out.splitlines()[-1]
    assert last.startswith("Stopped on request. Go on with: autodropout compare toy --policy mine.json ")
    assert not Path("x/comparison.json").exists()


WRONG = [
    (
        ["--baselines", "none,drop"],
        "there is no baseline 'drop'; did you mean 'dropout'? Choose from none, dropout, blocks",
    ),
    (["--baselines", " ,"], "no baseline is named; choose from none, dropout, blocks"),
    (["--seeds", "1"], "seeds is 1; expected at least 2"),
    (["--tune-trials", "3"], "tune_trials is 3; expected at least 4"),
    (["--random-trials", "0"], "random_trials is 0; expected at least 1"),
    (["--workers", "0"], "workers is 0; expected at least 1"),
    (
        ["--devices", "0"],
        "devices is [0], but only the executor 'local' deals devices out; leave devices out",
    ),
    (["--seed=-1"], f"seed is -1; expected a whole number from 0 to {2**63 - 1}"),
]


def test_where_nothing_is_tuned_any_budget_for_it_will_do(capsys, toy, policy):
    few = ["--baselines", "none", "--tune-trials", "1", "--seeds", "2", "--executor", "inline"]
    assert main(["compare", "toy", "--policy", policy, *few]) == 0
    assert "policy" in capsys.readouterr().out


@pytest.mark.parametrize(("arguments", "text"), WRONG, ids=lambda value: " ".join(value)[:20])
def test_wrong_use(capsys, toy, policy, arguments, text):
    assert failed(capsys, 2, "toy", "--policy", policy, "--executor", "inline", *arguments) == text
    assert toy.evaluated == 0


@pytest.mark.parametrize(
    ("sites", "text"),
    [
        (
            {"layer1.*": ConvPattern(height=1, width=1)},
            "the policy's key 'layer1.*' matches no site (a key's * stops at dots); the model's sites are "
            '"a", "b"',
        ),
    ],
)
def test_a_policy_that_does_not_fit(capsys, toy, sites, text):
    Policy(sites).save("other.json")
    assert failed(capsys, 2, "toy", "--policy", "other.json", *FEW) == text
    assert toy.evaluated == 0


def test_files_that_hold_no_policy(capsys, toy, policy):
    Path("bad.json").write_text("{}")
    assert failed(capsys, 2, "toy", "--policy", "gone.json").startswith("gone.json cannot be read (No such")
    assert failed(capsys, 2, "toy", "--policy", ".").startswith(". is a directory; expected a policy's JSON")
    failed(capsys, 2, "toy", "--policy", "bad.json")
    assert failed(capsys, 2, "nope", "--policy", policy).startswith("there is no task 'nope'")
    toy.lacking = "download it"
    assert failed(capsys, 2, "toy", "--policy", policy) == "download it"


def test_directories_of_something_else(capsys, toy, policy):
    assert main(["search", "toy", "--executor", "inline", "--out", "s"]) == 0
    capsys.readouterr()
    spent = toy.evaluated
    arguments = ("toy", "--policy", policy, *FEW, "--out")
    assert failed(capsys, 2, *arguments, "s") == "s holds a search; name another directory for the comparison"
    assert toy.evaluated == spent
    assert compared(policy, "--out", "x") == 0
    capsys.readouterr()
    Policy({"b": ConvPattern(height=1, width=1)}).save("other.json")
    spent = toy.evaluated
    other = ("toy", "--policy", "other.json", *FEW, "--out", "x")
    assert failed(capsys, 2, *other) == "x holds a comparison of another policy; name another directory"
    for more, text in (
        (
            ["--baselines", "none"],
            "with arms ['none', 'dropout', 'blocks', 'policy'], not ['none', 'policy']",
        ),
        (["--random-trials", "3"], "with arms ['none', 'dropout', 'blocks', 'policy'], not ['none', "),
        (["--seed", "1"], "with seed 0, not 1; name another directory"),
        (["--seeds", "2"], "over 3 seeds; ask for at least as many"),
        (
            ["--tune-trials", "4"],
            "with dropout tuned on 3 strengths and 2 seeds, and tune_trials 4 gives 2 and",
        ),
    ):
        assert text in failed(capsys, 2, *arguments, "x", *more)
    assert toy.evaluated == spent  # nothing is tuned in vain


def test_another_number_of_random_trials_is_refused_before_any_is_run(capsys, toy, policy):
    assert compared(policy, "--out", "x", "--random-trials", "2", "--baselines", "none") == 0
    capsys.readouterr()
    spent = toy.evaluated
    assert compared(policy, "--out", "x", "--random-trials", "3", "--baselines", "none") == 2
    assert "x holds a comparison with 2 random trials, not 3; give the same number" in capsys.readouterr().err
    assert toy.evaluated == spent


@pytest.mark.parametrize("sites", [{}, {"a": ConvPattern(height=0, width=0)}])
def test_a_policy_that_drops_nothing_is_an_arm_like_any_other(capsys, toy, sites):
    Policy(sites).save("idle.json")
    assert compared("idle.json", "--out", "x") == 0
    said = "The policy drops nothing: its arm trains as without any policy, so they can show no difference."
    assert said in " ".join(capsys.readouterr().out.split())
    assert f"- {said}\n" in Path("x/comparison.md").read_text()
    rows = {row.name: row for row in read_comparison("x").rows}
    if not sites:
        assert rows["policy"].summary == rows["none"].summary


def test_the_printed_command_works_again_after_the_best_policy_has_changed(capsys, toy, policy):
    assert main(["search", "toy", "--executor", "inline", "--out", "runs/mine"]) == 0
    command = ["compare", "toy", "--policy", "runs/mine/best.json", *FEW]
    assert main(command) == 0
    first = read_comparison("runs/mine/compare")
    other = Policy({"b": ConvPattern(height=2, width=2)})
    other.save("runs/mine/best.json")
    for _ in range(2):
        assert main(command) == 0
    assert read_comparison("runs/mine/compare") == first
    found = read_comparison(f"runs/mine/compare-{other.key}")
    assert sorted(path.name for path in Path("runs/mine").glob("compare*")) == [
        "compare",
        f"compare-{other.key}",
    ]
    assert read_record("runs/mine").comparison == found != first


def test_a_search_in_the_way_of_the_default_directory(toy, policy):
    assert main(["search", "toy", "--executor", "inline", "--out", "s"]) == 0
    assert main(["search", "toy", "--executor", "inline", "--out", "s/compare"]) == 0
    ONE_SITE.save("s/best.json")
    assert compared("s/best.json", "--baselines", "none") == 0
    assert read_comparison(f"s/compare-{ONE_SITE.key}").finished
    assert read_record("s").comparison is not None


def test_wrong_use_leaves_no_directory_behind(capsys, toy, policy):
    assert compared(policy, "--workers", "0") == 2
    assert not Path("runs").exists()


def test_the_command_that_goes_on_is_told_from_other_terminals(capsys, toy, policy):
    toy.trouble, toy.trouble_after = KeyboardInterrupt(), 14
    assert compared(policy, "--out", "x") == 130
    toy.trouble = None
    go_on = "autodropout compare toy --policy mine.json --tune-trials 6 --seeds 3 --executor inline --out x"
    assert f"Go on with: {go_on}\n" in capsys.readouterr().out
    assert main(["status", "x"]) == 0
    assert f"not running; it was comparing; go on with: {go_on}\n" in capsys.readouterr().out
    assert main(["resume", "x"]) == 2
    text = f"error: x holds a comparison; to go on, run its own command again: {go_on}\n"
    assert capsys.readouterr().err == text
    assert main(["stop", "x"]) == 2
    assert capsys.readouterr().err == f"error: no search is running in x; go on with: {go_on}\n"
    assert main(["search", "toy", "--executor", "inline", "--out", "x"]) == 2
    text = "error: x holds a comparison; name another directory for the search\n"
    assert capsys.readouterr().err == text
    Path("x/logs/trial-000001-1.log").write_text("hello\n")
    assert main(["logs", "x", "1"]) == 0
    assert capsys.readouterr().out == "hello\n"
    assert main(shlex.split(go_on)[1:]) == 0


def test_trials_that_raise(capsys, toy, policy):
    toy.trouble = ValueError("boom")
    assert compared(policy, "--out", "x") == 1
    assert "3 trials in a row raised (ValueError: boom)" in capsys.readouterr().err


def test_a_file_that_cannot_be_written(capsys, toy, policy):
    Path("x/comparison.json").mkdir(parents=True)
    assert compared(policy, "--out", "x") == 2
    assert capsys.readouterr().err == (
        "error: x/comparison.json cannot be written (Is a directory); make room or mend its rights\n"
    )
    assert not list(Path("x").glob("comparison.json.*"))


def test_the_table_is_split_where_it_does_not_fit(toy, policy):
    assert compared(policy, "--out", "x") == 0
    comparison = read_comparison("x")
    (whole,) = tables(comparison, 140)
    assert len(whole.columns) == 11
    figures, differences = tables(comparison, 139)
    heads = [[str(column.header) for column in table.columns] for table in (figures, differences)]
    assert heads == [
        ["arm", "accuracy", "deviation", "95% interval", "seconds", "parameters"],
        ["arm", "difference", "95% interval", "against", "p (Holm)"],
    ]


def test_baselines_on_top_of_the_policy_are_tuned_and_compared_too(capsys, toy, policy):
    more = ("--baselines", "none,dropout", "--combined", "blocks", "--out", "x")
    assert compared(policy, *more) == 0
    text = capsys.readouterr().out
    assert "Tuning policy+blocks on validation: 3 strengths on 2 seeds each" in text
    comparison = read_comparison("x")
    assert [row.name for row in comparison.rows] == ["none", "dropout 0.2", "policy", "policy+blocks 0.25"]
    assert comparison.rows[-1].against in ("none", "dropout 0.2")
    record = json.loads(Path("x/comparison.json").read_text())
    assert [tuned["baseline"] for tuned in record["tuning"]] == ["dropout", "policy+blocks"]
    trained = toy.evaluated
    assert compared(policy, *more) == 0
    assert toy.evaluated == trained  # gone on with: nothing is left to do
    capsys.readouterr()
    line = failed(capsys, 2, "toy", "--policy", policy, *FEW, *more[:2], "--out", "x")
    assert "arms ['none', 'dropout', 'policy', 'policy+blocks'], not ['none', 'dropout', 'policy']" in line
    line = failed(capsys, 2, "toy", "--policy", policy, *FEW, "--combined", "none,blocks", "--out", "y")
    assert line == (
        "combined is 'none,blocks', and none asks for nothing on top of the policy; leave out none or the "
        "others"
    )


@pytest.fixture
def tabled(monkeypatch):
    """A table of the paper has blocks on top of the policy."""
    monkeypatch.setattr("autodropout.comparison.quotations.combined_in", lambda task: ("blocks",))


@pytest.mark.parametrize(
    ("more", "arms"),
    [
        ((), ["none", "policy", "policy+blocks 0.25"]),
        (("--combined", "none"), ["none", "policy"]),
        (("--combined", "dropout"), ["none", "policy", "policy+dropout 0.2"]),
    ],
    ids=" ".join,
)
def test_what_a_table_of_the_paper_has_on_top_of_the_policy_is_an_arm_by_default(
    toy, policy, tabled, more, arms
):
    assert compared(policy, "--baselines", "none", *more, "--out", "x") == 0
    assert [row.name for row in read_comparison("x").rows] == arms
    command = shlex.split(json.loads(Path("x/comparison.json").read_text())["command"])
    trained = toy.evaluated
    assert main(command[1:]) == 0  # goes on with the same arms
    assert toy.evaluated == trained


def test_without_such_a_table_nothing_is_put_on_top_of_the_policy(toy, policy):
    assert compared(policy, "--baselines", "none", "--out", "x") == 0
    assert [row.name for row in read_comparison("x").rows] == ["none", "policy"]


def test_a_combined_baseline_that_does_not_fit_is_refused_before_anything_runs(
    capsys, toy, policy, monkeypatch
):
    def refuse(net, strength):
        raise ApplyError("no room")

    odd = replace(toy.baselines[1], put=refuse)
    monkeypatch.setattr(toy, "baselines", (toy.baselines[0], odd))
    line = failed(capsys, 1, "toy", "--policy", policy, *FEW, "--combined", "blocks", "--out", "x")
    assert line == "no room"
    assert toy.evaluated == 0
