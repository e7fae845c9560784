import json
from dataclasses import replace

import numpy as np
import pytest

from autodropout.benchmark import plan, racing
from autodropout.benchmark.account import cells, document, legend, markdown
from autodropout.benchmark.landscapes import Benchmark
from autodropout.benchmark.plan import Plan
from autodropout.benchmark.racing import race
from autodropout.benchmark.simulating import Simulated
from autodropout.benchmark.standings import standings
from autodropout.benchmark.variants import Variant
from autodropout.engine.confirm import Confirmation
from autodropout.errors import DataError, SpaceError, UsageError
from autodropout.token_space import TokenSpace
from toy_landscape import SPACE


def variants(*words):
    return [Variant.parse(word) for word in words]


def test_a_variant_is_a_searcher_with_settings():
    variant = Variant.parse(
        "reinforce:learning_rate=.01:bound=null:prior=false:advantage=ema:capacity=16:repetitions=9"
    )
    assert variant.searcher == "reinforce"
    assert variant.settings == {"learning_rate": 0.01, "bound": None, "prior": False, "advantage": "ema"}
    assert (variant.capacity, variant.repetitions) == (16, 9)
    assert variant.name == "reinforce:learning_rate=.01:bound=null:prior=false:advantage=ema:capacity=16"
    made = variant.make(SPACE, seed=0, trials=64)
    assert made.settings["learning_rate"] == 0.01
    assert made.settings["bound"] is None


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("genetic", "there is no searcher 'genetic'; choose from reinforce"),
        ("random:batch", "has the part 'batch'; expected setting=value, each once"),
        ("random:batch=1:batch=2", "has the part 'batch=2'"),
        ("random:capacity=0", "capacity of 'random:capacity=0' is 0; expected a whole number >= 1"),
        ("random:repetitions=many", "repetitions of 'random' is 'many'"),
        ("random:common_seed=1", "common_seed of 'random:common_seed=1' is 1; expected true or false"),
        ("random:repetitions=1", "repetitions of 'random' is 1; expected a whole number >= 2"),
    ],
)
def test_wrong_words_are_refused(words, message):
    with pytest.raises(UsageError, match=message):
        Variant.parse(words)


def test_a_variant_may_have_one_seed_for_all_its_trials():
    plan = Plan(variants=variants("random:common_seed=true", "evolution"))
    setups = {job.variant.name: job.setup for v in plan.variants for job in plan.jobs(v, SPACE, 1)}
    assert {name: setup.common_seed for name, setup in setups.items()} == {
        "random": False,
        "random:common_seed=true": True,
        "evolution": False,
    }
    everywhere = Plan(variants=variants("evolution"), common_seed=True)
    assert all(job.setup.common_seed for v in everywhere.variants for job in everywhere.jobs(v, SPACE, 1))
    apart = Plan(variants=variants("evolution:common_seed=False"), common_seed=True)
    (job,) = [job for job in apart.jobs(apart.variants[1], SPACE, 1) if job.repetitions[0] == 0]
    assert not job.setup.common_seed


def test_a_setting_that_a_searcher_does_not_have_is_refused_before_anything_runs(benchmark):
    with pytest.raises(
        UsageError, match="the searcher 'reinforce' has no setting 'lr'; it has batch, advantage"
    ):
        race(benchmark, Plan(variants=variants("reinforce:lr=1")), workers=1)
    with pytest.raises(UsageError, match="batch is 0; expected a whole number >= 1"):
        race(benchmark, Plan(variants=variants("evolution:batch=0")), workers=1)
    with pytest.raises(UsageError, match="workers is 0; expected at least 1"):
        race(benchmark, Plan(variants=[]), workers=0)
    with pytest.raises(SpaceError, match=r"no rate 0.9 at 'role:ffn'"):
        race(benchmark, Plan(variants=[]), space=TokenSpace(sites=("ffn",), rates=(0.9,)), workers=1)


def test_the_noise_of_one_seed_must_be_known(benchmark):
    alone = tuple(trial for trial in benchmark.trials if trial.kind == "search")
    unshared = Benchmark(replace(benchmark.release, trials=(*alone, replace(alone[0], seed=-1))), "toy")
    with pytest.raises(DataError, match="toy has no two policies that were confirmed on the same seeds"):
        race(unshared, Plan(variants=variants("random:common_seed=true"), budgets=(8,)), workers=1)


def test_the_legend_says_what_noise_one_seed_leaves(benchmark):
    plan = Plan(variants=[], budgets=(8,), repetitions=2, common_seed=True)
    rows = standings(plan, race(benchmark, plan, workers=1))
    text = legend(document(benchmark, plan, rows, seconds=1.0))
    own = f"{benchmark.noise.own.sd:.4f}"
    assert f"All trials of a search have the same seed, which leaves {own} of it among good policies." in text


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"budgets": (64, 32)}, r"trials are \[64, 32\]; expected one or more numbers >= 1, rising"),
        ({"budgets": ()}, r"trials are \[\]"),
        ({"repetitions": 1}, "repetitions is 1; expected at least 2"),
        ({"capacity": 0}, "capacity is 0; expected at least 1"),
        ({"seed": -1}, "seed is -1; expected at least 0"),
        ({"variants": variants("tpe", "tpe")}, "the searcher 'tpe' stands twice"),
        ({"common_seed": "false"}, "common_seed is 'false'; expected True or False"),
    ],
)
def test_wrong_plans_are_refused(settings, message):
    with pytest.raises(UsageError, match=message):
        Plan(**{"variants": [], **settings})


def test_random_is_always_there_and_first():
    assert [v.name for v in Plan(variants=variants("tpe", "random")).variants] == ["random", "tpe"]


def test_only_searchers_that_plan_ahead_run_once_per_budget():
    plan = Plan(variants=variants("evolution", "reinforce"), budgets=(64, 128))
    random, evolution, reinforce = plan.variants
    assert plan.runs(random, SPACE) == plan.runs(evolution, SPACE) == {128: (64, 128)}
    assert plan.runs(reinforce, SPACE) == {64: (64,), 128: (128,)}
    jobs = plan.jobs(reinforce, SPACE, workers=2)
    assert [(job.setup.trials, job.repetitions) for job in jobs[:2]] == [
        (128, tuple(range(50))),
        (128, tuple(range(50, 100))),
    ]
    assert sorted(n for job in jobs if job.setup.trials == 64 for n in job.repetitions) == list(range(200))


@pytest.fixture(scope="module")
def raced(benchmark):
    plan = Plan(
        variants=variants("evolution", "categorical:repetitions=4"),
        budgets=(24, 48),
        repetitions=8,
        every=8,
        confirm=Confirmation(top=4, seeds=2),
    )
    heard = []
    races = race(benchmark, plan, workers=1, notify=lambda *progress: heard.append(progress))
    return plan, races, heard


def assert_same(races, again):
    assert set(races) == set(again)
    for name, runs in races.items():
        for trials, run in runs.items():
            assert np.array_equal(run.ended, again[name][trials].ended)
            assert np.array_equal(run.proposed, again[name][trials].proposed)


@pytest.mark.slow  # starts two processes that import everything
def test_the_outcome_does_not_depend_on_the_number_of_processes(benchmark, raced):
    planned, races, _ = raced
    assert_same(races, race(benchmark, planned, workers=2))


def test_the_outcome_does_not_depend_on_how_many_searches_run_side_by_side(benchmark, raced, monkeypatch):
    planned, races, _ = raced
    monkeypatch.setattr(plan, "_CHUNK", 3)
    assert_same(races, race(benchmark, planned, workers=1))


class Kept(dict):
    """Keeps variants in memory, and what was written in order."""

    def __init__(self, races):
        super().__init__(races)
        self.written = []

    def read(self):
        return dict(self)

    def write(self, variant, runs):
        self.written.append(variant.name)
        self[variant.name] = runs


def test_what_is_kept_is_not_run_again_and_what_is_done_is_kept(benchmark, raced, monkeypatch):
    planned, races, _ = raced
    ran = []
    real = racing._simulated
    monkeypatch.setattr(racing, "_simulated", lambda *a: ran.append(a[2].variant.name) or real(*a))
    keeping = Kept({"evolution": races["evolution"]})
    again = race(benchmark, planned, workers=1, keeping=keeping)
    assert_same(races, again)
    assert list(again) == ["random", "evolution", "categorical"]
    assert again["evolution"] is races["evolution"]
    assert set(ran) == {"random", "categorical"}
    assert keeping.written == ["random", "categorical"]
    assert keeping == again


def test_each_variant_is_kept_before_the_next_is_run(benchmark, raced, monkeypatch):
    planned, races, _ = raced
    real = racing._simulated

    def stopping(benchmark, space, job):
        if job.variant.name == "categorical":
            raise KeyboardInterrupt
        return real(benchmark, space, job)

    keeping = Kept({})
    with monkeypatch.context() as patch:
        patch.setattr(racing, "_simulated", stopping)
        with pytest.raises(KeyboardInterrupt):
            race(benchmark, planned, workers=1, keeping=keeping)
    assert keeping.written == ["random", "evolution"]
    assert_same(races, race(benchmark, planned, workers=1, keeping=keeping))


def test_what_is_kept_of_others_is_left_out(benchmark, raced):
    planned, races, _ = raced
    heard = []
    keeping = Kept({**races, "tpe": races["random"]})
    again = race(benchmark, planned, workers=1, keeping=keeping, notify=lambda *told: heard.append(told))
    assert (list(again), heard, keeping.written) == (list(races), [], [])


def test_progress_is_told_job_by_job(raced):
    *_, heard = raced
    total = heard[-1][2]
    assert [done for _, done, _ in heard] == list(range(1, total + 1))


def test_a_row_says_what_its_searches_came_to(raced):
    plan, races, _ = raced
    rows = standings(plan, races)
    assert [row.variant.name for row in rows] == ["random", "evolution", "categorical"]
    assert [row.repetitions for row in rows] == [8, 8, 4]
    for row in rows:
        assert [standing.trials for standing in row.standings] == [24, 48]
        for standing in row.standings:
            run = next(r for r in races[row.variant.name].values() if standing.trials in r.budgets)
            column = run.ended[:, run.looks.index(standing.trials)]
            assert standing.value.mean == pytest.approx(column.mean())
            assert standing.value.n == row.repetitions
            last = run.proposed[:, max(0, standing.trials - 32) : standing.trials]
            assert standing.proposals.mean == pytest.approx(last.mean())
            theirs = races["random"][48].ended[: row.repetitions]
            theirs = theirs[:, races["random"][48].looks.index(standing.trials)]
            if row.variant.name == "random":
                assert standing.difference is None
            else:
                assert standing.difference.difference == pytest.approx((column - theirs).mean())
        assert row.curve.trials == (8, 16, 24, 32, 40, 48)
        assert row.curve.ended[-1] == row.standings[-1].value
        assert row.curve.proposals[-1] == row.standings[-1].proposals


def planned_row(ended, reference):
    def run(rows):
        values = np.array(rows, dtype=float)
        return Simulated(
            looks=(8, 16), budgets=(16,), ended=values, unconfirmed=values, proposed=np.ones((len(rows), 16))
        )

    plan = Plan(variants=variants("evolution"), budgets=(16,), repetitions=len(ended))
    return standings(plan, {"random": {16: run(reference)}, "evolution": {16: run(ended)}})


def test_trials_to_be_as_good_as_random():
    random, quick = planned_row([[2, 3]] * 4, [[1, 2]] * 4)
    assert (quick.reached.trials, quick.reached.low, quick.reached.high) == (8, 8, 8)
    assert random.reached.trials == 16
    _, never = planned_row([[0, 1]] * 4, [[1, 2]] * 4)
    assert (never.reached.trials, never.reached.low, never.reached.high) == (None, None, None)
    assert cells((random, never))[2][-1] == "> 16"
    _, unsure = planned_row([[2, 3], [2, 3], [0, 3], [0, 3], [2, 3]], [[1, 2]] * 5)
    assert (unsure.reached.trials, unsure.reached.low, unsure.reached.high) == (8, 8, 16)
    assert cells((random, unsure))[2][-1] == "8 (8 to 16)"


def test_the_document_is_json_and_says_how_it_was_made(benchmark, raced):
    plan, races, _ = raced
    rows = standings(plan, races)
    facts = document(benchmark, plan, rows, seconds=1.26)
    assert json.loads(json.dumps(facts, allow_nan=False)) == facts
    assert (facts["benchmark"], facts["task"], facts["seconds"]) == ("toy", "toy", 1.3)
    assert facts["landscape_trials"] == len(benchmark.trials)
    assert facts["noise"]["low"] < facts["noise"]["sd"] < facts["noise"]["high"]
    assert {"command", "machine", "versions"} <= set(facts)
    assert facts["searchers"][1]["standings"][0]["value"]["n"] == 8
    words = legend(facts)
    assert "by a surrogate (ridge) of 156 trials" in words
    assert f"No dropout has {benchmark.none:.4f}" in words


def test_the_table_has_a_row_per_searcher(benchmark, raced):
    plan, races, _ = raced
    rows = standings(plan, races)
    heading, random, evolution, _ = cells(rows)
    assert heading == ["searcher", "n", "24 trials", "48 trials", "less random", "as good after"]
    assert random[:2] == ["random", "8"]
    assert random[4] == ""
    value = rows[1].standings[1].value
    assert evolution[3] == f"{value.mean:.4f} ±{value.high - value.mean:.4f}"
    facts = document(benchmark, plan, rows, seconds=2.0)
    title, _, *table, _, words, _, made = markdown(facts, rows).splitlines()
    assert title == "# Searchers on toy"
    assert table[1] == "| --- | ---: | ---: | ---: | ---: | ---: |"
    assert len(table) == 5
    assert words == legend(facts)
    assert made.startswith(f"`{facts['command']}`; system ")
    assert f", numpy {facts['versions']['numpy']}." in made
