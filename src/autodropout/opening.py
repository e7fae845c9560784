"""Make places of a model reachable that no module stands on, and undo it."""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.hooks import RemovableHandle

from autodropout.attach import CHILD, named_module
from autodropout.errors import ApplyError
from autodropout.site import Closing, Opening

SHORTCUT = f"{CHILD}_shortcut"
"""Reserved name of the module that stands on a block's identity shortcut while it is open."""


def open_places(model: nn.Module, openings: Iterable[Opening]) -> Sequence[Closing]:
    """Open every distinct place once, in order.

    Args:
        model: The model.
        openings: What to do; equal ones run once.

    Returns:
        One closing per opening, in the order of opening; close them in reverse. After an error the model
        is as it was.

    Raises:
        SiteError: The model has no module of that name.
        ApplyError: A place cannot be opened.
    """
    closings: list[Closing] = []
    with ExitStack() as undo:
        for opening in dict.fromkeys(openings):
            closing = _open(model, opening)
            undo.callback(closing.close)
            closings.append(closing)
        undo.pop_all()
    return closings


def _open(model: nn.Module, opening: Opening) -> Closing:
    module = named_module(model, opening.place)
    try:
        return opening.open(module)
    except ApplyError as error:
        raise ApplyError(f'"{opening.place}" cannot be opened: {error}') from error


@contextmanager
def opened(model: nn.Module, openings: Iterable[Opening]) -> Iterator[None]:
    """Keep places open inside a ``with`` block."""
    closings = open_places(model, openings)
    try:
        yield
    finally:
        for closing in reversed(closings):
            closing.close()


@dataclass(frozen=True, slots=True)
class IdentityAt:
    """Opens an attribute that is None and that the forward pass tests: an ``nn.Identity`` goes there.

    Attributes:
        attribute: Its name, such as ``"downsample"`` of a ResNet's block.
    """

    attribute: str

    def __call__(self, module: nn.Module) -> Closing:
        """Put the identity there, in the module's own mode."""
        setattr(module, self.attribute, nn.Identity().train(module.training))
        return _NoneAgain(module, self.attribute)


@dataclass(slots=True)
class _NoneAgain:
    module: nn.Module
    attribute: str

    def close(self) -> None:
        if self.module._modules.pop(self.attribute, None) is not None:
            setattr(self.module, self.attribute, None)


def sum_shortcut(module: nn.Module) -> Closing:
    """Open the identity shortcut of a block that is exactly f(x) + x, or of a module f of which that is made.

    Its place is the child ``SHORTCUT``. In training the block returns out + (place(x) - x), which is
    f(x) + place(x) within rounding, and exactly out where the place returns x itself. In evaluation
    nothing changes. Where f(x) has more channels than x, x is part of the first of them.
    """
    module.add_module(SHORTCUT, nn.Identity().train(module.training))
    return HookedChild(module, SHORTCUT, module.register_forward_hook(_replace_summand))


def _replace_summand(module: nn.Module, args: tuple[Tensor, ...], output: Tensor) -> Tensor:
    """Forward hook: top-level, so that a model that bears it can be pickled."""
    place = module.get_submodule(SHORTCUT)
    if not place.training:
        return output
    dropped = place(args[0])
    if dropped is args[0]:
        return output
    change, num_more = dropped - args[0], output.shape[1] - args[0].shape[1]
    return output + (F.pad(change, (0, 0, 0, 0, 0, num_more)) if num_more else change)


@dataclass(slots=True)
class HookedChild:
    """Takes a hook and the child that it calls away again.

    Attributes:
        module: Whose they are.
        child: Name of the child.
        handle: The hook's.
    """

    module: nn.Module
    child: str
    handle: RemovableHandle

    def close(self) -> None:
        """Take both away. May be called twice."""
        self.handle.remove()
        self.module._modules.pop(self.child, None)


def swap_class(module: nn.Module, subclass: type[nn.Module], places: Sequence[str]) -> Closing:
    """Let a module be of a subclass whose training forward passes through places of its own.

    Args:
        module: Its class is exchanged in place.
        subclass: A top-level subclass of the module's class. Its forward in evaluation is that of the
            parent; in training it calls ``self._autodropout_<place>`` where something may be dropped.
        places: Names of these places; an ``nn.Identity`` is put on each.
    """
    before = module.__class__
    for place in places:
        module.add_module(f"{CHILD}_{place}", nn.Identity().train(module.training))
    module.__class__ = subclass
    return _ClassAgain(module, before, tuple(places))


@dataclass(slots=True)
class _ClassAgain:
    module: nn.Module
    before: type[nn.Module]
    places: tuple[str, ...]

    def close(self) -> None:
        self.module.__class__ = self.before
        for place in self.places:
            self.module._modules.pop(f"{CHILD}_{place}", None)
