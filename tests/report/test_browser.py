"""The report as a browser shows it. Needs Chromium; run by ``make report-test``, which keeps the pictures."""

import json
import os
import shutil
import subprocess
from html import escape
from pathlib import Path

import pytest

from autodropout.comparison import compare
from autodropout.report.html import write_report
from recorded import Run, Writer, record_whole_study

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
QUIET = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--hide-scrollbars",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
SCHEMES = {"dark": 0, "light": 1}
BACKGROUND = {"dark": "rgb(16, 20, 26)", "light": "rgb(246, 247, 249)"}
PROBE = """
<script>
  addEventListener("load", () => {
    const page = document.documentElement;
    const shown = (element) => element.getBoundingClientRect().width > 0;
    const within = (element) => element.closest(".scroll, pre");
    const wide = [...document.body.querySelectorAll("*")].filter(
      (e) => shown(e) && !within(e) && e.getBoundingClientRect().right > page.clientWidth + 1);
    const headings = [...document.querySelectorAll("#trials ~ .scroll th button")];
    const column = () => [...document.querySelectorAll("#trials ~ .scroll tbody tr")]
      .map((row) => row.cells[0].textContent);
    headings[0].click();
    const descending = column();
    headings[0].click();
    document.querySelector(".chart .dot[data-tip]").dispatchEvent(
      new PointerEvent("pointerover", { bubbles: true }));
    parent.document.documentElement.dataset.probe = JSON.stringify({
      width: page.clientWidth,
      scroll: page.scrollWidth,
      wide: wide.map((e) => e.outerHTML.slice(0, 200)),
      background: getComputedStyle(document.body).backgroundColor,
      charts: [...document.querySelectorAll(".chart.wide, .chart.narrow")].filter(shown)
        .map((e) => e.getAttribute("class")),
      requests: performance.getEntriesByType("resource").map((e) => e.name),
      tip: document.querySelector(".tip").textContent,
      descending, ascending: column(),
    });
  });
</script>
"""

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not installed"),
]


@pytest.fixture(scope="module")
def report(tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("study")
    record_whole_study(out, trials=48, task="a task with a name that is much too long for any telephone")
    arms = {"none": lambda seed: 0.5 + seed % 7 / 100, "searched policy": lambda seed: 0.7 + seed % 5 / 100}
    compare(lambda policy, seed: 0.0, arms, seeds=3, executor="inline", out=out / "compare")
    return write_report(out)


def browser(page: Path, *flags: str, width: int, height: int, scheme: str, profile: Path) -> str:
    command = [CHROMIUM, *QUIET, f"--user-data-dir={profile}", f"--window-size={width},{height}"]
    command += [f"--blink-settings=preferredColorScheme={SCHEMES[scheme]}", *flags, page.as_uri()]
    done = subprocess.run(command, capture_output=True, text=True, timeout=180, check=True)
    return done.stdout


def probed(page: Path, tmp_path: Path, width: int, scheme: str) -> dict:
    """What the page says of itself once it is laid out; in a frame, since no window is so narrow."""
    text = page.read_text(encoding="utf8").replace("</body>", f"{PROBE}</body>")
    frame = tmp_path / "frame.html"
    style = f"width: {width}px; height: 2000px; border: 0"
    frame.write_text(f'<iframe srcdoc="{escape(text)}" style="{style}"></iframe>', encoding="utf8")
    size = {"width": 1400, "height": 2100, "scheme": scheme}
    text = browser(frame, "--dump-dom", **size, profile=tmp_path / "profile")
    start = text.index('data-probe="') + len('data-probe="')
    return json.loads(text[start : text.index('"', start)].replace("&quot;", '"').replace("&amp;", "&"))


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize(("width", "chart"), [(1280, "chart wide"), (390, "chart narrow")])
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
@pytest.mark.parametrize("width", [1280, 390])
def test_the_page_can_be_looked_at(report, tmp_path, width, scheme):
    folder = Path(os.environ.get("AUTODROPOUT_SCREENSHOTS", tmp_path)).resolve()
    picture = folder / f"report-{width}-{scheme}.png"
    picture.unlink(missing_ok=True)
    size = {"width": width, "height": 6000, "scheme": scheme}
    browser(report, f"--screenshot={picture}", **size, profile=tmp_path / "profile")
    assert picture.read_bytes().startswith(b"\x89PNG")
    assert picture.stat().st_size > 100_000


def test_a_young_study_can_be_looked_at(tmp_path):
    writer = Writer(tmp_path)
    writer.run([Run(reward=0.5)] * 2)
    writer.queue()
    writer.close()
    found = probed(write_report(tmp_path), tmp_path, 390, "light")
    assert (found["scroll"], found["wide"]) == (390, [])
