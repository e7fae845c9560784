import csv
import importlib
import math
import sys

import pytest

from autodropout.errors import LedgerError, UsageError
from autodropout.report.export import export, trial_table, update_table
from autodropout.report.record import read_record
from autodropout.token_space import TokenSpace
from recorded import SPACE, Run, Writer, record_study, record_whole_study


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    out = tmp_path_factory.mktemp("whole")
    record_whole_study(out)
    return out


def rows(path):
    with path.open(encoding="utf8", newline="") as file:
        return list(csv.DictReader(file))


def test_csv_has_every_trial_and_decision(whole):
    trials, updates = export(whole, "csv")
    record, written = read_record(whole), rows(trials)
    assert [int(row["trial"]) for row in written] == [trial.id for trial in record.trials]
    for row, trial in zip(written, record.trials, strict=True):
        for choice, token, live in zip(SPACE.choices, trial.tokens, SPACE.live(trial.tokens), strict=True):
            expected = str(choice.values[token]) if live else ""
            assert row[f"{choice.site}.{choice.name}"] == expected
        assert float(row["drop_rate.stem.bn"]) == (
            trial.policy.sites["stem.bn"].drop_rate(8, 8) if "stem.bn" in trial.policy.sites else 0.0
        )
    first, diverged, failed = written[0], written[2], written[5]
    assert float(first["reward"]) == float(first["taught_reward"]) == record.trials[0].reward
    assert [float(value) for value in first["curve"].split()] == list(record.trials[0].result.curve)
    assert (diverged["reward"], diverged["taught_reward"], diverged["state"]) == ("", "0.1", "done")
    assert (failed["error"], failed["state"], failed["seconds"]) == ("ValueError: boom", "failed", "")
    assert [row["kind"] for row in written[24:]] == ["confirm"] * 6
    assert [(row["update"], row["trials"]) for row in rows(updates)][:2] == [
        ("1", "1 2 3 4"),
        ("2", "5 6 7 8"),
    ]


def test_parquet_has_the_same_columns_with_types(whole):
    parquet = pytest.importorskip("pyarrow.parquet")
    trials, updates = export(whole, "parquet")
    for path, table in ((trials, trial_table), (updates, update_table)):
        read, expected = parquet.read_table(path).to_pydict(), table(read_record(whole))
        assert list(read) == list(expected)
        for name in ("trial", "reward", "stem.bn.stride", "entropy"):
            assert read.get(name) == (list(expected[name]) if name in expected else None)
    repeat = parquet.read_schema(trials).field("stem.bn.repeat")
    assert str(repeat.type) == "string"  # 1, 2, 3, 4 and "fill"


def test_optuna_has_the_search_trials_that_ended(whole):
    optuna = pytest.importorskip("optuna")
    for _ in range(2):  # a second export replaces the first
        (path,) = export(whole, "optuna")
    study = optuna.load_study(study_name="toy", storage=f"sqlite:///{path}")
    record = read_record(whole)
    assert study.user_attrs == {"searcher": "reinforce", "command": "autodropout search toy", "seed": 7}
    assert len(study.trials) == 24
    assert study.best_value == max(t.result.reward for t in record.search if t.result and t.error is None)
    states = [trial.state.name for trial in study.trials]
    assert [place for place, state in enumerate(states) if state == "FAIL"] == [2, 5]
    for frozen, trial in zip(study.trials, record.ended, strict=True):
        pattern = trial.policy.sites.get("stem.bn")
        assert frozen.params["stem.bn drop rate"] == (pattern.drop_rate(8, 8) if pattern else 0.0)
        assert frozen.params["stem.bn size"] == (str(pattern.height) if pattern else "off")
        assert frozen.user_attrs["trial"] == trial.id
        assert frozen.duration.total_seconds() == pytest.approx(
            trial.result.seconds if trial.result else 1.7, abs=0.9
        )


def test_optuna_takes_token_policies(tmp_path):
    optuna = pytest.importorskip("optuna")
    writer = Writer(tmp_path, space=TokenSpace.wide(("ffn",)))
    writer.run([Run(reward=0.5, tokens=tokens) for tokens in ((6, 0, 0, 0, 1), (0,) * 5, (2, 1, 0, 0, 5))])
    writer.close()
    (path,) = export(tmp_path, "optuna")
    study = optuna.load_study(study_name="toy", storage=f"sqlite:///{path}")
    assert [trial.params["role:ffn size"] for trial in study.trials] == ["whole", "off", "2"]


def test_tensorboard_has_the_rewards_and_the_searchers_figures(whole):
    pytest.importorskip("tensorboard")
    accumulator = importlib.import_module("tensorboard.backend.event_processing.event_accumulator")
    for _ in range(2):
        paths = export(whole, "tensorboard")
    assert len(paths) == 1
    events = accumulator.EventAccumulator(str(paths[0].parent)).Reload()
    record = read_record(whole)
    best = [event.value for event in events.Scalars("trials/best")]
    assert best[-1] == pytest.approx(max(t.result.reward for t in record.search if t.error is None))
    assert best == sorted(best)
    assert [e.step for e in events.Scalars("searcher/effective sample size")] == [1, 2, 3, 4, 5, 6]
    assert events.Scalars("trials/reward")[0].wall_time == record.timings[1].ended


@pytest.mark.parametrize(
    ("to", "module", "package"),
    [
        ("parquet", "pyarrow", "pyarrow"),
        ("optuna", "optuna", "optuna"),
        ("tensorboard", "torch.utils.tensorboard", "tensorboard"),
    ],
)
def test_a_missing_library_is_named_with_its_remedy(whole, monkeypatch, to, module, package):
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(UsageError, match=f"is not installed; install it with: pip install {package}"):
        export(whole, to)


def test_an_unknown_target_is_refused(whole):
    with pytest.raises(UsageError, match="to is 'xml'; expected one of csv, parquet, optuna, tensorboard"):
        export(whole, "xml")


def test_nothing_to_export_is_an_error(tmp_path):
    with pytest.raises(LedgerError, match="holds no study"):
        export(tmp_path, "csv")
    Writer(tmp_path).close()
    with pytest.raises(UsageError, match="the ledger is empty"):
        export(tmp_path, "csv")


def test_a_file_that_cannot_be_written_is_an_error(tmp_path):
    record_study(tmp_path, [Run(reward=0.5)])
    (tmp_path / "trials.csv").mkdir()
    with pytest.raises(UsageError, match=r"the export cannot be written .*trials.csv"):
        export(tmp_path, "csv")


def test_figures_that_are_not_finite_stay_what_they_are(tmp_path):
    record_study(tmp_path, [Run(reward=math.nan), Run(reward=0.5)])
    (path, _) = export(tmp_path, "csv")
    assert rows(path)[0]["curve"] == "0.5 nan"
