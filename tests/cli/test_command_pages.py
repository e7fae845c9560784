"""docs/commands.md has every command and says what its help says; what pages call is understood."""

import re
import shlex
from pathlib import Path
from typing import get_args, get_type_hints

import pytest

from autodropout.cli import _COMMANDS, _parsed
from autodropout.cli.exporting import Export

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs/commands.md").read_text(encoding="utf8")
SECTIONS = {
    heading: text
    for heading, _, text in (
        part.partition("\n") for part in re.split(r"^### ", PAGE, flags=re.MULTILINE)[1:]
    )
}


def commands_of(text):
    """Return the words behind ``autodropout`` of every line of a block of shell that begins with it."""
    blocks = re.findall(r"^```(?:bash)?\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    lines = "".join(blocks).replace("\\\n", " ")
    return [
        shlex.split(line, comments=True) for line in re.findall(r"^autodropout (.+)$", lines, re.MULTILINE)
    ]


def test_every_command_has_a_section_and_no_other_has_one():
    assert sorted(SECTIONS) == sorted(_COMMANDS)


@pytest.mark.parametrize("name", _COMMANDS)
def test_a_section_says_what_the_help_says_and_shows_calls_of_that_command(name):
    said = " ".join(SECTIONS[name].split())
    kind, line = _COMMANDS[name]
    help_text = " ".join((kind.__doc__ or "").split("\n\n")[0].split())
    assert said.startswith((line.rstrip("."), help_text.rstrip(".")))
    calls = commands_of(SECTIONS[name])
    assert calls
    assert {words[0] for words in calls} == {name}


def test_every_tool_that_trials_are_exported_for_is_shown():
    shown = {words[words.index("--to") + 1] for words in commands_of(SECTIONS["export"])}
    assert shown == set(get_args(get_type_hints(Export)["to"]))


CALLS = [
    (page.name, words)
    for page in (ROOT / "README.md", *sorted(ROOT.glob("docs/*.md")))
    for words in commands_of(page.read_text(encoding="utf8"))
    if "TASK" not in words
]


def test_many_pages_show_commands():
    assert len({page for page, _ in CALLS}) > 4


@pytest.mark.parametrize(
    ("page", "words"), CALLS, ids=[f"{page}: {' '.join(words)}" for page, words in CALLS]
)
def test_every_command_of_every_page_is_understood(page, words):
    assert isinstance(_parsed(words), _COMMANDS[words[0]][0])


def test_options_that_the_page_names_are_there():
    for name, text in SECTIONS.items():
        fields = {f"--{field.replace('_', '-')}" for field in _COMMANDS[name][0].__dataclass_fields__}
        assert set(re.findall(r"`(--[a-z-]+)`", text)) <= fields, name
