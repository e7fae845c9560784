"""Manifold Mixup and MoEx: hidden states of one example meet those of another, and so do the labels."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.distributions import Beta

from autodropout.data.augmentation.defaults import drawn_from
from autodropout.data.augmentation.labels import one_hot
from autodropout.data.augmentation.mixing import check_alpha
from autodropout.errors import ShapeError, SiteError, UsageError

_LEAST_VARIANCE = 1e-5


def mixed(h: Tensor, order: Tensor, share: float) -> Tensor:
    """Mix each example with another one.

    h'_i = share * h_i + (1 - share) * h_order(i)          (Verma et al. 2019, Section 2)

    Args:
        h: Any float dtype, examples along the first axis.
        order: int64, shape (examples,): whom each example is mixed with.
        share: What is kept of each, from 0 to 1.

    Returns:
        Same shape and dtype.

    Raises:
        ShapeError: There are more or fewer examples than places in the order.
    """
    _check_order(h, order)
    return h * share + h[order] * (1.0 - share)


def exchanged(h: Tensor, order: Tensor) -> Tensor:
    """Give each example the moments over channels of another one, place by place.

    h'_i = sigma_j * (h_i - mu_i) / sigma_i + mu_j, j = order(i)          (Li et al. 2020, Moment Exchange)

    mu and sigma are the mean and the standard deviation over channels at each place (positional
    normalisation), 1e-5 being added to the variance. Gradients flow through all of them.

    Args:
        h: Floating point, shape (examples, channels, height, width).
        order: int64, shape (examples,): whose moments each example gets.

    Returns:
        Same shape and dtype.

    Raises:
        ShapeError: h has another number of axes, or of examples than places in the order.
    """
    if h.ndim != 4:
        raise ShapeError(f"h has shape {tuple(h.shape)}; expected (examples, channels, height, width)")
    _check_order(h, order)
    variance, mean = torch.var_mean(h, dim=1, correction=0, keepdim=True)
    deviation = (variance + _LEAST_VARIANCE).sqrt()
    return (h - mean) / deviation * deviation[order] + mean[order]


@dataclass(frozen=True, slots=True, kw_only=True)
class Drawn:
    """What was drawn for a batch.

    Attributes:
        place: Position of the layer to act on among those named; -1 for the input, None for nowhere.
        order: Whom each example meets, int64 of shape (examples,).
        share: Of its own label that each example keeps.
    """

    place: int | None
    order: Tensor
    share: float


class ManifoldMixup:
    """Mixup at a layer that is drawn for each batch, the input among them (Verma et al. 2019, Section 2).

    A change of batches that is bound to a model: what it draws for a batch, hooks on the model do in that
    batch's forward pass. One order and one share, from Beta(alpha, alpha), hold for a batch. In evaluation
    the hooks do nothing.

    Args:
        model: Receives the hooks.
        layers: Names of the modules whose inputs may be mixed.
        num_classes: Number of classes.
        alpha: Of the Beta distribution, above 0.

    Attributes:
        drawn: For the last batch; None before the first.

    Raises:
        SiteError: The model has no such module.
        UsageError: There are no layers, or ``alpha`` is not above 0.
    """

    def __init__(
        self, model: nn.Module, layers: Sequence[str], *, num_classes: int, alpha: float = 2.0
    ) -> None:
        check_alpha(alpha)
        self.drawn: Drawn | None = None
        self._num_layers, self._num_classes, self._alpha = len(layers), num_classes, alpha
        _hook(model, layers, self._mixed)

    def __call__(self, images: Tensor, labels: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Return images, mixed if their layer was drawn, and mixed probabilities."""
        with drawn_from(generator):
            share = float(Beta(self._alpha, self._alpha).sample())
            place = int(torch.randint(self._num_layers + 1, ())) - 1
            order = torch.randperm(len(images)).to(images.device)
        self.drawn = Drawn(place=place, order=order, share=share)
        targets = mixed(one_hot(labels, self._num_classes), order, share)
        return (mixed(images, order, share) if place < 0 else images), targets

    # What is drawn would make every batch a new graph.
    @torch.compiler.disable  # type: ignore[untyped-decorator]
    def _mixed(self, place: int, h: Tensor) -> Tensor:
        drawn = self.drawn
        return mixed(h, drawn.order, drawn.share) if drawn is not None and drawn.place == place else h


class MoEx:
    """Moment exchange at one layer, in a share of all batches (Li et al. 2020).

    A change of batches, bound to a model as ``ManifoldMixup`` is. The loss is
    kept * loss(y_i) + (1 - kept) * loss(y_j), j being the example whose moments are taken over.

    Args:
        model: Receives the hook.
        layer: Name of the module whose input's moments are exchanged; the paper takes an early one.
        num_classes: Number of classes.
        rate: Probability that a batch is changed, from 0 to 1.
        kept: Share of its own label that an example keeps, from 0 to 1.

    Attributes:
        drawn: For the last batch; None before the first.

    Raises:
        SiteError: The model has no such module.
        UsageError: A share is out of range.
    """

    def __init__(
        self, model: nn.Module, layer: str, *, num_classes: int, rate: float = 0.5, kept: float = 0.9
    ) -> None:
        for name, share in (("rate", rate), ("kept", kept)):
            if not 0.0 <= share <= 1.0:
                raise UsageError(f"{name} is {share!r}; expected a share, from 0 to 1")
        self.drawn: Drawn | None = None
        self._num_classes, self._rate, self._kept = num_classes, rate, kept
        _hook(model, [layer], self._exchanged)

    def __call__(self, images: Tensor, labels: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Return the images as they are, and probabilities, mixed if the batch was drawn."""
        with drawn_from(generator):
            place = 0 if float(torch.rand(())) < self._rate else None
            order = torch.randperm(len(images)).to(images.device)
        share = 1.0 if place is None else self._kept
        self.drawn = Drawn(place=place, order=order, share=share)
        return images, mixed(one_hot(labels, self._num_classes), order, share)

    @torch.compiler.disable  # type: ignore[untyped-decorator]
    def _exchanged(self, place: int, h: Tensor) -> Tensor:
        drawn = self.drawn
        return exchanged(h, drawn.order) if drawn is not None and drawn.place == place else h


def _hook(model: nn.Module, layers: Sequence[str], change: Callable[[int, Tensor], Tensor]) -> None:
    modules = dict(model.named_modules())
    missing = [name for name in layers if name not in modules]
    if missing:
        raise SiteError(f"{type(model).__name__} has no module {missing[0]!r} to mix the inputs of")
    if not layers:
        raise UsageError("layers is empty; expected the name of at least one module")
    for place, name in enumerate(layers):
        modules[name].register_forward_pre_hook(_at(place, change))


def _at(
    place: int, change: Callable[[int, Tensor], Tensor]
) -> Callable[[nn.Module, tuple[Tensor, ...]], tuple[Tensor, ...]]:
    def hook(module: nn.Module, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        return (change(place, inputs[0]), *inputs[1:]) if module.training else inputs

    return hook


def _check_order(h: Tensor, order: Tensor) -> None:
    if len(h) != len(order):
        raise ShapeError(
            f"the hidden state has {len(h)} examples, but {len(order)} were drawn for; each batch goes "
            "through the change once, and then through the model"
        )
