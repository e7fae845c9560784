"""The layers of DESIGN: nothing imports upward, and files and functions stay small."""

import ast
import sys
from pathlib import Path

import pytest

import autodropout

ROOT = Path(autodropout.__file__).parent
FILES = sorted(ROOT.rglob("*.py"))

GROUND = (
    "errors suggesting durations cores strict_json atomic geometry pattern policy site tilt"
    " space conv_space token_space space_json result"
)
ROOMS = {
    "ground": GROUND,
    "tensors": "tracing noise tables tiling planes mask masked fused fused_tokens attach opening",
    "layers": "steered valid_tokens layers baselines augmented attribution adaptive",
    "applying": "families choosing quantised unmatched existing probing matching following handles naming"
    " watching consuming applied applying augmenting adapting monte_carlo",
    "engine": "engine",
    "zoo": "zoo",
    "models": "models",
    "data": "data",
    "tasks": "tasks",
    "comparison": "comparison benchmark conclusions resampling significance",
    "report": "report",
    "top": "__init__ __main__ cli integrations",
}
ROOM = {name: room for room, names in ROOMS.items() for name in names.split()}
MAY_IMPORT = {
    "ground": "",
    "tensors": "ground",
    "layers": "ground tensors",
    "applying": "ground tensors layers",
    "engine": "ground",
    "zoo": "ground",
    "models": "ground",
    "data": "ground",
    "tasks": "ground tensors layers applying zoo models data",
    "comparison": "ground engine",
    "report": "ground tensors comparison engine.study"
    " engine.ledger engine.places engine.ledger_reader engine.ledger_records engine.ledger_schema",
    "top": " ".join(ROOMS),
}
ONLY_HERE = {
    "torch": "tensors layers applying engine.controller engine.gradient engine.reinforce models data tasks"
    " report top",
    "ray": "engine.executors.ray",
    "captum": "attribution.against_zero",
}
ENTRY_POINTS = {  # they may have many parameters, which are keyword-only
    "engine.run.search",
    "comparison.running.compare",
    "adapting.adaptive_dropout",
    "engine.executors.local.__init__",
}


def name_of(file: Path) -> str:
    return ".".join(file.relative_to(ROOT).with_suffix("").parts)


def imports(file: Path) -> set[str]:
    """Full names of all modules that a file imports, wherever in the file."""
    names = set()
    for node in ast.walk(ast.parse(file.read_text(encoding="utf8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{file}: relative import"
            inner = {f"{node.module}.{a.name}" for a in node.names}
            names |= {n for n in inner if is_module(n)} or {str(node.module)}
    return names


def is_module(name: str) -> bool:
    place = ROOT.parent.joinpath(*name.split("."))
    return place.with_suffix(".py").exists() or place.is_dir()


def allowed(module: str, patterns: str) -> bool:
    """Whether a module (without "autodropout.") is in one of the rooms, or is one of the modules."""
    room = ROOM[module.split(".")[0]]
    return any(room == p or f"{module}.".startswith(f"{p}.") for p in patterns.split())


def violations(file: Path) -> list[str]:
    here = name_of(file)
    room = ROOM[here.split(".")[0]]
    found = []
    for name in imports(file):
        first, _, rest = name.partition(".")
        if first == "autodropout":
            target = rest or "__init__"
            fine = allowed(target, f"{room} {MAY_IMPORT[room]}")
        elif room == "ground":
            fine = first in sys.stdlib_module_names
        else:
            fine = allowed(here, ONLY_HERE.get(first, " ".join(ROOMS)))
        found += [] if fine else [f"{here} imports {name}"]
    return found


def test_nothing_imports_upward():
    assert [arrow for file in FILES for arrow in violations(file)] == []


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("pattern.py", "import torch"),
        ("pattern.py", "def f():\n    from autodropout.mask import drop"),
        ("pattern.py", "from autodropout import Policy"),
        ("mask.py", "from autodropout import layers"),
        ("engine/run.py", "from autodropout.mask import drop"),
        ("engine/run.py", "import torch.nn"),
        ("engine/executors/local.py", "import ray"),
        ("tasks/digits.py", "from autodropout.engine.run import search"),
        ("report/tables.py", "from autodropout.engine.run import search"),
        ("models/digits_net.py", "import autodropout.data.digits"),
        ("applying.py", "import autodropout"),
    ],
)
def test_an_upward_arrow_is_seen(tmp_path, monkeypatch, name, text):
    for folder in ("engine", "data", "report"):
        (tmp_path / "autodropout" / folder).mkdir(parents=True)
    for module in ("mask.py", "layers.py", "engine/run.py", "engine/ledger.py", "data/digits.py"):
        (tmp_path / "autodropout" / module).touch()
    monkeypatch.setattr(sys.modules[__name__], "ROOT", tmp_path / "autodropout")
    file = tmp_path / "autodropout" / name
    file.parent.mkdir(exist_ok=True)
    file.write_text(text)
    assert len(violations(file)) == 1
    file.write_text("import math\nfrom autodropout.errors import AutoDropoutError")
    assert violations(file) == []


def test_no_module_bears_a_public_name():
    tree = ast.parse((ROOT / "__init__.py").read_text(encoding="utf8"))
    nodes = [node for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)]
    public = {a.asname for node in nodes if node.module != "autodropout" for a in node.names}
    assert {"Policy", "search"} <= public
    assert public & {part for file in FILES for part in name_of(file).split(".")} == set()


def test_files_have_at_most_300_lines():
    lines = {name_of(file): len(file.read_text(encoding="utf8").splitlines()) for file in FILES}
    assert {name: n for name, n in lines.items() if n > 300} == {}


def functions():
    for file in FILES:
        for node in ast.walk(ast.parse(file.read_text(encoding="utf8"))):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                yield f"{name_of(file)}.{node.name}", node


def test_function_bodies_are_under_40_lines():
    def length(node):
        body = node.body[1:] if ast.get_docstring(node) else node.body
        return node.end_lineno - body[0].lineno + 1 if body else 0

    assert {name: length(node) for name, node in functions() if length(node) >= 40} == {}


def test_functions_have_at_most_6_parameters():
    def names(node):
        given = node.args.posonlyargs + node.args.args + node.args.kwonlyargs
        return [a.arg for a in given if a.arg not in ("self", "cls")]

    many = {name: names(node) for name, node in functions() if len(names(node)) > 6}
    assert {name: p for name, p in many.items() if name not in ENTRY_POINTS} == {}
    for name, node in functions():
        assert name not in ENTRY_POINTS or len(node.args.args) <= 3, f"{name}: make more of them keyword-only"
