import os
from pathlib import Path

import pytest

from autodropout.cli import main, planning
from autodropout.engine.study import Study
from autodropout.policy import Policy

INLINE = ("--executor", "inline")


def planned(capsys, *options):
    assert main(["search", "toy", "--dry-run", *options]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[-1] == "Nothing was started."
    return {line[:9].strip(): line[10:] for line in lines[:-1]}


def test_the_plan_of_a_search(capsys, toy, monkeypatch):
    monkeypatch.setattr(planning, "usable_cores", lambda: 2)
    toy.seconds = 90.0
    plan = planned(capsys)
    assert plan["task"] == "toy: counts sites"
    assert plan["data"] == "ready"
    assert plan["searcher"] == "reinforce, which learns from 4 trials at a time (M); seed 0"
    assert plan["queue"] == "at most 3 trials queued or running (C)"
    assert plan["directory"] == "runs/toy, which would be made"
    decisions = len(toy.space())
    assert (
        plan["trials"]
        == f"8 policies out of {decisions} decisions each; then the best 2 on 2 fresh seeds each"
    )
    assert plan["runs on"] == "2 worker processes; 2 cores are here to use"
    assert plan["compute"] == "0.3 core hours: 12 trainings of about 90 s"
    assert plan["time"] == "about 9 min"
    assert plan["disk"].startswith("about 2 MiB in runs/toy, and what trials print; ")
    assert "so far" not in plan
    assert os.listdir() == [], "nothing is made"
    assert toy.evaluated == 0


def test_more_workers_than_cores_are_not_faster(capsys, toy, monkeypatch):
    monkeypatch.setattr(planning, "usable_cores", lambda: 2)
    toy.seconds = 90.0
    assert planned(capsys, "--workers", "64")["time"] == "about 9 min"
    assert planned(capsys, "--executor", "inline")["time"] == "about 18 min"


def test_on_a_cluster_the_time_follows_its_size(capsys, toy):
    toy.seconds = 3600.0
    plan = planned(capsys, "--executor", "ray", "--address", "head:6379", "--gpus-per-trial", "0.5")
    assert plan["runs on"] == "the Ray cluster at head:6379; a trial takes 1 CPUs and 0.5 GPUs"
    assert plan["compute"] == "6 GPU hours: 12 trainings of about 3600 s"
    assert plan["time"] == "12 h divided by the trials at a time"
    plan = planned(capsys, "--executor", "ray", "--slots", "4", "--cpus-per-trial", "2")
    assert plan["runs on"] == (
        "the Ray cluster of RAY_ADDRESS, else one started here; a trial takes 2 CPUs, 4 at a time"
    )
    assert plan["compute"] == "24 core hours: 12 trainings of about 3600 s"
    assert plan["time"] == "about 3 h"


def test_halving_costs_less(capsys, toy):
    whole, halved = planned(capsys, "--trials", "512"), planned(capsys, "--trials", "512", "--halving")
    assert "full trainings" in halved["trials"]
    assert whole["compute"].split()[3:] == ["516", "trainings", "of", "about", "0.01", "s"]
    assert int(halved["compute"].split()[3]) < 300


def test_no_confirmation_and_other_wishes(capsys, toy):
    assert main(["search", "toy", *INLINE, "--out", "old"]) == 0
    capsys.readouterr()
    plan = planned(capsys, "--confirm-top", "0", "--searcher", "tpe", "--seed", "7", "--warm-start", "old")
    assert plan["trials"].endswith("decisions each; no confirmation")
    assert plan["searcher"] == "tpe, which learns from 1 trial at a time (M), after those of old; seed 7"
    assert planned(capsys, "--capacity", "7")["queue"] == "at most 7 trials queued or running (C)"


def test_on_a_cluster_the_queue_follows_its_size(capsys, toy):
    assert "as the cluster has room for" in planned(capsys, "--executor", "ray")["queue"]
    assert planned(capsys, "--executor", "ray", "--slots", "8")["queue"].startswith("at most 10 trials")


@pytest.mark.parametrize(
    "options",
    [
        "--trials=-3",
        "--trials 0",
        "--batch 0",
        "--capacity 0",
        "--timeout=-1",
        "--workers 0",
        "--seed=-1",
        "--confirm-top=-1",
        "--executor inline --timeout 5",
        "--executor inline --devices 0",
        "--executor ray --devices 0,1",
        "--devices 1,0",
        "--slots 3",
        "--executor ray --slots 0",
        "--warm-start nowhere",
        "--warm-start old --searcher random",
        "--out old --seed 1",
        "--out old --halving",
        "--out old --searcher tpe",
        "--out old --batch 2",
        "--out old --common-seed",
        "--out old --warm-start old",
        "--out a-file",
    ],
)
def test_the_plan_refuses_what_the_search_refuses(capsys, toy, options):
    assert main(["search", "toy", *INLINE, "--out", "old"]) == 0
    Path("a-file").touch()
    before, evaluated = sorted(os.listdir()), toy.evaluated
    capsys.readouterr()
    told = [refusal(capsys, *options.split(), *more) for more in ((), ("--dry-run",))]
    assert told[0] == told[1]
    assert (sorted(os.listdir()), toy.evaluated) == (before, evaluated)


def refusal(capsys, *options):
    code = main(["search", "toy", *options])
    return code, capsys.readouterr().err.removeprefix("error: ") or pytest.fail("it was not refused")


def test_the_plan_refuses_the_directory_of_a_comparison(capsys, toy, tmp_path):
    Policy({}).save("mine.json")
    compare = "--policy mine.json --baselines none --seeds 2 --executor inline --out x"
    assert main(["compare", "toy", *compare.split()]) == 0
    capsys.readouterr()
    told = [refusal(capsys, "--out", "x", *more) for more in ((), ("--dry-run",))]
    assert told[0] == told[1]
    assert "x holds a comparison" in told[0][1]


def test_missing_data_are_part_of_the_plan(capsys, toy):
    toy.lacking = "get the data first"
    assert planned(capsys)["data"] == "get the data first"


def test_of_a_study_that_has_begun_what_is_left_is_counted(capsys, toy):
    toy.seconds, toy.trouble, toy.trouble_after = 3600.0, KeyboardInterrupt(), 3
    assert main(["search", "toy", *INLINE, "--out", "mine"]) == 130
    capsys.readouterr()
    plan = planned(capsys, "--out", "mine")
    assert plan["compute"] == "9 core hours: 9 trainings of about 3600 s"
    assert plan["so far"] == (
        "3 of 8 trials have ended in mine; compute, time and disk are for what is left: "
        "5 trials and 4 confirmations"
    )
    toy.trouble = None
    assert main(["resume", "mine"]) == 0
    capsys.readouterr()
    assert planned(capsys, "--out", "mine")["so far"].endswith("0 trials and 0 confirmations")
    assert planned(capsys, "--out", "mine", "--trials", "12")["so far"].endswith(
        "4 trials and 4 confirmations"
    )


def test_without_a_directory_a_new_one_would_be_made(capsys, toy):
    assert main(["search", "toy", *INLINE]) == 0
    capsys.readouterr()
    plan = planned(capsys)
    assert "so far" not in plan
    assert plan["directory"] == "runs/toy-2, which would be made"
    assert plan["compute"].split()[3] == "12"
    assert os.listdir("runs") == ["toy"]


def test_devices_are_part_of_the_plan(capsys, toy):
    assert planned(capsys, "--workers", "4", "--devices", "0,1")["runs on"].startswith(
        "4 worker processes on the GPUs 0, 1 in turn; "
    )


def test_a_disk_that_is_too_small_is_said(capsys, toy, monkeypatch):
    class Usage:
        free = 1000

    monkeypatch.setattr(planning.shutil, "disk_usage", lambda path: Usage)
    assert planned(capsys)["disk"].endswith("0.0 GiB are free, which is too little")


@pytest.mark.parametrize(
    "option", ["--address auto", "--cpus-per-trial 2", "--gpus-per-trial 1", "--slots 4"]
)
def test_a_clusters_options_without_a_cluster_are_refused(capsys, toy, option):
    assert main(["search", "toy", *option.split()]) == 2
    assert capsys.readouterr().err == (
        "error: address, cpus-per-trial, gpus-per-trial and slots are for --executor ray\n"
    )
    assert os.listdir() == []


def test_a_cluster_that_is_not_there_is_said_and_leaves_nothing(capsys, toy):
    pytest.importorskip("ray")
    assert main(["search", "toy", "--executor", "ray", "--address", "127.0.0.1:1"]) == 2
    assert capsys.readouterr().err.startswith("error: there is no Ray cluster at '127.0.0.1:1'")
    assert os.listdir() == []


@pytest.mark.slow
def test_a_search_on_a_cluster_is_resumed_on_one(capsys, toy):
    pytest.importorskip("ray")
    ray = ["--executor", "ray", "--cpus-per-trial", "0.5"]
    assert main(["search", "toy", *ray, "--trials", "4", "--out", "mine"]) == 0
    assert main(["resume", "mine", "--trials", "8"]) == 0
    study = Study.open("mine")
    assert study.finished
    assert study.record.options["executor"] == "ray"
    assert study.record.options["cluster"]["cpus"] == 0.5
    assert sum(trial.kind == "search" for trial in study.trials) == 8


def test_no_more_policies_are_run_again_than_there_are(capsys, toy):
    plan = planned(capsys, "--trials", "4", "--confirm-top", "9")
    assert plan["trials"].endswith("; then the best 4 on 2 fresh seeds each")
    assert ": 12 trainings of" in plan["compute"]


def test_a_common_seed_is_said(capsys, toy):
    assert ", all with the same seed; then the best" in planned(capsys, "--common-seed")["trials"]
