import json
import math
from collections import Counter
from dataclasses import replace

import pytest

from autodropout.benchmark.gathering import gather
from autodropout.benchmark.released import read_release
from autodropout.comparison import compare
from autodropout.engine.study import Study
from autodropout.errors import DataError, UsageError
from toy_landscape import FLOOR, PARTS, SPACE, evaluate, studied


def test_every_finished_trial_of_every_study_is_there(release, landscape):
    counts = Counter((trial.study, trial.kind) for trial in release.trials)
    wanted = {(name, "search"): n for name, n in PARTS.items()}
    assert counts == wanted | {("deep/again", "search"): 20, ("deep/again", "confirm"): 36}
    assert {trial.source for trial in release.trials} == {"random", "random-biased", "evolution"}
    origins = {(name, t.id): t for name, _ in counts for t in Study(landscape / name).trials}
    for trial in release.trials:
        origin = origins[trial.study, trial.trial]
        assert (trial.policy, trial.seed) == (origin.policy, origin.seed)
        assert SPACE.decode(trial.tokens) == trial.policy
        assert trial.result.test == origin.result.test
        assert trial.result.seconds == origin.result.seconds
        if not trial.diverged:
            assert trial.result.reward == origin.result.reward


def test_repeats_are_counted(release):
    seen = Counter()
    for trial in release.trials:
        assert trial.repeat == seen[trial.policy.key]
        seen[trial.policy.key] += 1
    assert sum(count >= 4 for count in seen.values()) >= 12  # a search trial and three confirmations


def test_the_file_gives_the_same_release_and_the_same_bytes(release, landscape, tmp_path):
    release.save(tmp_path / "a.jsonl")
    text = (tmp_path / "a.jsonl").read_text()
    again = read_release(text, "a")
    assert again.to_text() == text
    assert gather(landscape, floor=FLOOR, regressor="ridge").release.to_text() == text
    assert [t.policy for t in again.trials] == [t.policy for t in release.trials]
    assert again.spaces == release.spaces
    assert again.floor == FLOOR
    diverged = [t for t in again.trials if t.diverged]
    assert diverged
    assert math.isnan(diverged[0].result.metrics["train_loss"])


def test_a_file_says_its_licence_and_one_from_before_that_is_read(release):
    licensed = replace(release, licence="Anyone may use it.")
    header, *lines = licensed.to_text().splitlines()
    assert read_release(licensed.to_text(), "a").licence == json.loads(header)["licence"] == licensed.licence
    older = {name: value for name, value in json.loads(header).items() if name != "licence"}
    read = read_release("\n".join([json.dumps(older), *lines]), "older")
    assert (read.licence, read.to_text()) == ("", release.to_text())


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda lines: [], r"toy is empty; write it again"),
        (lambda lines: ["{"], r"toy is damaged \(JSONDecodeError"),
        (lambda lines: lines[:-1], r"toy has 155 of its 156 trials; copy it again"),
        (
            lambda lines: [lines[0].replace('"schema":1', '"schema":2'), *lines[1:]],
            r"has schema 2; .* reads 1",
        ),
        (lambda lines: [*lines[:-1], '{"a":1}'], r"toy is damaged \(KeyError: 'space'\); copy it again"),
        (lambda lines: [*lines[:-1], "[]"], r"toy is damaged \(TypeError"),
        (
            lambda lines: [*lines[:-1], lines[-1].replace('"tokens":[', '"tokens":[99,')],
            r"damaged \(SpaceError",
        ),
    ],
)
def test_a_damaged_file_says_so(release, change, message):
    text = "\n".join(change(release.to_text().splitlines()))
    with pytest.raises(DataError, match=message):
        read_release(text, "toy")


def test_the_file_is_json_that_any_reader_takes(release):
    def refuse(word):
        raise ValueError(word)

    for line in release.to_text().splitlines():
        json.loads(line, parse_constant=refuse)


def test_no_study_is_an_error(tmp_path):
    with pytest.raises(UsageError, match="holds no study with a finished trial"):
        gather(tmp_path, floor=None, regressor="ridge")


def test_studies_of_two_tasks_are_refused(tmp_path):
    studied(tmp_path / "a", "random", 2, 0)
    studied(tmp_path / "b", "random", 2, 0, task="other")
    with pytest.raises(UsageError, match="are of the tasks other, toy; a benchmark has one"):
        gather(tmp_path, floor=None, regressor="ridge")


def test_comparisons_are_left_out_and_named(tmp_path):
    studied(tmp_path / "a", "random", 3, 0)
    arms = {"none": None, "all": SPACE.decode((1,) * 35)}
    compare(evaluate, arms, seeds=2, executor="inline", out=tmp_path / "c")
    gathered = gather(tmp_path, floor=None, regressor="ridge")
    assert len(gathered.release.trials) == 3
    assert gathered.comparisons == ("c",)
    assert gathered.without == {"a": 0}
