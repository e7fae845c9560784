"""The documentation's site as a browser shows it, at desk and phone width. Needs Chromium.

``make report-test`` keeps the pictures.
"""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
ROOT = Path(__file__).parents[1]
QUIET = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--no-first-run",
    "--hide-scrollbars",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--allow-file-access-from-files",  # a page in a frame may tell the one around it what it sees
]
WIDTHS = (1280, 390)
LOOKED_AT = ("index", "docs/quickstart", "docs/own", "docs/space", "docs/results", "docs/api/patterns")
PROBE = """
<script>
  addEventListener("load", () => {
    const page = document.documentElement;
    const shown = (element) => element.getBoundingClientRect().width > 0;
    const within = (e) => e.closest("pre, table, .md-typeset__scrollwrap, .doc-signature");
    const wide = [...document.querySelectorAll(".md-content *")].filter(
      (e) => shown(e) && !within(e) && e.getBoundingClientRect().right > page.clientWidth + 1);
    const told = parent.document.getElementById("told");
    told.textContent = JSON.stringify([...JSON.parse(told.textContent), {
      page: location.pathname,
      width: page.clientWidth,
      scroll: page.scrollWidth,
      wide: wide.map((e) => e.outerHTML.slice(0, 120)),
      broken: [...document.images].filter((i) => !i.naturalWidth).map((i) => i.getAttribute("src")),
      letters: document.querySelector(".md-content").innerText.length,
      menu: getComputedStyle(document.querySelector(".md-sidebar--primary")).position,
    }]);
  });
</script>
"""
AROUND = """<!doctype html><meta charset="utf8"><pre id="told">[]</pre>FRAMES"""
FRAME = '<iframe src="{page}" style="width: {width}px; height: 2000px; border: 0"></iframe>'

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not installed"),
]


@pytest.fixture(scope="module")
def site(tmp_path_factory) -> Path:
    """The site, built as make docs builds it, each page with the probe in it."""
    built = tmp_path_factory.mktemp("site") / "site"
    environment = {**os.environ, "NO_MKDOCS_2_WARNING": "1"}
    for words in (["docs/gather.py", "build/pages"], ["-m", "mkdocs", "build", "--quiet", "-d", str(built)]):
        subprocess.run([sys.executable, *words], cwd=ROOT, check=True, env=environment)
    for page in built.rglob("*.html"):
        text = page.read_text(encoding="utf8")
        page.write_text(text.replace("</body>", f"{PROBE}</body>"), encoding="utf8")
    return built


def browser(page: str, profile: Path, width: int, *flags: str) -> str:
    command = [CHROMIUM, *QUIET, f"--user-data-dir={profile}", f"--window-size={width},2100", *flags, page]
    return subprocess.run(command, capture_output=True, text=True, timeout=300, check=True).stdout


@pytest.fixture(scope="module", params=WIDTHS)
def seen(request, site, tmp_path_factory) -> tuple[int, list[dict]]:
    """What every page of the site says of itself at a width, and the width."""
    folder, width = tmp_path_factory.mktemp("seen"), request.param
    names = [page for page in sorted(site.rglob("*.html")) if page.name != "404.html"]
    frames = "".join(FRAME.format(page=page.as_uri(), width=width) for page in names)
    (folder / "around.html").write_text(AROUND.replace("FRAMES", frames), encoding="utf8")
    text = browser((folder / "around.html").as_uri(), folder / "profile", 1400, "--dump-dom")
    told = re.search(r'<pre id="told">(.*?)</pre>', text, re.DOTALL)[1]
    found = json.loads(told.replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&"))
    assert len(found) == len(names)
    return width, found


def test_every_page_fits_and_has_its_pictures(seen):
    width, found = seen
    assert {page["width"] for page in found} == {width}
    assert {page["scroll"] for page in found} == {width}
    assert [(page["page"], page["wide"]) for page in found if page["wide"]] == []
    assert [(page["page"], page["broken"]) for page in found if page["broken"]] == []
    assert min(page["letters"] for page in found) > 200
    assert {page["menu"] for page in found} == {"fixed" if width < 1000 else "sticky"}


@pytest.mark.parametrize("name", LOOKED_AT)
def test_pages_can_be_looked_at(site, tmp_path, name):
    folder = Path(os.environ.get("AUTODROPOUT_SCREENSHOTS", tmp_path)).resolve()
    picture = folder / f"site-{name.replace('/', '-')}.png"
    picture.unlink(missing_ok=True)
    browser((site / f"{name}.html").as_uri(), tmp_path / "profile", 1280, f"--screenshot={picture}")
    assert picture.read_bytes().startswith(b"\x89PNG")
    assert picture.stat().st_size > 20_000
