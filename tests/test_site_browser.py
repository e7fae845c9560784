"""The documentation's site as a browser shows it, at desk and phone width. Needs Chromium.

``make report-test`` keeps the pictures.
"""

import os
import subprocess
import sys
from pathlib import Path

import pytest

import chromium

ROOT = Path(__file__).parents[1]
LOOKED_AT = ("index", "docs/quickstart", "docs/own", "docs/space", "docs/results", "docs/api/patterns")
SCROLLING = "pre, table, .md-typeset__scrollwrap, .doc-signature"
MORE = """
  return {
    broken: [...document.images].filter((i) => !i.naturalWidth).map((i) => i.getAttribute("src")),
    letters: document.querySelector(".md-content").innerText.length,
    menu: getComputedStyle(document.querySelector(".md-sidebar--primary")).position,
  };
"""

pytestmark = chromium.NEEDED


@pytest.fixture(scope="module")
def site(tmp_path_factory) -> Path:
    """The site, built as make docs builds it, but elsewhere."""
    pages, built = (tmp_path_factory.mktemp("site") / name for name in ("pages", "site"))
    environment = {**os.environ, "NO_MKDOCS_2_WARNING": "1", "AUTODROPOUT_PAGES": str(pages)}
    for words in (["docs/gather.py", str(pages)], ["-m", "mkdocs", "build", "--quiet", "-d", str(built)]):
        subprocess.run([sys.executable, *words], cwd=ROOT, check=True, env=environment)
    return built


@pytest.fixture(scope="module")
def probed(site) -> list[Path]:
    """The site's pages, each with a probe in it, beside those without."""
    pages = [page for page in sorted(site.rglob("*.html")) if page.name != "404.html"]
    probed = [page.with_suffix(".probed.html") for page in pages]
    for page, copy in zip(pages, probed, strict=True):
        text = page.read_text(encoding="utf8")
        text = chromium.probed(text, inside=".md-content", scrolling=SCROLLING, more=MORE)
        copy.write_text(text, encoding="utf8")
    return probed


@pytest.mark.parametrize("width", chromium.WIDTHS)
def test_every_page_fits_and_has_its_pictures(probed, width):
    found = chromium.told(probed, width)
    assert {page["width"] for page in found} == {width}
    assert {page["scroll"] for page in found} == {width}
    assert [(page["page"], page["wide"]) for page in found if page["wide"]] == []
    assert [(page["page"], page["broken"]) for page in found if page["broken"]] == []
    assert min(page["letters"] for page in found) > 200
    assert {page["menu"] for page in found} == {"fixed" if width < 1000 else "sticky"}


@pytest.mark.parametrize("width", chromium.WIDTHS)
@pytest.mark.parametrize("name", LOOKED_AT)
def test_pages_can_be_looked_at(site, tmp_path, name, width):
    file = f"site-{width}-{name.replace('/', '-')}.png"
    picture = chromium.picture(site / f"{name}.html", file, tmp_path, width=width, height=2100)
    assert picture.stat().st_size > 20_000
