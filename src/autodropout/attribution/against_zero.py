"""Contributions against zeros, computed by captum: integrated gradients and DeepLIFT.

Integrated gradients (Sundararajan et al. 2017, Eq. 1), from zeros at the site to what it puts out:

    R = h * integral from 0 to 1 of df/dh (a h) da

They sum to f(h) - f(0), what the target's logit would lose if every unit of the site were dropped, also
beside a shortcut: what flows past the site stays as it is.

DeepLIFT (Shrikumar et al. 2017, Rescale rule) compares with inputs of zeros, and shares a residual sum by
what each branch contributes. captum hooks modules, so an activation that is a function escapes it, and one
that runs twice, as in torchvision's residual blocks, confuses it: the first shows in contributions that do
not sum to the change of the output, both are refused.
"""

import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils import _pytree as pytree

from autodropout.attach import named_module
from autodropout.attribution.running import chosen, logits_of
from autodropout.errors import MissingError, ShapeError, UsageError

STEPS = 16
"""Points of the Gauss-Legendre rule along the way of the integral."""

_TOLERANCE = 0.02
_REMEDY = 'use method="gradient", "integrated_gradients" or, where it knows all functions, "lrp"'


class Arguments:
    """What a model is called with, its tensors apart: captum repeats these along the batch.

    Args:
        inputs: A tensor, a tuple of arguments, or a dict of keyword arguments.
        num_examples: Of the batch.

    Raises:
        ShapeError: A tensor does not have the batch along axis 0.
    """

    def __init__(self, inputs: object, num_examples: int) -> None:
        self._is_dict = isinstance(inputs, dict)
        whole = inputs if isinstance(inputs, tuple | dict) else (inputs,)
        self._leaves, self._spec = pytree.tree_flatten(whole)
        self._places = [place for place, leaf in enumerate(self._leaves) if isinstance(leaf, Tensor)]
        for tensor in self.tensors:
            if tensor.ndim < 1 or len(tensor) != num_examples:
                raise ShapeError(
                    f"the model is called with a tensor of shape {tuple(tensor.shape)} and targets for "
                    f"{num_examples} examples; this method needs these along axis 0 of every tensor"
                )

    @property
    def tensors(self) -> tuple[Tensor, ...]:
        """The tensors, in a fixed order."""
        return tuple(self._leaves[place].detach() for place in self._places)

    def call(self, model: nn.Module, tensors: Sequence[Tensor]) -> Any:
        """Call the model with other tensors in these places."""
        leaves = list(self._leaves)
        for place, tensor in zip(self._places, tensors, strict=True):
            leaves[place] = tensor
        whole = pytree.tree_unflatten(leaves, self._spec)
        return model(**whole) if self._is_dict else model(*whole)


def integrated_gradients(
    model: nn.Module, inputs: object, targets: Tensor, outputs: Mapping[str, Tensor]
) -> dict[str, Tensor]:
    """Return the integrated gradients of each site, one site after the other, ``STEPS`` passes each.

    Args:
        model: In evaluation mode.
        inputs: What it is called with.
        targets: The classes of interest.
        outputs: Site to what it puts out for these inputs.

    Raises:
        MissingError: captum is not installed.
        ShapeError: The batch does not stand along axis 0.
    """
    attr = _captum()
    arguments = Arguments(inputs, len(targets))
    found = {}
    for name, h in outputs.items():
        if len(h) != len(targets):
            raise ShapeError(
                f'site "{name}" has an output of shape {tuple(h.shape)} and targets for {len(targets)} '
                "examples; this method needs these along axis 0"
            )

        def scores(state: Tensor, classes: Tensor, *tensors: Tensor, name: str = name) -> Tensor:
            with _replaced(named_module(model, name), state):
                return _score(arguments.call(model, tensors), classes)

        with _quiet():
            found[name] = attr.IntegratedGradients(scores).attribute(
                h.detach(),
                baselines=0.0,
                additional_forward_args=(targets, *arguments.tensors),
                n_steps=STEPS,
                internal_batch_size=len(h),
            )
    return {name: r.detach() for name, r in found.items()}


def deeplift(model: nn.Module, inputs: object, targets: Tensor, sites: Sequence[str]) -> dict[str, Tensor]:
    """Return DeepLIFT's contributions of each site, against inputs of zeros.

    Args:
        model: In evaluation mode.
        inputs: What it is called with; the tensors of float dtype are compared with zeros.
        targets: The classes of interest.
        sites: Names of modules.

    Raises:
        MissingError: captum is not installed.
        ShapeError: The batch does not stand along axis 0.
        UsageError: captum cannot do it rightly for this network, or no input is of float dtype.
    """
    attr = _captum()
    arguments = Arguments(inputs, len(targets))
    network = _Scored(model, arguments)
    given, others = network.split(arguments.tensors)
    if not given:
        raise UsageError(f"DeepLIFT compares with inputs of zeros, and no input is of float dtype; {_REMEDY}")
    named: dict[str, Any] = {
        "inputs": given,
        "baselines": tuple(torch.zeros_like(tensor) for tensor in given),
        "additional_forward_args": (targets, *others),
    }
    found = {}
    with _quiet(), _out_of_place(model):
        _refuse_modules_that_run_twice(model, network, (*given, targets, *others))
        _, delta = attr.DeepLift(network).attribute(**named, return_convergence_delta=True)
        with torch.no_grad():
            change = network(*given, targets, *others) - network(*named["baselines"], targets, *others)
        _check_sum(delta.abs().mean().item(), change.abs().mean().item())
        for name in sites:
            r = attr.LayerDeepLift(network, named_module(model, name)).attribute(**named)
            found[name] = (r[0] if isinstance(r, tuple) else r).detach()
    return found


class _Scored(nn.Module):
    """A model that returns one number for each example: called with float tensors, classes, other tensors."""

    def __init__(self, model: nn.Module, arguments: Arguments) -> None:
        super().__init__()
        self.model, self._arguments = model, arguments
        self._is_float = [tensor.is_floating_point() for tensor in arguments.tensors]
        self.training = False

    def split(self, tensors: Sequence[Tensor]) -> tuple[tuple[Tensor, ...], tuple[Tensor, ...]]:
        """Return the tensors of float dtype, and the others."""
        pairs = list(zip(tensors, self._is_float, strict=True))
        return tuple(t for t, is_float in pairs if is_float), tuple(
            t for t, is_float in pairs if not is_float
        )

    def forward(self, *parts: Tensor) -> Tensor:
        num_floats = sum(self._is_float)
        floats, classes, others = iter(parts[:num_floats]), parts[num_floats], iter(parts[num_floats + 1 :])
        tensors = [next(floats) if is_float else next(others) for is_float in self._is_float]
        return _score(self._arguments.call(self.model, tensors), classes)


def _score(output: object, classes: Tensor) -> Tensor:
    logits = chosen(logits_of(output), classes)
    return logits.flatten(1).sum(1) if logits.ndim > 1 else logits


@contextmanager
def _replaced(module: nn.Module, state: Tensor) -> Iterator[None]:
    """Let a module put out this state."""

    def replace(_: nn.Module, __: object, output: Any) -> Any:
        return (state.clone(), *output[1:]) if isinstance(output, tuple) else state.clone()

    handle = module.register_forward_hook(replace)
    try:
        yield
    finally:
        handle.remove()


@contextmanager
def _out_of_place(model: nn.Module) -> Iterator[None]:
    """Let no activation change its input in place, which captum's hooks do not bear; clear up behind them."""
    attributes = [(module, set(module.__dict__)) for module in model.modules()]
    changed = [module for module in model.modules() if getattr(module, "inplace", None) is True]
    for module in changed:
        module.inplace = False  # type: ignore[assignment]
    try:
        yield
    finally:
        for module in changed:
            module.inplace = True  # type: ignore[assignment]
        for module, before in attributes:
            for left in set(module.__dict__) - before:  # captum leaves the hooked modules their last tensors
                del module.__dict__[left]


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep back what captum says about its own hooks."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        yield


def _refuse_modules_that_run_twice(model: nn.Module, network: nn.Module, parts: Sequence[Tensor]) -> None:
    from captum.attr._core.deep_lift import SUPPORTED_NON_LINEAR

    calls: dict[str, int] = {}
    with ExitStack() as stack, torch.no_grad():
        for name, module in model.named_modules():
            if type(module) in SUPPORTED_NON_LINEAR:

                def count(*_: object, name: str = name) -> None:
                    calls[name] = calls.get(name, 0) + 1

                stack.callback(module.register_forward_hook(count).remove)
        network(*parts)
    if often := [name for name, number in calls.items() if number > 1]:
        raise UsageError(
            f'the module "{often[0]}" runs {calls[often[0]]} times in a forward pass, where DeepLIFT by '
            f"captum goes wrong; {_REMEDY}"
        )


def _check_sum(missing: float, change: float) -> None:
    if missing > _TOLERANCE * change + 1e-9:
        raise UsageError(
            f"DeepLIFT's contributions miss the change of the output by {missing / max(change, 1e-12):.0%}: "
            "an activation that is called as a function, or of a kind that captum has no rule for, escapes "
            f"it; {_REMEDY}, or make every activation a module of its own"
        )


def _captum() -> Any:
    try:
        import captum.attr
    except ImportError as error:
        raise MissingError(
            "integrated gradients and DeepLIFT need captum, which is not installed; install it with: "
            "pip install 'autodropout[adaptive]'"
        ) from error
    return captum.attr
