"""One model under the strictest policy that fits it, from apply to remove."""

import copy
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from autodropout.applied import Applied
from autodropout.applying import apply
from autodropout.choosing import Layouts, all_sites
from autodropout.existing import own_dropout, silence
from autodropout.pattern import ConvPattern, Pattern, TokenPattern
from autodropout.policy import Policy
from autodropout.site import Layout, Site

Inputs = Tensor | Mapping[str, Tensor]
"""What a model is called with: one tensor, or keyword arguments."""

TOKENS = TokenPattern(size=1, stride=1, rate=0.2)
MAPS = ConvPattern(height=1, width=1, stride=1, repeat="fill")
MAPS_AND_SHORTCUT = ConvPattern(height=1, width=1, stride=1, repeat="fill", residual=True)

_ATTENTION = re.compile("Attention|Attn")


@dataclass(frozen=True, slots=True, kw_only=True)
class Checked:
    """What was found about one model.

    Attributes:
        sites: Number of sites.
        by_name: No site is known, so its convolutions were named with ``layouts``.
        shortcuts: Number of blocks whose shortcut can be reached.
        roles: Roles of a Transformer that it has.
        own: Number of places where it drops by itself.
        batch_norms: Number of its batch normalisations of feature maps.
        attentions: Number of its modules that have an attention for a name.
        failures: What did not hold, in words; empty if everything did.
        eval_difference: Largest difference in evaluation between the model and the model with a policy.
    """

    sites: int
    by_name: bool
    shortcuts: int
    roles: tuple[str, ...]
    own: int
    batch_norms: int
    attentions: int
    failures: tuple[str, ...]
    eval_difference: float


def policy_for(sites: Sequence[Site]) -> Policy:
    """Return a policy with a pattern at every site, and on every shortcut that can be reached."""
    return Policy({site.name: _pattern(site) for site in sites})


def check(model: nn.Module, inputs: Inputs) -> Checked:
    """Apply a policy to every site of a model, look, and remove it.

    Args:
        model: Any network whose output is one tensor, or several of which the first counts.
        inputs: A batch that it takes, of at least two.

    Returns:
        What was found. Each of these is a failure if it does not hold: a policy changes neither state_dict
        nor evaluation; every site fires in training; training gives other, finite outputs; every parameter
        that gets a gradient without the policy gets a finite one with it; after ``remove`` names of
        state_dict, repr, attributes and hooks, outputs in training and in evaluation are as before.
    """
    known = all_sites(model, None)
    layouts = None if known else _convolutions(model)
    sites = known or all_sites(model, layouts)
    failures: list[str] = []
    return Checked(
        sites=len(sites),
        by_name=not known,
        shortcuts=len({site.shortcut for site in sites if site.shortcut}),
        roles=tuple(dict.fromkeys(site.role for site in sites if site.role)),
        own=len(own_dropout(model)),
        batch_norms=sum(isinstance(module, nn.BatchNorm2d) for module in model.modules()),
        attentions=sum(bool(_ATTENTION.search(type(module).__name__)) for module in model.modules()),
        eval_difference=_look(model, inputs, layouts, failures),
        failures=tuple(failures),
    )


def _convolutions(model: nn.Module) -> dict[str, Layout]:
    return {name: "NCHW" for name, module in model.named_modules() if name and isinstance(module, nn.Conv2d)}


def _look(model: nn.Module, inputs: Inputs, layouts: Layouts | None, failures: list[str]) -> float:
    """Note down what does not hold; return the largest difference in evaluation."""
    expect = _collector(failures)
    policy = policy_for(all_sites(model, layouts))
    state = copy.deepcopy(model.state_dict())  # with its metadata, which some networks need to load it
    looks = _looks(model)
    evaluated = _evaluate(model, inputs)
    silenced = silence(model)
    trained, with_gradient = _train(model, inputs)
    silenced.close()
    model.load_state_dict(state)
    applied = apply(model, policy, existing="off", layouts=layouts)
    expect(list(model.state_dict()) == list(state), "the names of state_dict change")
    difference = (_evaluate(model, inputs) - evaluated).abs().max().item()
    expect(difference == 0.0, f"evaluation differs by {difference:.1e}")
    dropped, kept_gradient = _train(model, inputs)
    expect(not torch.equal(dropped, trained), "training gives the same output")
    expect(bool(dropped.isfinite().all()), "the output in training is not finite")
    silent = applied.silent_sites()
    expect(not silent, f"{len(silent)} sites never fire: {', '.join(silent[:3])}")
    lost = sorted(with_gradient - kept_gradient)
    expect(not lost, f"{len(lost)} parameters lose their gradient: {', '.join(lost[:3])}")
    applied.remove()
    model.load_state_dict(state)
    expect(_looks(model) == looks, "repr, attributes or hooks are not as before")
    expect(Applied.of(model) is None, "the handle is still there")
    silenced = silence(model)
    expect(torch.equal(_forward(model, inputs), trained), "training is not as before")
    silenced.close()
    model.load_state_dict(state)
    expect(torch.equal(_evaluate(model, inputs), evaluated), "evaluation is not as before")
    return difference


def _pattern(site: Site) -> Pattern:
    if site.layout in ("NTC", "TNC"):
        return TOKENS
    return MAPS if site.shortcut is None else MAPS_AND_SHORTCUT


def _collector(failures: list[str]) -> Callable[[bool, str], None]:
    def expect(holds: bool, otherwise: str) -> None:
        if not holds:
            failures.append(otherwise)

    return expect


def _looks(model: nn.Module) -> tuple[object, ...]:
    """Return all that a person or program can see of a model's modules, without its tensors."""
    return (
        repr(model),
        list(model.state_dict()),
        [(type(module), sorted(vars(module)), list(module._modules)) for module in model.modules()],
        [(len(module._forward_hooks), len(module._forward_pre_hooks)) for module in model.modules()],
    )


def _evaluate(model: nn.Module, inputs: Inputs) -> Tensor:
    model.eval()
    with torch.no_grad():
        return call(model, inputs).clone()


def _forward(model: nn.Module, inputs: Inputs) -> Tensor:
    """Return the output of a training pass."""
    model.train()
    torch.manual_seed(0)
    return call(model, inputs)


def _train(model: nn.Module, inputs: Inputs) -> tuple[Tensor, set[str]]:
    """Return the output of a training pass, and the parameters that got a finite gradient."""
    model.zero_grad(set_to_none=True)
    out = _forward(model, inputs)
    out.float().square().mean().backward()
    reached = {
        name
        for name, parameter in model.named_parameters()
        if parameter.grad is not None and bool(parameter.grad.isfinite().all())
    }
    model.zero_grad(set_to_none=True)
    return out.detach().clone(), reached


def call(model: nn.Module, inputs: Inputs) -> Tensor:
    """Return a model's output, the first tensor of it if there are several."""
    return first_tensor(model(inputs) if isinstance(inputs, Tensor) else model(**inputs))


def first_tensor(output: Any) -> Tensor:
    """Return the first tensor of a network's output."""
    while not isinstance(output, Tensor):
        values: Iterable[object] = output.values() if isinstance(output, dict) else output
        output = next(iter(values))
    return output
