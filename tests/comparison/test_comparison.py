import json
import math
import os
import signal
from pathlib import Path

import pytest

from autodropout.comparison import Comparison, compare, read_comparison
from autodropout.comparison.arms import ArmExecutor, Arms
from autodropout.engine.control import request
from autodropout.engine.events import PhaseBegan, TrialFinished, TrialStarted
from autodropout.engine.executors.base import Done, Job, Lost
from autodropout.engine.executors.inline import InlineExecutor
from autodropout.engine.run import search
from autodropout.engine.trial_seeds import trial_seed
from autodropout.errors import AutoDropoutError, LedgerError, StudyError, UsageError
from autodropout.pattern import TokenPattern
from autodropout.policy import Policy
from autodropout.result import Result
from autodropout.significance import holm, paired_difference, summarise
from autodropout.token_space import TokenSpace

MINE = Policy({"role:ffn": TokenPattern(size=2)})
OTHER = Policy({"role:query": TokenPattern(size=4)})
SEEDS = tuple(trial_seed(0, "compare", place) for place in range(6))


def luck(seed: int) -> float:
    return seed % 101 / 101


def noise(seed: int, arm: int) -> float:
    return seed % (7 + arm) / (7 + arm)


def evaluate(policy: Policy, seed: int) -> Result:
    gain = 0.3 * len(policy.sites)
    figure = luck(seed) + gain + 0.1 * noise(seed, len(policy.sites))
    return Result(
        reward=figure + 1,
        test={"accuracy": figure, "loss": -figure},
        metrics={"parameters": 1200.0},
        seconds=2.0,
    )


def mixup(seed: int) -> Result:
    return Result(reward=2.0, test={"accuracy": luck(seed) + 0.2 * noise(seed, 4), "loss": 0.0}, seconds=4.0)


ARMS = {"none": None, "mine": MINE, "mixup": mixup}


def compared(out: Path, **changes: object) -> Comparison:
    settings = {"evaluate": evaluate, "arms": ARMS, "seeds": 6, "executor": "inline", "out": out}
    return compare(**settings | changes)


def test_figures_follow_from_the_single_runs(tmp_path: Path) -> None:
    comparison = compared(tmp_path)
    expected = {
        "none": tuple(evaluate(Policy({}), seed).test["accuracy"] for seed in SEEDS),
        "mine": tuple(evaluate(MINE, seed).test["accuracy"] for seed in SEEDS),
        "mixup": tuple(mixup(seed).test["accuracy"] for seed in SEEDS),
    }
    assert comparison.figure == "accuracy"
    assert comparison.seeds == SEEDS
    assert comparison.finished
    assert comparison.values == expected
    rows = {row.name: row for row in comparison.rows}
    assert list(rows) == ["none", "mine", "mixup"]
    for name, row in rows.items():
        assert row.summary == summarise(expected[name])
        assert (row.missing, row.floored, row.error) == (0, 0, None)
    assert (rows["none"].seconds, rows["mixup"].seconds) == (2.0, 4.0)
    assert (rows["none"].parameters, rows["mixup"].parameters) == (1200.0, None)


def test_each_arm_meets_the_best_of_the_others(tmp_path: Path) -> None:
    comparison = compared(tmp_path)
    rows, values = {row.name: row for row in comparison.rows}, comparison.values
    second = max(("none", "mixup"), key=lambda name: sum(values[name]))
    last = "none" if second == "mixup" else "mixup"
    assert rows["mine"].against == second
    assert rows[second].against == rows[last].against == "mine"
    first_test = paired_difference(values["mine"], values[second])
    second_test = paired_difference(values[last], values["mine"])
    assert rows["mine"].paired == first_test
    assert rows[last].paired == second_test
    adjusted = holm([first_test.p, second_test.p])
    assert rows["mine"].adjusted_p == rows[second].adjusted_p == pytest.approx(adjusted[0])
    assert rows[last].adjusted_p == pytest.approx(adjusted[1])


def test_a_named_baseline_is_everybodys_rival(tmp_path: Path) -> None:
    rows = {row.name: row for row in compared(tmp_path, baselines=["none"]).rows}
    assert (rows["mine"].against, rows["mixup"].against, rows["none"].against) == ("none", "none", None)
    assert rows["none"].paired is None
    assert rows["none"].adjusted_p is None


def test_lower_may_be_better(tmp_path: Path) -> None:
    comparison = compared(tmp_path, figure="loss", higher_is_better=False, baselines=["none", "mine"])
    rows = {row.name: row for row in comparison.rows}
    assert comparison.figure == "loss"
    assert rows["mixup"].against == "mine"
    assert rows["mine"].paired.difference < 0
    assert any(line.startswith("mine is better than none") for line in comparison.conclusions)


def test_the_reward_is_compared_where_there_is_no_test_figure(tmp_path: Path) -> None:
    arms = {"none": None, "plain": lambda seed: luck(seed)}
    assert compared(tmp_path / "mixed", arms=arms).figure == "reward"
    asked = compared(tmp_path / "asked", figure="reward")
    assert asked.values["none"] == tuple(evaluate(Policy({}), seed).reward for seed in SEEDS)


def test_a_missing_figure_is_named_and_nothing_is_lost(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="arm 'none' returned None as its test figure 'f1', it has"):
        compared(tmp_path, figure="f1")
    events = []
    assert compared(tmp_path, on_event=events.append).finished
    assert not any(isinstance(event, TrialStarted) for event in events)


def test_seeds_are_paired_and_apart_from_search_and_confirmation(tmp_path: Path) -> None:
    seen: dict[str, list[int]] = {"a": [], "b": []}

    def recording(name: str) -> object:
        return lambda seed: seen[name].append(seed) or luck(seed)

    compared(tmp_path, arms={name: recording(name) for name in seen})
    assert seen["a"] == seen["b"] == list(SEEDS)
    others = {trial_seed(0, kind, number) for kind in ("search", "confirm") for number in range(5000)}
    assert not others & set(SEEDS)


def test_in_processes_as_in_this_one(tmp_path: Path) -> None:
    inline = compared(tmp_path / "inline", seeds=3)
    local = compared(tmp_path / "local", seeds=3, executor="local", workers=2)
    assert local.values == inline.values
    assert list((tmp_path / "local" / "logs").glob("trial-*.log"))


def test_an_executor_of_ones_own(tmp_path: Path) -> None:
    assert compared(tmp_path, executor=InlineExecutor).values == compared(tmp_path / "again").values


def test_more_seeds_go_on_with_the_same_runs(tmp_path: Path) -> None:
    few = compared(tmp_path, seeds=3)
    started: list[TrialStarted] = []
    many = compared(
        tmp_path, seeds=5, on_event=lambda e: started.append(e) if isinstance(e, TrialStarted) else 0
    )
    assert [event.trial for event in started] == [10, 11, 12, 13, 14, 15]
    assert {name: values[:3] for name, values in many.values.items()} == few.values
    assert many.values == {name: values[:5] for name, values in compared(tmp_path / "once").values.items()}


def test_an_interrupted_comparison_goes_on(tmp_path: Path) -> None:
    calls: list[int] = []

    def interrupting(seed: int) -> float:
        calls.append(seed)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return luck(seed)

    arms = {"none": None, "plain": interrupting}
    with pytest.raises(KeyboardInterrupt):
        compared(tmp_path, arms=arms)
    partial = read_comparison(tmp_path)
    assert not partial.finished
    assert [row.missing for row in partial.rows] == [3, 4]
    whole = compared(tmp_path, arms=arms)
    assert whole.finished
    assert calls == [*SEEDS[:3], *SEEDS[2:]]


def test_a_stop_from_outside(tmp_path: Path) -> None:
    def stop(event: object) -> None:
        if isinstance(event, TrialFinished) and event.trial == 4:
            request(tmp_path, "stop")

    comparison = compared(tmp_path, on_event=stop)
    assert not comparison.finished
    assert sum(row.summary.n for row in comparison.rows) == 4
    assert compared(tmp_path).finished


def test_nothing_run_yet_is_a_table_of_dashes(tmp_path: Path) -> None:
    def stop(event: object) -> None:
        if isinstance(event, PhaseBegan):
            request(tmp_path, "stop")

    comparison = compared(tmp_path, on_event=stop)
    assert [row.summary for row in comparison.rows] == [None] * 3
    assert [line.split()[1:3] for line in str(comparison).splitlines()[2:5]] == [["0", "-"]] * 3
    json.loads(comparison.to_json())


def test_a_comparison_is_read_back(tmp_path: Path) -> None:
    comparison = compared(tmp_path, baselines=("none",), figure="loss", floor=-1.0)
    assert read_comparison(tmp_path) == comparison


def diverging(seed: int) -> Result:
    return Result(reward=math.nan) if seed in SEEDS[:2] else evaluate(MINE, seed)


def test_diverged_runs_are_left_out_and_said(tmp_path: Path) -> None:
    comparison = compared(tmp_path, arms={"none": None, "wild": diverging})
    row = comparison.rows[1]
    assert comparison.figure == "accuracy"
    assert comparison.values["wild"][:2] == (None, None)
    assert (row.missing, row.floored, row.summary.n, row.paired.n) == (2, 0, 4, 4)
    assert comparison.rows[0].summary.n == 6
    assert (
        "wild has no figure on 2 of 6 seeds (diverged: its reward is nan). They are left out of its tests, "
        "which flatters an arm that diverges: with a floor such runs count."
    ) in comparison.conclusions


def test_diverged_runs_count_as_the_floor_if_there_is_one(tmp_path: Path) -> None:
    comparison = compared(tmp_path, arms={"none": None, "wild": diverging}, floor=0.05)
    row = comparison.rows[1]
    assert comparison.values["wild"][:2] == (0.05, 0.05)
    assert (row.missing, row.floored, row.paired.n) == (0, 2, 6)
    said = "wild counts as the floor on 2 of 6 seeds (diverged: its reward is nan)."
    assert said in comparison.conclusions


def test_the_floor_may_be_given_afterwards(tmp_path: Path) -> None:
    arms = {"none": None, "wild": lambda seed: math.nan}
    assert compared(tmp_path, arms=arms).rows[1].summary is None
    assert compared(tmp_path, arms=arms, floor=0.0).rows[1].summary.mean == 0.0


def test_an_arm_that_raises_is_said_and_run_again_by_the_next_call(tmp_path: Path) -> None:
    broken = [True]

    def fragile(seed: int) -> float:
        if broken:
            raise ValueError("no such file")
        return luck(seed)

    arms = {"none": None, "fragile": fragile}
    comparison = compared(tmp_path, arms=arms, seeds=2, floor=0.0)
    assert comparison.finished
    assert comparison.rows[1].summary is None
    assert (comparison.rows[1].missing, comparison.rows[1].floored) == (2, 0)
    assert comparison.rows[1].error == "ValueError: no such file"
    assert comparison.rows[0].against is None
    broken.clear()
    mended = compared(tmp_path, arms=arms, seeds=2)
    assert mended.values["fragile"] == tuple(luck(seed) for seed in SEEDS[:2])


def test_everything_raising_stops_with_the_error(tmp_path: Path) -> None:
    def bad(policy: Policy, seed: int) -> float:
        raise ValueError("boom")

    with pytest.raises(StudyError, match="3 trials in a row raised"):
        compared(tmp_path, evaluate=bad, arms={"none": None, "mine": MINE})


class LosingExecutor(InlineExecutor):
    """Loses the worker of every odd trial."""

    def poll(self, timeout: float) -> object:
        ended = super().poll(timeout)
        return [(job, Lost(reason="gone") if job.trial % 2 else outcome) for job, outcome in ended]


def test_runs_lost_by_the_machine_never_count_as_the_floor(tmp_path: Path) -> None:
    comparison = compared(
        tmp_path,
        arms={"none": None, "mine": MINE},
        executor=LosingExecutor,
        floor=0.0,
        max_attempts=1,
        seeds=2,
    )
    row = comparison.rows[0]
    assert (row.missing, row.floored, row.error) == (2, 0, "gone")


@pytest.mark.skipif(os.name != "posix", reason="signals of POSIX")
def test_a_killed_worker_loses_no_run(tmp_path: Path) -> None:
    marker = str(tmp_path / "killed")

    def fragile(seed: int) -> float:
        if not os.path.exists(marker):
            Path(marker).touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return luck(seed)

    comparison = compared(
        tmp_path / "runs", arms={"a": fragile, "b": fragile}, seeds=2, executor="local", workers=1
    )
    assert comparison.values["a"] == tuple(luck(seed) for seed in SEEDS[:2])


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"arms": {}}, r"arms is \{\}; a comparison needs at least two arms by name"),
        ({"arms": {"none": None}}, "a comparison needs at least two arms by name"),
        ({"arms": [None, MINE]}, "a comparison needs at least two arms by name"),
        (
            {"arms": {"none": None, "mine": 0.1}},
            "arm 'mine' is 0.1; expected a Policy, None for no policy, or a fun",
        ),
        ({"arms": {"none": None, " ": MINE}}, "arm ' ' has no name; expected a string that is not blank"),
        ({"arms": {"none": None, 1: MINE}}, "arm 1 has no name"),
        ({"seeds": 1}, "seeds is 1; a comparison needs at least 2, since one has no spread"),
        ({"seeds": 2.0}, "seeds is 2.0; a comparison needs at least 2"),
        ({"seed": -1}, r"seed is -1; expected a whole number from 0 to 9223372036854775807"),
        (
            {"baselines": ["nope"]},
            r"baselines is \['nope'\]; expected at least one of the arms \['none', 'mine', 'mi",
        ),
        ({"baselines": []}, r"baselines is \[\]; expected at least one of the arms"),
        ({"evaluate": None}, r"evaluate is None; expected a function of \(policy, seed\)"),
        ({"executor": "ray"}, "executor is 'ray'; expected 'local', 'inline', or a function that makes one"),
        ({"executor": "local", "workers": 0}, "workers is 0; expected at least 1"),
    ],
)
def test_wrong_use_is_one_sentence(tmp_path: Path, changes: dict[str, object], text: str) -> None:
    with pytest.raises(UsageError, match=text):
        compared(tmp_path, **changes)


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        (
            {"seed": 1},
            "holds a comparison with seed 0, not 1; name another directory, or go on with the same",
        ),
        ({"task": "digits"}, "holds a comparison with task None, not 'digits'"),
        (
            {"arms": {"none": None, "mine": MINE}},
            r"with arms \['none', 'mine', 'mixup'\], not \['none', 'mine'\]",
        ),
        (
            {"arms": ARMS | {"mine": OTHER}},
            "in which arm 'mine' is not the same as here; name another directory",
        ),
        ({"arms": ARMS | {"mixup": None}}, "in which arm 'mixup' is not the same as here"),
        ({"seeds": 2}, "holds a comparison over 3 seeds; ask for at least as many"),
    ],
)
def test_another_comparison_is_refused(tmp_path: Path, changes: dict[str, object], text: str) -> None:
    before = compared(tmp_path, seeds=3)
    with pytest.raises(UsageError, match=text):
        compared(tmp_path, **{"seeds": 3} | changes)
    assert read_comparison(tmp_path) == before


def test_a_search_is_no_comparison(tmp_path: Path) -> None:
    space = TokenSpace(sites=("ffn",))
    search(lambda policy, seed: 0.5, space, trials=2, searcher="random", executor="inline", out=tmp_path)
    with pytest.raises(UsageError, match="holds a search; name another directory for the comparison"):
        compared(tmp_path)
    with pytest.raises(LedgerError, match="holds a search, not a comparison"):
        read_comparison(tmp_path)


def test_a_comparison_is_no_search(tmp_path: Path) -> None:
    compared(tmp_path)
    with pytest.raises(AutoDropoutError):
        search(evaluate, TokenSpace(sites=("ffn",)), trials=2, executor="inline", out=tmp_path)


def test_an_empty_directory_holds_no_comparison(tmp_path: Path) -> None:
    with pytest.raises(LedgerError, match="holds no study"):
        read_comparison(tmp_path)


def test_arms_and_seeds_travel_together() -> None:
    arms = Arms(lambda policy, seed: (policy, seed), {"none": None, "mine": MINE, "mixup": lambda seed: seed})
    executor = ArmExecutor(InlineExecutor(lambda policy, code: code), 3)
    job = Job(trial=5, attempt=1, policy=MINE, seed=2**31 - 1)
    executor.submit(job)
    [(ended, outcome)] = executor.poll(0.0)
    assert ended == job
    assert isinstance(outcome, Done)
    assert arms(MINE, int(outcome.result.reward)) == (MINE, 2**31 - 1)
    assert arms(Policy({}), 3 * 17 + 2) == 17
    executor.submit(job)
    executor.cancel(job)
    assert executor.poll(0.0) == []
    executor.close()


def test_as_text(tmp_path: Path) -> None:
    lines = str(compared(tmp_path)).splitlines()
    assert lines[0].split("  ")[0] == "arm"
    assert lines[0].split() == [
        *("arm", "runs", "accuracy", "deviation", "95%", "interval", "difference", "95%", "interval"),
        *("against", "p", "(Holm)", "seconds", "parameters"),
    ]
    assert len({len(line) for line in lines[:2]}) == 1
    assert lines[3].startswith("mine      6  ")
    assert lines[3].endswith("1,200")
    assert lines[5] == ""
    assert any(line.startswith("mine is better than ") for line in lines[6:])
    assert lines[-1].startswith("Seeds repeat the training, not the search")


def test_as_markdown(tmp_path: Path) -> None:
    arms = {"none|all": None, "my_arm": MINE}
    text = compared(tmp_path, arms=arms).to_markdown()
    table = [line for line in text.splitlines() if line.startswith("|")]
    assert len(table) == 4
    assert table[1] == "| --- |" + " ---: |" * 10
    assert table[2].startswith("| none\\|all | 6 |")
    assert table[3].startswith("| my\\_arm | 6 |")
    assert "\n- my\\_arm is better than none\\|all: " in text


def test_as_latex(tmp_path: Path) -> None:
    text = compared(tmp_path, arms={"none & all": None, "my_arm": MINE}).to_latex()
    lines = text.splitlines()
    assert lines[0] == r"\begin{tabular}{lrrrrrrrrrr}"
    assert (lines[1], lines[3]) == (r"\toprule", r"\midrule")
    assert lines[4].startswith(r"none \& all & 6 & ")
    assert lines[5].startswith(r"my\_arm & 6 & ")
    assert lines[2].endswith(r"parameters \\")
    assert r"95\% interval" in lines[2]
    assert all(line.startswith("% ") for line in lines[8:])


def test_as_json(tmp_path: Path) -> None:
    comparison = compared(tmp_path, arms={"none": None, "wild": lambda seed: math.nan})
    document = json.loads(comparison.to_json())
    assert document["schema"] == 1
    assert document["figure"] == "accuracy"
    assert document["seeds"] == list(SEEDS)
    first, second = document["arms"]
    assert (first["name"], first["runs"], first["mean"]) == ("none", 6, comparison.rows[0].summary.mean)
    assert first["values"] == list(comparison.values["none"])
    assert (second["runs"], second["missing"], second["mean"], second["values"]) == (0, 6, None, [None] * 6)
    assert document["conclusions"][-1].startswith("Seeds repeat the training")


def test_best_against_second_is_said_once(tmp_path: Path) -> None:
    comparison = compared(tmp_path, arms={"none": None, "mine": MINE})
    assert len(comparison.conclusions) == 2
    assert [row.against for row in comparison.rows] == ["mine", "none"]
    assert comparison.rows[0].adjusted_p == comparison.rows[1].adjusted_p == comparison.rows[0].paired.p


def test_sigterm_is_a_clean_stop(tmp_path):
    def terminated(seed):
        os.kill(os.getpid(), signal.SIGTERM)
        return 0.5

    with pytest.raises(KeyboardInterrupt):
        compare(evaluate, {"none": None, "f": terminated}, seeds=2, executor="inline", out=tmp_path)
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
    again = compare(evaluate, {"none": None, "f": luck}, seeds=2, executor="inline", out=tmp_path)
    assert again.finished
