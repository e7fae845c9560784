"""Put a module behind a named place of a model, and take it away again."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from autodropout.errors import ApplyError, ShapeError, SiteError
from autodropout.suggesting import suggested

CHILD = "_autodropout"
"""Reserved name of the child module that a site receives."""

RATES = f"{CHILD}_rates"
"""Reserved name of the child with rates of its own that may stand behind it."""

CONTAINERS = (nn.Sequential, nn.ModuleList, nn.ModuleDict)


@dataclass(frozen=True, slots=True)
class Attachment:
    """What ``attach`` did; a deep copy or pickle of the whole model carries it along.

    Attributes:
        module: What the child was put on.
        child: The child.
        handle: The hook that calls it.
        name: The child's name.
        place: Dotted name that the module had in the model; None where nobody looks whether it still has.
    """

    module: nn.Module
    child: nn.Module
    handle: RemovableHandle
    name: str = CHILD
    place: str | None = None

    def close(self) -> None:
        """Take hook and child away; nothing of them remains. May be called twice."""
        self.handle.remove()
        self.module._modules.pop(self.name, None)


class OnChannels(nn.Module):
    """Lets a module act on the channels [start, stop) of its input's last axis; the rest passes.

    Args:
        inner: The module.
        channels: (start, stop).
        site: For errors.
    """

    def __init__(self, inner: nn.Module, channels: tuple[int, int], site: str) -> None:
        super().__init__()
        self.inner = inner
        self.channels = channels
        self.site = site

    def forward(self, h: Tensor) -> Tensor:
        """Map (..., C) to the same shape.

        Raises:
            ShapeError: There are fewer than ``stop`` channels.
        """
        start, stop = self.channels
        if h.shape[-1] < stop:
            raise ShapeError(
                f'site "{self.site}" is the channels {start} to {stop} of a hidden state of shape '
                f"{tuple(h.shape)}, which has fewer"
            )
        before, own, after = h[..., :start], h[..., start:stop], h[..., stop:]
        return torch.cat([before, self.inner(own), after], dim=-1)


def attach(model: nn.Module, site: str, children: Sequence[nn.Module], name: str = CHILD) -> Attachment:
    """Let modules act on a site's output while the site is in training mode.

    They become a child of the site's module, so that they follow its device, its training flag, copies
    and pickles; one forward hook calls them. In evaluation the output is left as it is.

    Args:
        model: The model.
        site: Dotted name of a module in it.
        children: Modules without parameters and persistent buffers, applied in this order; at least one.
        name: ``CHILD``, or ``RATES`` for what may stand on the same place.

    Raises:
        SiteError: There is no such module, or it is a container, which would run the child as a layer.
        ApplyError: The module already has such a child.
    """
    module = named_module(model, site)
    if isinstance(module, CONTAINERS):
        raise SiteError(container_text(model, site))
    if name in module._modules:
        what = "a pattern" if name == CHILD else "adaptive dropout"
        raise ApplyError(f'site "{site}" already has {what}; remove() what was applied before')
    child = children[0] if len(children) == 1 else nn.Sequential(*children)
    module.add_module(name, child.train(module.training))
    return Attachment(module, child, module.register_forward_hook(_HOOKS[name]), name, site)


def with_rates(module: nn.Module, output: object) -> object:
    """Call the child with rates of its own on a module's output, or on a recurrent layer's of all steps."""
    child = module.get_submodule(RATES)
    return (child(output[0]), *output[1:]) if isinstance(output, tuple) else child(output)


def named_module(model: nn.Module, name: str) -> nn.Module:
    """Return a module by its dotted name.

    Raises:
        SiteError: There is none.
    """
    module = found_module(model, name)
    if module is None:
        names = [known for known, _ in model.named_modules() if known]
        remedy = "this has no globs: name each module" if "*" in name else "print(model) shows its modules"
        raise SiteError(f'the model has no module "{name}"; {suggested(str(name), names, remedy)}')
    return module


def found_module(model: nn.Module, name: str) -> nn.Module | None:
    """Return a module by its dotted name, None if there is none."""
    try:
        return model.get_submodule(name)
    except AttributeError:
        return None


def _call_child(module: nn.Module, _: object, output: object) -> object:
    """Forward hook: top-level, so that a model that bears it can be pickled."""
    return module.get_submodule(CHILD)(output) if module.training else output


def _call_rates(module: nn.Module, _: object, output: object) -> object:
    return with_rates(module, output) if module.training else output


_HOOKS = {CHILD: _call_child, RATES: _call_rates}


def container_text(model: nn.Module, site: str) -> str:
    """Say that a site is a container, and which module inside to name instead."""
    container = named_module(model, site)
    last = _last_layer(container)
    inside = f"{site}.{last}" if site else last
    if last is None:
        instead = "it is empty"
    elif isinstance(container, nn.Sequential):
        instead = f'name the module inside whose output it is, "{inside}"'
    else:
        instead = f'name a module inside, such as "{inside}"'
    return f'site "{site}" is a {type(container).__name__}, which would run a pattern as a layer; {instead}'


def _last_layer(container: nn.Module) -> str | None:
    """Return the name of the last module that is no container itself; None if there is none."""
    for name, child in reversed(list(container.named_children())):
        if not isinstance(child, CONTAINERS):
            return name
        if (inner := _last_layer(child)) is not None:
            return f"{name}.{inner}"
    return None
