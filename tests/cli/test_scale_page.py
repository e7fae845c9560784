"""docs/scale.md: every command on it is one that the command line takes."""

import re
import shlex
from pathlib import Path

import pytest

from autodropout.cli import _COMMANDS, _parsed

PAGE = (Path(__file__).parents[2] / "docs/scale.md").read_text(encoding="utf8")
BLOCKS = re.findall(r"^```(?:bash|yaml)\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
COMMANDS = [
    shlex.split(line.rstrip(" &"), comments=True)
    for block in BLOCKS
    for line in re.findall(r"\bautodropout (.+)$", block.replace("\\\n", " "), re.MULTILINE)
]


def test_the_page_shows_the_commands_of_this_room():
    assert len(COMMANDS) > 10
    assert {"doctor", "calibrate", "search", "resume", "stop", "compare"} == {words[0] for words in COMMANDS}


@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
def test_every_command_is_understood(words):
    assert isinstance(_parsed(words), _COMMANDS[words[0]][0])
