"""Every snippet of the documentation runs, every docstring's example is true, every link leads on."""

import doctest
import importlib
import pkgutil
import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch

import autodropout

ROOT = Path(__file__).parents[1]
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")])
MODULES = sorted(m.name for m in pkgutil.walk_packages(autodropout.__path__, "autodropout."))
BLOCK = re.compile(r"^```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
HEADING = re.compile(r"^#+ +(.+)$", re.MULTILINE)
WITH_PYTHON = [page for page in PAGES if BLOCK.search(page.read_text(encoding="utf8"))]


def name(page):
    return str(page.relative_to(ROOT))


@pytest.mark.parametrize("page", WITH_PYTHON, ids=name)
def test_snippets_run_from_top_to_bottom(page, tmp_path):
    text = page.read_text(encoding="utf8")
    for library in re.findall(
        r"^(?:import|from) (torchvision|timm|transformers|lightning|optuna)\b", text, re.M
    ):
        pytest.importorskip(library)
    script = tmp_path / "snippets.py"
    script.write_text("\n".join(BLOCK.findall(text)), encoding="utf8")
    done = subprocess.run(
        [sys.executable, "-W", "error::DeprecationWarning:__main__", script.name],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert done.returncode == 0, done.stderr


FENCED = re.compile(r"^```.*?^```$", re.MULTILINE | re.DOTALL)
CODE = re.compile(r"^    (?:from \S+ import |import |def |class |study = |with |for ).*", re.MULTILINE)


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_no_python_is_indented_where_no_test_would_run_it(page):
    assert CODE.findall(FENCED.sub("", page.read_text(encoding="utf8"))) == []


@pytest.mark.parametrize("module", ["autodropout", *MODULES])
def test_examples_in_docstrings_are_true(module, request, monkeypatch, tmp_path):
    if module.endswith(".__main__"):
        pytest.skip("importing it runs the command line")
    monkeypatch.chdir(tmp_path)
    known = {name: getattr(autodropout, name) for name in dir(autodropout) if not name.startswith("_")}
    known |= {"ad": autodropout, "torch": torch, "getfixture": request.getfixturevalue}
    loaded = importlib.import_module(module)
    failed, _ = doctest.testmod(loaded, globs=known | vars(loaded), optionflags=doctest.ELLIPSIS)
    assert failed == 0


def anchors(page):
    headings = HEADING.findall(page.read_text(encoding="utf8"))
    return {re.sub(r"[^\w\- ]", "", heading.lower()).strip().replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_relative_links_lead_somewhere(page):
    for link in LINK.findall(page.read_text(encoding="utf8")):
        if "://" in link or link.startswith("mailto:"):
            continue
        place, _, anchor = link.partition("#")
        target = page.parent / place if place else page
        assert target.exists(), f"{name(page)} links to {link}"
        assert not anchor or anchor in anchors(target), f"{name(page)} links to {link}"


def test_the_readme_fits_on_a_screen():
    assert len((ROOT / "README.md").read_text(encoding="utf8").splitlines()) <= 90


def test_the_changelog_knows_this_version():
    assert f"## {autodropout.__version__}" in (ROOT / "CHANGELOG.md").read_text(encoding="utf8")


def test_the_citation_knows_this_version():
    assert f"version: {autodropout.__version__}\n" in (ROOT / "CITATION.cff").read_text(encoding="utf8")


PAPER_NAME = re.compile(r"`(autodropout(?:\.\w+)+)`")
PAPER_TEST = re.compile(r"`(tests/[\w/]+\.py)(?:::(\w+))?`")


def test_what_the_paper_page_names_exists():
    page = (ROOT / "docs/paper.md").read_text(encoding="utf8")
    for dotted in PAPER_NAME.findall(page):
        assert pkgutil.resolve_name(dotted) is not None
    for path, test in PAPER_TEST.findall(page):
        source = (ROOT / path).read_text(encoding="utf8")
        assert not test or re.search(rf"^(def|class) {test}\b", source, re.MULTILINE), f"{path} has no {test}"
    for section in ("## Methods", "## Demystifying Dropout", "## Adaptive Dropout"):
        assert len(PAPER_TEST.findall(page.partition(section)[2].partition("\n## ")[0])) > 10, section
