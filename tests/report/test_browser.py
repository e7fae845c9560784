"""The report as a browser shows it. Needs Chromium; run by ``make report-test``, which keeps the pictures."""

from pathlib import Path

import pytest

import chromium
from autodropout.comparison import compare
from autodropout.report.html import write_report
from recorded import Run, Writer, record_whole_study

SCHEMES = {"dark": 0, "light": 1}
BACKGROUND = {"dark": "rgb(16, 20, 26)", "light": "rgb(246, 247, 249)"}
MORE = """
  const headings = [...document.querySelectorAll("#trials ~ .scroll th button")];
  const column = () => [...document.querySelectorAll("#trials ~ .scroll tbody tr")]
    .map((row) => row.cells[0].textContent);
  headings[0].click();
  const descending = column();
  headings[0].click();
  document.querySelector(".chart .dot[data-tip]").dispatchEvent(
    new PointerEvent("pointerover", { bubbles: true }));
  return {
    background: getComputedStyle(document.body).backgroundColor,
    charts: [...document.querySelectorAll(".chart.wide, .chart.narrow")].filter(shown)
      .map((e) => e.getAttribute("class")),
    requests: performance.getEntriesByType("resource").map((e) => e.name),
    tip: document.querySelector(".tip").textContent,
    descending, ascending: column(),
  };
"""

pytestmark = chromium.NEEDED


@pytest.fixture(scope="module")
def report(tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("study")
    record_whole_study(out, trials=48, task="a task with a name that is much too long for any telephone")
    arms = {"none": lambda seed: 0.5 + seed % 7 / 100, "searched policy": lambda seed: 0.7 + seed % 5 / 100}
    compare(lambda policy, seed: 0.0, arms, seeds=3, executor="inline", out=out / "compare")
    return write_report(out)


def preferring(scheme: str) -> str:
    return f"--blink-settings=preferredColorScheme={SCHEMES[scheme]}"


def probed(page: Path, tmp_path: Path, width: int, scheme: str) -> dict:
    """What the page says of itself once it is laid out."""
    text = chromium.probed(
        page.read_text(encoding="utf8"), inside="body", scrolling=".scroll, pre", more=MORE
    )
    copy = tmp_path / "probed.html"
    copy.write_text(text, encoding="utf8")
    (found,) = chromium.told([copy], width, preferring(scheme))
    return found


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize(
    ("width", "chart"), [(chromium.DESK, "chart wide"), (chromium.PHONE, "chart narrow")]
)
def test_the_page_fits_and_works(report, tmp_path, width, chart, scheme):
    found = probed(report, tmp_path, width, scheme)
    assert (found["width"], found["scroll"], found["wide"]) == (width, width, [])
    assert found["background"] == BACKGROUND[scheme]
    assert set(found["charts"]) == {chart}
    assert found["requests"] == []
    assert found["tip"].startswith("trial ")
    trials = [str(number) for number in range(1, 49)]
    assert (found["ascending"], found["descending"]) == (trials, trials[::-1])


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("width", chromium.WIDTHS)
def test_the_page_can_be_looked_at(report, tmp_path, width, scheme):
    size = {"width": width, "height": 6000}
    picture = chromium.picture(report, f"report-{width}-{scheme}.png", tmp_path, preferring(scheme), **size)
    assert picture.stat().st_size > 100_000


def test_a_young_study_can_be_looked_at(tmp_path):
    writer = Writer(tmp_path)
    writer.run([Run(reward=0.5)] * 2)
    writer.queue()
    writer.close()
    found = probed(write_report(tmp_path), tmp_path, chromium.PHONE, "light")
    assert (found["scroll"], found["wide"]) == (chromium.PHONE, [])
