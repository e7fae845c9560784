"""What comes out of a model's modules: run it once on an example and look."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from autodropout.errors import UsageError
from autodropout.opening import opened
from autodropout.site import Site


def output_shapes(
    model: nn.Module, names: Sequence[str], example_input: object
) -> Mapping[str, tuple[int, ...]]:
    """Run the model once and return the shapes of the named modules' outputs.

    It runs in evaluation mode and without gradients, so nothing in it changes.

    Args:
        model: The model.
        names: Dotted names of modules.
        example_input: A tensor, a tuple of arguments, or a dict of keyword arguments.

    Returns:
        Name to shape; modules that did not run, or returned no tensor, are missing.

    Raises:
        UsageError: The model does not take the example.
    """
    shapes: dict[str, tuple[int, ...]] = {}

    def watch(name: str) -> RemovableHandle:
        def note(_module: nn.Module, _args: object, output: object) -> None:
            if isinstance(output, Tensor):
                shapes[name] = tuple(output.shape)

        return model.get_submodule(name).register_forward_hook(note)

    handles = [watch(name) for name in names]
    try:
        with _evaluating(model), torch.no_grad():
            _try(model, example_input)
    finally:
        for handle in handles:
            handle.remove()
    return shapes


def site_shapes(
    model: nn.Module, sites: Sequence[Site], example_input: object
) -> Mapping[str, tuple[int, ...]]:
    """Run the model once, with the sites' places open, and return the shapes at the sites.

    Args:
        model: The model; it is as it was afterwards.
        sites: Sites of it.
        example_input: A tensor, a tuple of arguments, or a dict of keyword arguments.

    Returns:
        Name of the site to shape; sites that evaluation does not reach are missing.

    Raises:
        UsageError: The model does not take the example.
    """
    with opened(model, [opening for site in sites for opening in site.openings]):
        shapes = output_shapes(model, sorted({site.module_name for site in sites}), example_input)
    return {
        site.name: _within_channels(site, shapes[site.module_name])
        for site in sites
        if site.module_name in shapes
    }


def _within_channels(site: Site, shape: tuple[int, ...]) -> tuple[int, ...]:
    if site.channels is None:
        return shape
    start, stop = site.channels
    return (*shape[:-1], stop - start)


def map_size(site: Site, shape: Sequence[int] | None) -> tuple[int, int] | None:
    """Return (height, width) of a site's map; None where the site has no map or the shape is unknown."""
    if shape is None or len(shape) != 4:
        return None
    match site.layout:
        case "NCHW":
            return shape[2], shape[3]
        case "NHWC":
            return shape[1], shape[2]
        case _:
            return None


def call(model: nn.Module, inputs: object) -> object:
    """Call a model on a tensor, a tuple of arguments, or a dict of keyword arguments."""
    if isinstance(inputs, dict):
        return model(**inputs)
    return model(*(inputs if isinstance(inputs, tuple) else (inputs,)))


def _try(model: nn.Module, example_input: object) -> None:
    try:
        call(model, example_input)
    except Exception as error:
        raise UsageError(f"the model cannot be run on example_input: {error}") from error


@contextmanager
def _evaluating(model: nn.Module) -> Iterator[None]:
    before = [(module, module.training) for module in model.modules()]
    model.eval()
    try:
        yield
    finally:
        for module, training in before:
            module.training = training
