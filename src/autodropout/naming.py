"""Modules that the user means by names and globs."""

from collections.abc import Callable, Iterable, Sequence

from torch import nn

from autodropout.attach import CONTAINERS, container_text, named_module
from autodropout.choosing import glob_matches
from autodropout.errors import SiteError, UsageError

Refusal = Callable[[nn.Module], str | None]
"""Says why a module will not do; None if it will."""


def meant(model: nn.Module, names: str | Sequence[str], refusal: Refusal) -> tuple[str, ...]:
    """Return the names of the modules that are meant, each once.

    Args:
        model: The model.
        names: A name or glob, or several; the ``*`` of a glob stops at dots and passes over what is refused.
        refusal: What will not do.

    Raises:
        SiteError: There is no such module, or it is refused, or a glob matches none that will do.
        UsageError: There are no names.
    """
    keys = [names] if isinstance(names, str) else list(names) if isinstance(names, Iterable) else []
    if not keys or not all(isinstance(key, str) for key in keys):
        raise UsageError(f"names is {names!r}; expected at least one name of a module")
    return tuple(dict.fromkeys(name for key in keys for name in _meant(model, key, refusal)))


def _meant(model: nn.Module, key: str, refusal: Refusal) -> list[str]:
    if "*" not in key:
        module = named_module(model, key)
        if isinstance(module, CONTAINERS):
            raise SiteError(container_text(model, key))
        if (text := refusal(module)) is not None:
            raise SiteError(f'"{key}": {text}')
        return [key]
    matching = [(name, module) for name, module in model.named_modules() if glob_matches(key, name)]
    found = [name for name, module in matching if refusal(module) is None]
    if not found:
        texts = [text for _, module in matching if (text := refusal(module)) is not None]
        why = texts[0] if texts else "its * stops at dots"
        raise SiteError(f"the glob {key!r} matches no module that will do; {why}")
    return found
