"""docs/images.md shows the committed measurement of what batches cost."""

import json
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs" / "images.md").read_text(encoding="utf8")
MEASURED = json.loads((ROOT / "benchmarks" / "results" / "input_time.json").read_text(encoding="utf8"))
LARGE, SMALL, UDA, PHOTOGRAPHS = MEASURED["figures"].values()


def share(figures):
    return f"{figures['median']:.1%} ± {figures['spread']:.1%}"


@pytest.mark.parametrize("name", [name for name in LARGE if name != "step"])
def test_the_table_is_the_measurement(name):
    (row,) = re.findall(rf"^\| {re.escape(name)} \|(.*)$", PAGE, re.MULTILINE)
    assert [cell.strip() for cell in row.split("|")][:2] == [share(LARGE[name]), share(SMALL[name])]


def test_the_sentences_are_the_measurement():
    text = " ".join(PAGE.split())
    batch = share(UDA["flips, crops, RandAugment of half"])
    assert f"takes {UDA['step']['median']:.2f} seconds, its batch {batch} of" in text
    assert f"take {share(PHOTOGRAPHS['read, cropped, flipped'])} of a step of ResNet-50" in text
    a_second = PHOTOGRAPHS["read by one core"]
    assert f"one core reads {a_second['median']:.0f} ± {a_second['spread']:.0f} a second" in text
    assert f"medians of {LARGE['step']['n']} interleaved rounds" in text
    assert f"commit {MEASURED['commit']};" in text
    assert f"a step that takes {SMALL['step']['median'] * 1e3:.0f} milliseconds" in text
    assert f"load {MEASURED['machine']['load']:.1f} " in text
    assert not MEASURED["uncommitted_changes"]
