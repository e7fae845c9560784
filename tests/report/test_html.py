import json
import re
from dataclasses import replace
from html.parser import HTMLParser

import pytest

from autodropout.comparison import compare
from autodropout.conv_space import ConvSpace
from autodropout.errors import LedgerError, UsageError
from autodropout.report.html import follow_report, page, write_report
from autodropout.report.page.listing import MOST_ROWS, trials_section
from autodropout.report.page.words import duration, figure, named, percent
from autodropout.report.record import read_record
from autodropout.report.tables import trial_rows
from autodropout.token_space import TokenSpace
from recorded import STUDY, Run, Writer, record_study, record_whole_study

NAN = float("nan")
HOSTILE = "<img src=x onerror=alert(1)>\"'&"
VOID = {"meta", "br", "link", "input"}


class Checked(HTMLParser):
    """Reads a page, and fails where tags are not closed in order or something is loaded from elsewhere."""

    def __init__(self, text):
        super().__init__()
        self.open, self.text, self.tags, self.ids = [], "", [], []
        self.feed(text)
        self.close()
        assert self.open == []
        assert len(self.ids) == len(set(self.ids))

    def handle_starttag(self, tag, attributes):
        given = dict(attributes)
        self.tags.append((tag, given))
        self.ids += [given["id"]] if "id" in given else []
        assert not {"src", "srcset", "background", "action", "style"} & set(given), given
        assert not [name for name in given if name.startswith("on")], given
        assert given.get("href", "#").startswith("#"), given
        self.open += [] if tag in VOID else [tag]

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open and self.open[-1] in ("style", "script"):
            assert not re.search(r"@import|url\(|https?:|//\w", data)
        else:
            self.text += data


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    out = tmp_path_factory.mktemp("whole")
    record_whole_study(out)
    return out


def checked(out, **options):
    return Checked(page(read_record(out), **options))


def test_the_page_holds_everything_and_loads_nothing(whole):
    found = checked(whole)
    for words in (
        "toy finished",
        "Best confirmed policy",
        "Progress",
        "What mattered",
        "Effective sample size",
        "Costs",
        "ValueError: boom",
        "autodropout search toy",
        "torch 2.11",
    ):
        assert words in found.text
    assert "Comparison" not in found.text
    assert "\"default-src 'none'" not in found.text
    policy = next(a["content"] for _, a in found.tags if a.get("http-equiv") == "Content-Security-Policy")
    assert policy.startswith("default-src 'none'")


def test_headings_links_and_pictures_can_be_found(whole):
    found = checked(whole)
    links = {a["href"][1:] for tag, a in found.tags if tag == "a"}
    assert links <= set(found.ids)
    pictures = [a for tag, a in found.tags if tag == "svg"]
    assert len(pictures) > 20
    assert all(a["role"] == "img" and a["aria-label"] for a in pictures)
    assert [tag for tag, _ in found.tags if tag in ("html", "h1", "main", "nav")] == [
        "html",
        "main",
        "h1",
        "nav",
    ]


def test_the_style_knows_both_schemes_and_widths(whole):
    text = page(read_record(whole))
    for rule in ("prefers-color-scheme: dark", "max-width: 600px", "width=device-width"):
        assert rule in text


def test_masks_are_those_of_the_policies(whole):
    found = checked(whole)
    labels = [a["aria-label"] for tag, a in found.tags if a.get("class") == "mask"]
    assert len(labels) == 12  # six draws of the one site that is on, twice
    assert labels[0].startswith("Draw 1 of stem.bn: ")


@pytest.mark.parametrize("runs", [[], [Run(reward=NAN)], [Run(reward=0.5)], [Run(reward=0.5)] * 5])
def test_a_young_study_has_a_page(tmp_path, runs):
    writer = Writer(tmp_path)
    writer.run(runs)
    writer.queue()
    writer.close()
    found = checked(tmp_path)
    assert "searching" in found.text
    if not any(run.reward == 0.5 for run in runs):
        assert "No trial has returned a finite reward yet." in found.text


def test_strings_from_outside_are_only_text(tmp_path):
    space = ConvSpace(sites={"<b>&": (8, 8)})
    writer = Writer(
        tmp_path, replace(STUDY, task=HOSTILE, command=HOSTILE, versions={HOSTILE: HOSTILE}), space
    )
    writer.run([Run(reward=0.5), Run(reward=None)] * 10, {HOSTILE: 1.0})
    writer.close()
    (tmp_path / "logs").mkdir()
    (tmp_path / "logs" / "trial-000002-1.log").write_text(f"</pre></script>{HOSTILE}", encoding="utf8")
    found = checked(tmp_path)
    assert found.text.count(HOSTILE) >= 4
    assert "<b>&" in found.text
    assert not [tag for tag, _ in found.tags if tag in ("img", "b2")]


def test_one_seed_for_all_trials_is_said(tmp_path):
    record_study(tmp_path / "one", [Run(reward=0.5)] * 3, common_seed=True)
    record_study(tmp_path / "many", [Run(reward=0.5)] * 3)
    assert ", all trials with the same seed" in checked(tmp_path / "one").text
    assert "all trials with the same seed" not in checked(tmp_path / "many").text


def test_token_policies_are_drawn_too(tmp_path):
    writer = Writer(tmp_path, space=TokenSpace.wide(("ffn", "query")))
    writer.run([Run(reward=0.5, tokens=(2, 1, 0, 0, 5) * 2)] * 5)
    writer.close()
    found = checked(tmp_path)
    assert "drops 33.3% of 8 channels x 32 tokens" in found.text
    assert "role:ffn" in found.text


def test_a_comparison_beside_the_search_is_shown(tmp_path):
    record_study(tmp_path, [Run(reward=0.5)] * 5)
    arms = {"none": lambda seed: 0.5 + seed % 7 / 100, "mine <i>": lambda seed: 0.7 + seed % 5 / 100}
    compare(lambda policy, seed: 0.0, arms, seeds=3, executor="inline", out=tmp_path / "compare")
    found = checked(tmp_path)
    assert "mine <i> is better than none" in found.text
    assert "comparison" in found.ids


def test_of_many_trials_the_best_are_listed(tmp_path):
    record_study(tmp_path, [Run(reward=0.5)])
    (row,) = trial_rows(read_record(tmp_path))
    rows = [replace(row, trial=number) for number in range(MOST_ROWS + 1)]
    text = trials_section(rows)
    assert text.count("<tr>") == MOST_ROWS + 1
    assert "These are the best 1,000 of 1,001" in text


def test_the_report_is_written_beside_the_ledger(whole, tmp_path):
    path = write_report(whole)
    assert path == whole / "report.html"
    assert path.read_text(encoding="utf8").startswith("<!doctype html>")
    other = tmp_path / "other.html"
    assert write_report(whole, to=other) == other
    assert [file.name for file in tmp_path.iterdir()] == ["other.html"]


def test_an_empty_ledger_has_no_report(tmp_path):
    Writer(tmp_path).close()
    with pytest.raises(UsageError, match="the ledger is empty"):
        write_report(tmp_path)
    with pytest.raises(LedgerError, match="holds no study"):
        write_report(tmp_path / "nowhere")


def test_a_report_that_cannot_be_written_says_where(whole, tmp_path):
    with pytest.raises(UsageError, match=r"nowhere.r\.html cannot be written .*; name another file"):
        write_report(whole, to=tmp_path / "nowhere" / "r.html")


def test_following_ends_with_the_study(tmp_path):
    writer = Writer(tmp_path)
    seen = []

    def work(seconds):
        seen.append((seconds, (tmp_path / "report.html").read_text(encoding="utf8")))
        writer.run([Run(reward=0.5)])
        writer.enter("done" if len(seen) == 3 else "confirm")

    path = follow_report(tmp_path, seconds=2.0, sleep=work)
    writer.close()
    assert [seconds for seconds, _ in seen] == [2.0] * 3
    assert all('data-refresh="2"' in text and 'http-equiv="refresh"' in text for _, text in seen)
    assert "0 of 24 trials" in seen[0][1]
    assert "2 of 24 trials" in seen[2][1]
    last = path.read_text(encoding="utf8")
    assert "data-refresh" not in last
    assert "3 of 24 trials" in last


@pytest.mark.parametrize("seconds", [0.5, NAN, -1.0])
def test_following_needs_time_between_versions(whole, seconds):
    with pytest.raises(UsageError, match=r"seconds is .*; expected at least 1"):
        follow_report(whole, seconds=seconds)


def test_numbers_are_written_for_people():
    assert [figure(v) for v in (None, 0.96, 1.0, 123456.0, 12345678.9, 0.00001234, -3.0)] == [
        "-",
        "0.9600",
        "1.000",
        "123,456",
        "12,345,679",
        "1.234e-05",
        "-3.000",
    ]
    assert [duration(s) for s in (None, 0.123, 5.0, 59.94, 61.0, 3599.0, 7260.0)] == [
        "-",
        "0.12 s",
        "5.0 s",
        "59.9 s",
        "1 min 01 s",
        "59 min 59 s",
        "2 h 01 min",
    ]
    assert [percent(v) for v in (None, 0.0456, 1.0)] == ["-", "4.56%", "100%"]
    assert [named("size", 0), named("stride", 0), named("share_c", True), named("rotate", 15.0)] == [
        "off",
        "0",
        "yes",
        "15",
    ]


def test_the_policies_json_can_be_copied(whole):
    record = read_record(whole)
    assert json.loads(record.best.policy.to_json())["schema"] == 1
    assert json.dumps("stem.bn") in checked(whole).text
