import pytest

from autodropout.errors import UsageError
from autodropout.pattern import ConvPattern, TokenPattern
from autodropout.report.record import read_record
from autodropout.report.tables import drop_rate, failures, lead, log_tail, top_policies, trial_rows
from autodropout.significance import paired_difference
from autodropout.token_space import TokenSpace
from recorded import SPACE, Run, Writer, record_study, record_whole_study

NAN = float("nan")


def test_rows_are_best_first_and_without_a_reward_last(tmp_path):
    record_study(tmp_path, [Run(reward=r) for r in (-0.5, NAN, 0.9, None, 0.9)])
    rows = trial_rows(read_record(tmp_path))
    assert [row.trial for row in rows] == [3, 5, 1, 2, 4]
    assert [row.diverged for row in rows] == [False, False, False, True, False]
    assert rows[0].test == {"accuracy": pytest.approx(0.89)}
    assert rows[-1].error == "ValueError: boom"


def test_rows_have_exact_drop_rates(tmp_path):
    tokens = (2, 0, 0, 0, 2, 2, 0, 0) + (0,) * 8
    record_study(tmp_path, [Run(reward=0.5, tokens=tokens)])
    (row,) = trial_rows(read_record(tmp_path))
    assert row.rates == {"stem.bn": SPACE.decode(tokens).sites["stem.bn"].drop_rate(8, 8)}


def test_confirmed_policies_are_the_top(tmp_path):
    record_whole_study(tmp_path)
    record = read_record(tmp_path)
    first, second = top_policies(record, 8)
    assert [top.confirmed.trial for top in (first, second)] == [11, 10]
    assert first.summary.n == 3
    assert first.searched == next(row.reward for row in trial_rows(record) if row.trial == 11)
    assert top_policies(record, 1) == (first,)


def test_before_confirmation_the_best_different_policies_are_the_top(tmp_path):
    one, other = (1, *([0] * 15)), (2, *([0] * 15))
    runs = [Run(reward=r, tokens=t) for r, t in ((0.5, one), (0.9, one), (0.7, other), (NAN, other))]
    record_study(tmp_path, runs)
    top = top_policies(read_record(tmp_path), 8)
    assert [(t.confirmed.trial, t.confirmed.reward, t.summary) for t in top] == [
        (2, 0.9, None),
        (3, 0.7, None),
    ]


def test_the_lead_is_paired_by_seed(tmp_path):
    record_whole_study(tmp_path)
    record = read_record(tmp_path)
    first, second = record.confirmed
    assert lead(record) == paired_difference(first.rewards, second.rewards)


def test_without_two_policies_nobody_leads(tmp_path):
    record_study(tmp_path, [Run(reward=0.5)])
    assert lead(read_record(tmp_path)) is None


def test_failures_come_with_the_end_of_their_log(tmp_path):
    record_whole_study(tmp_path)
    found = failures(read_record(tmp_path), most=10)
    assert [(failure.trial, failure.state) for failure in found] == [(3, "done"), (6, "failed")]
    assert found[1].error == "ValueError: boom"
    assert found[1].tail == "epoch 1\nTraceback\nValueError: boom"
    assert found[0].tail == ""
    assert [f.trial for f in failures(read_record(tmp_path), most=1)] == [6]


def test_the_tail_of_a_log_is_short_and_clean(tmp_path):
    log = tmp_path / "log"
    log.write_bytes(b"x" * 100_000 + b"\nlast \x1b[31mred\x1b[0m \xff \x00line\n")
    assert log_tail(log, 1) == "last red \ufffd line"
    log.write_text("\n".join(map(str, range(100))) + "\n", encoding="utf8")
    assert log_tail(log, 3) == "97\n98\n99"
    assert log_tail(tmp_path / "none", 3) == ""


def test_a_log_that_cannot_be_read_is_named(tmp_path):
    with pytest.raises(UsageError, match=r"cannot be read .*; check its permissions"):
        log_tail(tmp_path, 3)


def test_drop_rates_need_a_map_only_for_tiles():
    conv, token = ConvPattern(height=2, width=2), TokenPattern(size=2, stride=2, rate=0.1)
    assert drop_rate("stem.bn", conv, SPACE) == conv.drop_rate(8, 8)
    assert drop_rate("elsewhere", conv, SPACE) is None
    assert drop_rate("role:ffn", token, TokenSpace(sites=("ffn",))) == 0.05


def test_trials_that_wait_have_rows_too(tmp_path):
    writer = Writer(tmp_path)
    writer.queue()
    writer.close()
    (row,) = trial_rows(read_record(tmp_path))
    assert (row.state, row.reward, row.seconds, row.attempts) == ("queued", None, None, 0)
