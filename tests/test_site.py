"""The documentation's site: its pages are all there, and its reference knows every public name."""

import importlib.util
import pkgutil
import re
from pathlib import Path
from types import ModuleType

import pytest

import autodropout as ad

ROOT = Path(__file__).parents[1]
SPEC = importlib.util.spec_from_file_location("gather", ROOT / "docs" / "gather.py")
gathering = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(gathering)
PAGES = re.findall(r": (\S+\.md)$", (ROOT / "mkdocs.yml").read_text(encoding="utf8"), re.MULTILINE)


def found(path):
    """Return the object at a path below the package."""
    return pkgutil.resolve_name(f"autodropout.{path}")


@pytest.fixture(scope="module")
def pages(tmp_path_factory):
    target = tmp_path_factory.mktemp("site") / "pages"
    gathering.gather(target)
    return target


def test_every_page_of_the_menu_is_gathered_and_every_page_of_docs_is_in_the_menu(pages):
    assert [page for page in PAGES if not (pages / page).is_file()] == []
    assert {f"docs/{page.name}" for page in ROOT.glob("docs/*.md")} <= set(PAGES)


def test_links_out_of_docs_lead_somewhere(pages):
    text = (pages / "docs" / "results.md").read_text(encoding="utf8")
    links = re.findall(r"\]\((\.\./results/[^)]+)\)", text)
    assert links
    assert all((pages / "docs" / link).is_file() for link in links)


def test_the_reference_has_every_public_name():
    shown = [found(path) for _, paths in gathering.REFERENCE.values() for path in paths]
    modules = {thing.__name__ for thing in shown if isinstance(thing, ModuleType)}
    public = {name: getattr(ad, name) for name in dir(ad) if not name.startswith("_")}
    missing = [
        name
        for name, thing in public.items()
        if getattr(thing, "__module__", "").startswith("autodropout")
        and not any(thing is one for one in shown)
        and thing.__module__ not in modules
    ]
    assert missing == []


SEAMS = re.compile(
    r"^from autodropout\.((?:engine|integrations|benchmark|adapt|tasks)[\w.]*) import (\w+)", re.MULTILINE
)


def test_the_reference_has_what_pages_import_and_what_outsiders_write_themselves():
    shown = {path for _, paths in gathering.REFERENCE.values() for path in paths}
    imported = {
        f"{module}.{name}"
        for page in ROOT.glob("docs/*.md")
        for module, name in SEAMS.findall(page.read_text(encoding="utf8"))
    }
    assert len(imported) > 4
    protocols = {"engine.base.Searcher", "engine.executors.base.Executor", "tasks.base.Task", "site.HasSites"}
    assert imported | protocols <= shown
    evidence = {found(f"benchmark.{name}") for name in ("load", "names", "Released", "Benchmark")}
    assert evidence <= {found(path) for path in shown}
