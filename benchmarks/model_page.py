"""The page on supported networks, from the results alone."""

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

Line = Mapping[str, Any]

_INTRODUCTION = """\
# Networks that were tried

This page is written by `make test-models` from [results/models.json](../results/models.json); do not edit it.

Each network is built with random weights and ten classes, gets two images of 96 x 96 pixels (or of the size
that it is made for, where it takes no other) and a pattern at *every* site and on every shortcut that can be
reached. Hugging Face's are tiny and get three sequences or images. A network passes if

- `state_dict` keeps its names, and the output in evaluation is the same to the last bit;
- every site fires in training, the output in training is another one, and finite;
- every parameter that gets a gradient without the policy gets a finite one with it;
- after `remove()` names of `state_dict`, `repr`, attributes, hooks and outputs are as before.

Layers that are like the others are left out where timm's builder takes a depth (*reduced*). *By name* are
networks without a norm and without known roles: their convolutions were named with `layouts=`. *Skipped* are
those that cannot run here without any policy; the reasons stand at the end.
"""
KINDS = ("ConvNets with batch normalisation", "networks with attention", "others")
_TITLES = {"torchvision": "torchvision", "transformers": "Hugging Face", "timm": "timm"}


def page(results: Mapping[str, Any]) -> str:
    """Return docs/models.md.

    Args:
        results: What results/models.json holds.
    """
    lines: Sequence[Line] = results["models"]
    parts = [_INTRODUCTION, _origin(results, lines)]
    parts += [_library(library, lines, results["existing"][library]) for library in _TITLES]
    parts += [_reasons("What does not pass", lines, _failed), _reasons("Skipped", lines, _skipped)]
    return "\n".join(part for part in parts if part)


def _origin(results: Mapping[str, Any], lines: Sequence[Line]) -> str:
    versions = results["versions"]
    named = ", ".join(f"{name} {versions[name]}" for name in sorted(versions))
    commits = ", ".join(dict.fromkeys(str(line["commit"]) for line in lines))
    hours = sum(line["seconds"] for line in lines) / 3600
    return f"Measured until {results['measured']} at {commits}, in {hours:.1f} hours; {named}.\n"


def _library(library: str, lines: Sequence[Line], num_existing: int) -> str:
    mine = [line for line in lines if line["library"] == library]
    families: Mapping[str, list[Line]] = defaultdict(list)
    for line in mine:
        families[line["family"]].append(line)
    untried = num_existing - len(mine)
    rest = f" **{untried} have not been tried yet.**" if untried > 0 else ""
    head = f"## {_TITLES[library]}\n\n{num_existing} networks, {len(mine)} tried, {_shares(mine)}.{rest}\n\n"
    if library == "timm":
        head += "\n".join(f"- {_kind(kind, mine)}" for kind in KINDS) + "\n\n"
    table = ["| family | networks | reduced | pass | by name | fail | skipped | sites | shortcuts | roles |"]
    table += ["|---|--:|--:|--:|--:|--:|--:|--:|--:|---|"]
    table += [_row(name, families[name]) for name in sorted(families)]
    return head + "\n".join(table) + "\n" if mine else head


def _shares(lines: Sequence[Line]) -> str:
    ran = [line for line in lines if not _skipped(line)]
    passed = [line for line in ran if not _failed(line)]
    share = f" ({100 * len(passed) / len(ran):.1f}% of those that run)" if ran else ""
    return f"{len(ran)} run, {len(passed)} pass{share}"


def _kind(kind: str, lines: Sequence[Line]) -> str:
    mine = [line for line in lines if "sites" in line and _kind_of(line) == kind]
    roles = sum(bool(line["roles"]) for line in mine)
    return f"{kind}: {_shares(mine)}; {sum(line['by_name'] for line in mine)} by name, {roles} with roles"


def _kind_of(line: Line) -> str:
    convolutional, attending, others = KINDS
    if line["attentions"]:
        return attending
    return convolutional if line["batch_norms"] else others


def _row(name: str, lines: Sequence[Line]) -> str:
    ran = [line for line in lines if not _skipped(line) and "sites" in line]
    cells = [
        name,
        len(lines),
        sum(bool(line["reduced"]) for line in ran),
        sum(not _failed(line) for line in ran),
        sum(bool(line["by_name"]) for line in ran),
        sum(bool(_failed(line)) for line in lines),
        sum(bool(_skipped(line)) for line in lines),
        _span(line["sites"] for line in ran),
        _span(line["shortcuts"] for line in ran),
        ", ".join(dict.fromkeys(role for line in ran for role in line["roles"])) or "-",
    ]
    return f"| {' | '.join(map(str, cells))} |"


def _span(values: Iterable[int]) -> str:
    every = list(values)
    if not every:
        return "-"
    return str(every[0]) if min(every) == max(every) else f"{min(every)}-{max(every)}"


def _failed(line: Line) -> str:
    return "; ".join(line.get("failures", ()))


def _skipped(line: Line) -> str:
    return str(line.get("skipped", ""))


def _reasons(title: str, lines: Sequence[Line], reason: Callable[[Line], str]) -> str:
    rows = [f"- `{line['name']}` ({line['library']}): {reason(line)}" for line in lines if reason(line)]
    return f"## {title}\n\n{len(rows)} networks.\n\n" + "\n".join(rows) + "\n" if rows else ""
