"""A policy onto any model: what may be touched, what would be, and doing it."""

import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack

import torch
from torch import nn
from torch.nn.parallel import DataParallel, DistributedDataParallel

from autodropout.applied import Applied as Applied
from autodropout.applied import Existing
from autodropout.attach import CHILD, Attachment, OnChannels, attach, named_module
from autodropout.augmented.consumer import is_consumer
from autodropout.augmented.layer import AugmentedDropout, unsupported_text
from autodropout.choosing import NO_SITES_REMEDY, Layouts, all_sites
from autodropout.consuming import Taken, put
from autodropout.conv_space import ConvSpace
from autodropout.errors import ApplyError, SiteError, UsageError
from autodropout.existing import silence
from autodropout.layers import LAYOUTS_OF, PatternDropout
from autodropout.matching import Match as Match
from autodropout.matching import Matches as Matches
from autodropout.matching import match as match
from autodropout.matching import sites as sites
from autodropout.noise import check_seed
from autodropout.opening import open_places
from autodropout.pattern import ConvPattern, Pattern, TokenPattern
from autodropout.policy import ROLES, Policy
from autodropout.probing import map_size, site_shapes
from autodropout.site import Layout, Opening, Sequences
from autodropout.token_space import TokenSpace

_COMPILED = "and compiled code ignores new hooks"
_FIRST = "apply the policy first, then compile"


def apply(
    model: nn.Module,
    policy: Policy,
    *,
    existing: Existing = "keep",
    seed: int | None = None,
    layouts: Layouts | None = None,
) -> Applied[PatternDropout]:
    """Let a policy act on a model in training, in place.

    Each site of the policy gets a ``PatternDropout`` that acts on its output while the site is in
    training mode. Parameters, ``state_dict`` and evaluation stay as they are; deep copies, pickles,
    ``torch.compile`` and activation checkpointing keep working. Code that this process compiled before is
    forgotten (``torch.compiler.reset``) and compiled again when it is next called, as it ignores new hooks:
    a compiled wrapper that was made of the model earlier then drops, too.

    Args:
        model: Any module, not yet compiled or wrapped for parallel training.
        policy: What to drop where.
        existing: ``"off"`` sets every rate of the model's own dropout to 0 until ``remove()``: ``nn.Dropout``
            and its kin, DropPath, DropBlock, and float attributes such as ``nn.MultiheadAttention.dropout``
            (``match`` lists them); ``"keep"`` leaves them alone.
        seed: None draws masks from the device's default generator, as ``nn.Dropout`` does. A number
            makes each a pure function of (seed, data-parallel rank, site, step); set ``step`` of what is
            returned before each micro-batch.
        layouts: Further sites: name or glob of modules to the axes of their outputs, see ``sites``.

    Returns:
        A handle that steers and removes; also a context manager.

    Raises:
        SiteError: A key matches no site, two globs claim one site, or a pattern does not fit its site.
        ApplyError: The model is compiled, wrapped or scripted, or already has a policy.
        UsageError: The seed is no whole number, or an argument is not of its type.

    Example:
        >>> net = nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8))
        >>> with apply(net, Policy({"1": ConvPattern(height=2, width=2)})) as applied:
        ...     h = net(torch.ones(4, 3, 8, 8))
        >>> applied.layers["1"].fired
        True
    """
    check_options(existing, seed)
    check_model(model)
    _check_free(model)
    matches = match(model, policy, layouts=layouts)
    layers, places = _layers(matches, seed)
    with ExitStack() as undo:
        closings = list(open_places(model, _openings(matches)))
        for closing in closings:
            undo.callback(closing.close)
        for place, children in places.items():
            closings.append(_attached(model, place, children))
            undo.callback(closings[-1].close)
        for found in matches:
            if (
                isinstance(found.pattern, ConvPattern)
                and found.pattern.backward_rate
                and not found.pattern.off
            ):
                closings.append(_behind(model, found, layers[found.site.name]))
                undo.callback(closings[-1].close)
        silenced = silence(model) if existing == "off" else None
        undo.pop_all()
    return Applied(model, policy, layers, closings, silenced, seed)


def space_for(
    model: nn.Module,
    example_input: object,
    *,
    layouts: Layouts | None = None,
    backward_rates: Sequence[float] | None = None,
) -> ConvSpace | TokenSpace:
    """Return the standard space over a model's own sites.

    A model with feature maps gets a ConvSpace: each site with the size of its map, ``residual`` where
    the shortcut of its block is a known module. Projections on a shortcut are reached by ``residual`` and
    no sites of their own there; maps of one pixel are left out, as nothing but everything can be
    dropped. Any other model gets a TokenSpace over the roles that it has.

    Args:
        model: Any module.
        example_input: What the model is called with: a tensor, a tuple of arguments, or a dict of
            keyword arguments. It runs once, in evaluation mode and without gradients.
        layouts: Further sites: name or glob of modules to the axes of their outputs, see ``sites``. Of
            sequences they are searched under their own names, beside the roles.
        backward_rates: Also decide, where a single layer is known to read a site, which share its backward
            pass drops beside the pattern, such as (0.0, 0.0002, 0.01); 0 everywhere else.

    Raises:
        SiteError: The model has neither, or ``backward_rates`` are given and no such layer is known.
    """
    found = all_sites(model, layouts)
    shapes = site_shapes(model, found, example_input)
    shortcuts = {site.shortcut for site in found if site.shortcut}
    sizes = {
        site.name: size
        for site in found
        if not _is_within(site.name, shortcuts)
        and (size := map_size(site, shapes.get(site.name))) not in (None, (1, 1))
    }
    if sizes:
        residual = [site.name for site in found if site.name in sizes and site.shortcut]
        maps = {name: size for name, size in sizes.items() if size}
        if backward_rates is None:
            return ConvSpace(sites=maps, residual=residual)
        consumed = [site.name for site in found if site.name in sizes and site.consumer]
        _check_consumed(consumed)
        return ConvSpace(sites=maps, residual=residual, backward_rates=backward_rates, consumed=consumed)
    if backward_rates is not None:
        _check_consumed([])
    roles = {site.role for site in found}
    named = [site.name for site in found if site.role is None and site.layout in LAYOUTS_OF[TokenPattern]]
    keys = [*(role for role in ROLES if role in roles), *named]
    if not keys:
        raise SiteError(f"the model has no feature maps and no roles to search over; {NO_SITES_REMEDY}")
    return TokenSpace(sites=keys)


def _check_consumed(consumed: Sequence[str]) -> None:
    if not consumed:
        raise SiteError(
            "backward_rates are given, but of no site of the model a Linear or convolution is known that "
            "alone reads it; leave them out, or name such layers in autodropout_sites() (Site.consumer)"
        )


def _is_within(name: str, places: Iterable[str]) -> bool:
    return any(name == place or name.startswith(f"{place}.") for place in places)


def _openings(matches: Matches) -> Iterator[Opening]:
    for found in matches:
        yield from found.site.openings
        if found.shortcut is not None:
            yield from found.site.shortcut_openings


def _layers(
    matches: Matches, seed: int | None
) -> tuple[dict[str, PatternDropout], dict[str, list[nn.Module]]]:
    """Return the layers by name, and for each module that receives some, what it receives in order."""
    layers: dict[str, PatternDropout] = {}
    places: dict[str, list[nn.Module]] = {}

    def put(name: str, pattern: Pattern, layout: Layout, sequences: Sequences) -> PatternDropout:
        layers[name] = PatternDropout(pattern, layout=layout, site=name, seed=seed, sequences=sequences)
        return layers[name]

    for found in matches:
        site = found.site
        layer: nn.Module = put(site.name, found.pattern, site.layout, site.sequences)
        if site.channels is not None:
            layer = OnChannels(layer, site.channels, site.name)
        places.setdefault(site.module_name, []).append(layer)
    for found in matches:
        if found.shortcut is not None:
            layout = found.site.shortcut_layout or found.site.layout
            layer = put(f"{found.site.name}:shortcut", found.pattern, layout, ("own", None))
            places.setdefault(found.shortcut, []).append(layer)
    return layers, places


def _attached(model: nn.Module, place: str, children: Sequence[nn.Module]) -> Attachment:
    device = _device(model.get_submodule(place)) or _device(model)
    return attach(model, place, [child.to(device) for child in children])


def _behind(model: nn.Module, found: Match, layer: PatternDropout) -> Taken:
    """Let the backward pass of the one layer that reads a site drop more than the pattern does."""
    assert isinstance(found.pattern, ConvPattern)
    assert found.site.consumer is not None  # match() refuses it
    name, site = found.site.consumer, f"{found.site.name}:backward"
    consumer = named_module(model, name)
    if not is_consumer(consumer):
        raise SiteError(f'site "{found.site.name}" is read by "{name}": {unsupported_text(consumer)}')
    layer.behind = AugmentedDropout(0.0, found.pattern.backward_rate, site=site, seed=layer.seed)
    return put(consumer, name, layer.behind)


def _device(module: nn.Module) -> torch.device | None:
    for tensors in (module.parameters(), module.buffers()):
        for tensor in tensors:
            return tensor.device
    return None


def check_model(model: nn.Module) -> None:
    """Refuse a model that nothing can be applied to as it is.

    Raises:
        UsageError: It is no module.
        ApplyError: It is compiled, wrapped or scripted.
    """
    if not isinstance(model, nn.Module):
        raise UsageError(f"the model is a {type(model).__name__}; expected a torch.nn.Module")
    for name, module in model.named_modules():
        where = f'its module "{name}"' if name else "the model"
        if state := _unfit(module):
            raise ApplyError(f"{where} is {state}")


def _check_free(model: nn.Module) -> None:
    """Refuse a model that bears a policy or a baseline; what the other papers drop may stand beside it."""
    for name, module in model.named_modules():
        if CHILD in module._modules:
            where = f'its module "{name}"' if name else "the model"
            raise ApplyError(f"{where} already has a pattern; remove() what was applied before")


def check_options(existing: object, seed: object) -> None:
    """Refuse what ``apply`` takes for neither ``existing`` nor ``seed``.

    Raises:
        UsageError: One of them is none.
    """
    if existing not in ("keep", "off"):
        raise UsageError(f'existing is {existing!r}; expected "keep" or "off"')
    check_seed(seed)


def _unfit(module: nn.Module) -> str | None:
    """Say what keeps hooks on the module from running, and what to do; None if nothing does."""
    # What has not been imported cannot have wrapped anything, and these imports are slow.
    dynamo, fsdp = map(sys.modules.get, ("torch._dynamo.eval_frame", "torch.distributed.fsdp"))
    if isinstance(module, torch.jit.ScriptModule):
        return "a TorchScript module, which runs no hooks; apply the policy to the module it was made from"
    if dynamo and isinstance(module, dynamo.OptimizedModule):
        return f"compiled, {_COMPILED}; take the module inside, its _orig_mod, {_FIRST}"
    if module._compiled_call_impl is not None:
        return f"compiled in place, {_COMPILED}; set its _compiled_call_impl to None, {_FIRST}"
    wrappers = (DataParallel, DistributedDataParallel, *((fsdp.FullyShardedDataParallel,) if fsdp else ()))
    if isinstance(module, wrappers):
        return f"wrapped in {type(module).__name__}; apply the policy to the module inside, then wrap it"
    return None
