"""Put a mixin in front of a module's class: ``swap_class`` for classes that are known only at run time.

A subclass by somebody else keeps what it overrides, and no library need be imported to open its modules.
"""

from functools import cache
from typing import Any, SupportsIndex

from torch import nn

from autodropout.opening import swap_class
from autodropout.site import Closing


class Mixin(nn.Module):
    """What is put in front: it calls ``super().forward``, and its evaluation is nothing but that."""

    def __reduce_ex__(self, protocol: SupportsIndex) -> Any:
        """Pickle and copy by mixin and class, as the class made of both has no name to be found by."""
        reduced = super().__reduce_ex__(protocol)
        return (_blank, type(self).__bases__, *reduced[2:])


class InPlaceOf:
    """What a module's own forward may see in place of it: the module, but for what a subclass defines.

    Args:
        module: The module.
    """

    def __init__(self, module: Any) -> None:
        self._module = module

    def __getattr__(self, name: str) -> Any:
        return getattr(self._module, name)


def mix(module: nn.Module, mixin: type[Mixin], *places: str) -> Closing:
    """Exchange a module's class for one with a mixin in front of it.

    Args:
        module: Its class is exchanged in place.
        mixin: May call ``self._autodropout_<place>`` in its training forward.
        places: Names of these places; an ``nn.Identity`` is put on each.
    """
    return swap_class(module, _mixed((mixin, type(module))), places)


def class_of(module: nn.Module) -> type[nn.Module]:
    """Return a module's class, as it was before any mixin."""
    cls = type(module)
    return cls.__bases__[1] if issubclass(cls, Mixin) else cls


@cache
def _mixed(bases: tuple[type[Mixin], type[nn.Module]]) -> type[nn.Module]:
    _, cls = bases
    return type(f"Opened{cls.__name__}", bases, {"__module__": cls.__module__, "__doc__": cls.__doc__})


def _blank(*bases: Any) -> nn.Module:
    mixed = _mixed(bases)
    return mixed.__new__(mixed)
