"""What every Transformer must stand: applied, run, copied and given back."""

import copy
import pickle

import torch
from torch import nn

from autodropout.applied import Applied
from autodropout.applying import apply, space_for
from autodropout.families import find_sites
from autodropout.pattern import TokenPattern
from autodropout.policy import ROLES, Policy

BLOCKS = TokenPattern(size=2, stride=1, rate=0.4)


def on_roles(*roles: str) -> Policy:
    return Policy({f"role:{role}": BLOCKS for role in roles})


def roles_of(model: nn.Module) -> set[str]:
    return {site.role for site in find_sites(model) if site.role}


def run(model: nn.Module, inputs: tuple) -> torch.Tensor:
    torch.manual_seed(7)
    output = model(*inputs)
    return output[0] if isinstance(output, tuple) else output


def look(model: nn.Module):
    """Everything about a model that remove() must give back, its weights excepted."""
    return (
        repr(model),
        list(model.state_dict()),
        [(type(m), sorted(vars(m)), list(m._modules), len(m._forward_hooks)) for m in model.modules()],
    )


def randomise(model: nn.Module) -> nn.Module:
    """Give weights that begin as constants a part in the result."""
    generator = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn(parameter.shape, generator=generator), alpha=0.05)
    return model


def assert_close(result: torch.Tensor, expected: torch.Tensor) -> None:
    torch.testing.assert_close(result, expected, rtol=1e-5, atol=1e-5)


def assert_stands(model: nn.Module, *inputs: torch.Tensor, roles: tuple[str, ...] = ROLES) -> None:
    """Try a model without dropout of its own; roles: those it must have."""
    assert roles_of(model) == set(roles)
    before, evaluated, trained = look(model), run(model.eval(), inputs), run(model.train(), inputs)
    keys = list(model.state_dict())
    if all(site.role for site in find_sites(model)):  # feature maps beside them would make it a ConvSpace
        assert list(space_for(model, inputs).sites) == [role for role in ROLES if role in roles]
        assert look(model) == before

    applied = apply(model, on_roles(*roles))
    assert list(model.state_dict()) == keys
    assert torch.equal(run(model.eval(), inputs), evaluated)
    dropped = run(model.train(), inputs)
    assert not torch.allclose(dropped, trained)
    assert applied.silent_sites() == ()
    dropped.square().sum().backward()
    assert all(p.grad is None or p.grad.isfinite().all() for p in model.parameters())
    with applied.disabled():
        assert_close(run(model, inputs), trained)
    for twin in (copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
        assert torch.equal(run(twin, inputs), dropped)
        Applied.of(twin).remove()
        assert look(twin) == before
        assert torch.equal(run(twin, inputs), trained)
    applied.remove()
    assert look(model) == before
    assert torch.equal(run(model, inputs), trained)
    assert torch.equal(run(model.eval(), inputs), evaluated)


def assert_each_site_acts(model: nn.Module, *inputs: torch.Tensor) -> None:
    """Each site by itself must change training, and its pattern alone must fire."""
    trained = run(model.train(), inputs)
    for site in filter(lambda site: site.role, find_sites(model)):
        with apply(model, Policy({site.name: TokenPattern(size=1, stride=0, rate=0.5)})) as applied:
            assert not torch.allclose(run(model, inputs), trained), site.name
            assert applied.silent_sites() == ()
            with applied.disabled():
                assert_close(run(model, inputs), trained)


def assert_compiles(model: nn.Module, *inputs: torch.Tensor) -> None:
    """One graph, and the masks of uncompiled code; what turns graphs into kernels is not tried here."""
    with apply(model.train(), on_roles(*roles_of(model)), seed=5):
        compiled = torch.compile(model, fullgraph=True, backend="eager")
        assert_close(run(compiled, inputs), run(model, inputs))
        assert_close(run(compiled.eval(), inputs), run(model.eval(), inputs))
    torch.compiler.reset()
