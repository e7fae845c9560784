"""The public names and their signatures: changing one is a decision, and shows in a change of this file."""

import ast
import inspect
import re
import subprocess
import sys
from pathlib import Path

import pytest

import autodropout

SIGNATURES = {
    "AdaptiveDropout": (
        "num_channels, rate=0.2, settings=AdaptiveSettings(least=0.0, most=0.9, momentum=0.9, "
        "favours='important', whole=True, saved=True), *, axis=1, site=None, seed=None"
    ),
    "Applied": "model, policy, layers, attachments, silenced, seed",
    "Confirmation": "*, top=8, seeds=4",
    "Controller": "space, *, layers=1, width=32, heads=2, prior=True, bias=True",
    "ConvPattern": (
        "*, height, width, stride=0, repeat=1, rotate=0.0, shear_x=0.0, shear_y=0.0, share_c=True, "
        "residual=False, rate=1.0, backward_rate=0.0"
    ),
    "ConvSpace": (
        "*, sites, sizes=('pixel', 0.0625, 0.125, 0.25, 0.5), strides=(0.5, 1.0, 2.0, 4.0), "
        "repeats=(1, 2, 3, 4, 'fill'), rotates=(0.0, 15.0, 30.0, 45.0, 60.0, 75.0), "
        "shears=(-0.4, -0.2, 0.0, 0.2, 0.4), residual=None, rates=None, backward_rates=None, consumed=None, "
        "rectangles=False, schedule=False, off=0.5"
    ),
    "Halving": "*, factor=3, rungs=3, startup=8, window=24, spared=0.05",
    "PatternDropout": "pattern, *, layout=None, site=None, seed=None, sequences=('own', None)",
    "Policy": "sites, schedule='constant'",
    "Result": "*, reward, metrics=<factory>, test=<factory>, curve=(), seconds=None",
    "Study": "out",
    "TokenPattern": "*, size, stride=0, share_t=False, share_c=False, rate=0.1",
    "TokenSpace": (
        "*, sites, sizes=(1, 4, 'whole'), strides=(0,), "
        "rates=(0.05, 0.1, 0.2, 0.3, 0.4, 0.5), residual_rates=(0.02, 0.05, 0.1, 0.15), schedule=False, "
        "off=0.5"
    ),
    "Trial": (
        "*, id, kind, tokens, policy, log_prob, seed, state, attempt, update, result, reward, error, "
        "budget=1.0"
    ),
    "adaptive_dropout": (
        "model, names, rate=0.2, *, settings=AdaptiveSettings(least=0.0, most=0.9, momentum=0.9, "
        "favours='important', whole=True, saved=True), refreshing=Refreshing(every=100, method='lrp'), "
        "schedule='constant', seed=None"
    ),
    "apply": "model, policy, *, existing='keep', seed=None, layouts=None",
    "augmented_dropout": "model, names, rate=0.2, backward_rate=0.0002, *, multiply=True, seed=None",
    "backward_dropout": "model, names, rate=0.2, *, seed=None",
    "compare": (
        "evaluate, arms, *, seeds=10, baselines=None, figure=None, higher_is_better=True, workers=2, "
        "out=None, executor='local', devices=None, seed=0, timeout=None, max_attempts=3, floor=None, "
        "task=None, command=None, on_event=unheard"
    ),
    "conv_keep": "pattern, shape, generator=None, device=None",
    "drop": "h, keep, valid=None",
    "forward_dropout": "model, names, rate=0.2, *, seed=None",
    "match": "model, policy, *, example_input=None, layouts=None",
    "mc": "model, inputs, samples",
    "relevance": "model, inputs, targets, sites, method='lrp', *, axes=None",
    "search": (
        "evaluate, space, *, trials=512, searcher='reinforce', workers=2, out=None, seed=0, "
        "executor='local', devices=None, cluster=Cluster(address=None, cpus=1, gpus=0, slots=None), "
        "capacity=None, batch=None, timeout=None, max_attempts=3, "
        "floor=None, confirm=Confirmation(top=8, seeds=4), halving=None, "
        "warm_start=None, common_seed=False, task=None, on_event=unheard"
    ),
    "sites": "model, *, layouts=None",
    "space_for": "model, example_input, *, layouts=None, backward_rates=None",
    "token_keep": "pattern, shape, generator=None, device=None",
}
SPACE = "cardinalities choices decode encode key live parents sample searches_schedule site_choices to_json"
MEMBERS = {
    "Applied": (
        "disabled existing follow load_state_dict of progress remove silent_sites state_dict step "
        "valid_tokens warn_of_frozen"
    ),
    "ConvPattern": "drop_rate off scaled",
    "ConvSpace": SPACE,
    "Halving": "budgets from_plain proposals share to_plain trainings",
    "Policy": "from_json load save scaled strength to_json",
    "Study": ("best confirmed finished open record seed space tally task timings trial trials updates"),
    "TokenPattern": "drop_rate off scaled",
    "TokenSpace": f"{SPACE} wide",
}
MODULES = {"baselines", "benchmark", "zoo"}
PUBLIC = {"AutoDropoutError", *SIGNATURES}
SOURCE = Path(autodropout.__file__)


def signature(thing):
    """Names, kinds and defaults; not the annotations, whose spelling depends on the Python version."""
    bare = [
        p.replace(annotation=inspect.Parameter.empty) for p in inspect.signature(thing).parameters.values()
    ]
    return re.sub(r"<function (\w+) at \w+>", r"\1", str(inspect.Signature(bare))[1:-1])


def imports(tree):
    return [node for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)]


def names(nodes):
    return {a.asname for node in nodes for a in node.names} - {None}


def test_the_public_names_are_these():
    nodes = imports(ast.parse(SOURCE.read_text(encoding="utf8")))
    assert names(n for n in nodes if n.module == "autodropout") == MODULES
    assert names(n for n in nodes if n.module != "autodropout") == PUBLIC


@pytest.mark.parametrize("name", SIGNATURES)
def test_signatures_are_these(name):
    assert signature(getattr(autodropout, name)) == SIGNATURES[name]


@pytest.mark.parametrize("name", MEMBERS)
def test_methods_and_properties_are_these(name):
    kind = getattr(autodropout, name)
    fields = set(getattr(kind, "__dataclass_fields__", ()))
    assert {m for m in dir(kind) if not m.startswith("_")} - fields == set(MEMBERS[name].split())


@pytest.mark.parametrize("name", sorted(PUBLIC))
def test_every_public_name_is_described(name):
    assert len(inspect.getdoc(getattr(autodropout, name)).splitlines()[0]) > 10


def test_late_names_are_those_that_a_type_checker_sees():
    body = ast.parse(SOURCE.read_text(encoding="utf8")).body
    (block,) = (
        node for node in body if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"
    )
    modules = [node for node in block.body if node.module == "autodropout"]
    rest = [node for node in block.body if node.module != "autodropout"]
    assert names(modules) == set(autodropout._LATE_MODULES)
    late = {a.asname: str(node.module).removeprefix("autodropout.") for node in rest for a in node.names}
    assert late == autodropout._LATE
    assert names(block.body) <= set(dir(autodropout))
    assert all(getattr(autodropout, name) is not None for name in names(block.body))


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="module 'autodropout' has no attribute 'serach'"):
        _ = autodropout.serach


def test_the_version_is_a_version():
    assert re.fullmatch(r"\d+\.\d+\.\d+", autodropout.__version__)


def run(code):
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=300
    )
    return done.stdout.strip()


def test_importing_loads_no_torch():
    assert run("import sys, autodropout; print({'torch', 'numpy'} & set(sys.modules))") == "set()"


def test_importing_adds_under_0_3_seconds_to_torch_and_never_the_compiler():
    began, ended, loaded = run(
        "import sys, time, torch; before = set(sys.modules); print(time.process_time()); "
        "import autodropout as ad; print(time.process_time()); "
        "[getattr(ad, name) for name in dir(ad)]; new = set(sys.modules) - before; "
        "print(sorted(n for n in new if n.startswith(('torch._dynamo', 'torch._inductor', 'sympy'))))"
    ).splitlines()
    assert float(ended) - float(began) < 0.3
    assert loaded == "[]", "a public name costs seconds"


def test_the_help_of_the_command_line_loads_no_torch():
    code = "import sys; from autodropout.cli import main; main(['--help']); print('torch' in sys.modules)"
    assert run(code).splitlines()[-1] == "False"
