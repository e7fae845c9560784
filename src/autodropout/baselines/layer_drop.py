"""LayerDrop: whole layers are left out (Fan, Grave and Joulin 2020)."""

from collections.abc import Callable, Sequence
from typing import cast

import torch
from torch import Tensor, nn

from autodropout.attach import CHILD, CONTAINERS, Attachment, container_text, named_module
from autodropout.baselines.placing import Placed
from autodropout.baselines.rated import Probability, Rated, check_input, checked_probability
from autodropout.errors import ApplyError, ShapeError, SiteError, UsageError


def drop_layer(before: Tensor, after: Tensor, p: Probability, training: bool = True) -> Tensor:
    """Leave a layer out for the whole batch, one coin: LayerDrop (Fan et al. 2020).

    Nothing is scaled, as in the paper, which in test uses all layers.

    Args:
        before: What enters the layer, any float dtype.
        after: What leaves it, of the same shape.
        p: Probability that ``before`` is returned.
        training: Return ``after`` itself if False.

    Raises:
        ShapeError: The shapes differ, or there is no float dtype.
        UsageError: ``p`` is no probability.
    """
    check_input(after, 0, "any shape")
    if before.shape != after.shape:
        raise ShapeError(
            f"the layer makes {tuple(after.shape)} of {tuple(before.shape)}; expected one shape, so that it "
            "can be left out"
        )
    p = checked_probability(p)
    if not training:
        return after
    left_out = torch.rand((), dtype=torch.float32, device=after.device) < p
    return torch.where(left_out, before.to(after.dtype), after)


class LayerDrop(Rated):
    """Module twin of ``drop_layer``; ``on_layers`` puts it onto a model.

    Args:
        p: Probability that the layer is left out.

    Raises:
        UsageError: ``p`` is no probability.
    """

    def forward(self, before: Tensor, after: Tensor) -> Tensor:
        """Apply ``drop_layer``."""
        return drop_layer(before, after, self._rate, self.training)


def on_layers(model: nn.Module, layers: Sequence[str], factory: Callable[[int], LayerDrop]) -> Placed:
    """Let layers be left out while they train: their first argument then is their output.

    The layer is computed all the same, so that this saves no time.

    Args:
        model: The model, changed in place.
        layers: Names of modules that map their first argument to one of the same shape.
        factory: Makes the module for the layer at this position.

    Returns:
        What removes them again.

    Raises:
        SiteError: The model has no such module, or it is a container.
        ApplyError: Something stands on that place already.
        UsageError: There are no layers. After any error the model is as it was.
    """
    if isinstance(layers, str) or not layers:
        raise UsageError(f"layers is {layers!r}; expected a sequence of at least one name")
    modules: dict[str, nn.Module] = {name: factory(position) for position, name in enumerate(layers)}
    attachments: list[Attachment] = []
    try:
        for name, child in modules.items():
            attachments.append(_attach(model, name, child))
    except BaseException:
        for attachment in attachments:
            attachment.close()
        raise
    return Placed(modules, attachments)


def _attach(model: nn.Module, name: str, child: nn.Module) -> Attachment:
    module = named_module(model, name)
    if isinstance(module, CONTAINERS):
        raise SiteError(container_text(model, name))
    if CHILD in module._modules:
        raise ApplyError(f'site "{name}" already has a pattern; remove() what was applied before')
    module.add_module(CHILD, child.train(module.training))
    return Attachment(module, child, module.register_forward_hook(_call_child))


def _call_child(module: nn.Module, args: tuple[Tensor, ...], output: Tensor) -> Tensor:
    """Forward hook: top-level, so that a model that bears it can be pickled."""
    return cast(Tensor, module.get_submodule(CHILD)(args[0], output)) if module.training else output
