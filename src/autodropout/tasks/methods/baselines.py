"""Mixing, augmentation and penalties as baselines of image tasks, each with one strength to tune."""

from dataclasses import dataclass
from itertools import takewhile

from torch import nn

from autodropout.data.augmentation import CutMix, LabelSmoothing, Mixup, RandAugment
from autodropout.errors import SiteError
from autodropout.families import find_sites
from autodropout.tasks.base import Baseline
from autodropout.tasks.methods.batchwise import Batchwise
from autodropout.tasks.methods.hidden import ManifoldMixup, MoEx
from autodropout.tasks.methods.penalties import penalise

_ALPHAS = (0.05, 0.1, 0.2, 0.4, 0.7, 1.0, 1.5, 2.0)
_HIGH_ALPHAS = (0.1, 0.2, 0.5, 1.0, 1.5, 2.0, 3.0, 4.0)
_MAGNITUDES = (1.0, 3.0, 5.0, 7.0, 9.0, 12.0, 16.0, 20.0)
_SHARES = (0.1, 0.2, 0.3, 0.4, 0.5, 0.65, 0.8, 1.0)
_SMOOTHINGS = (0.01, 0.02, 0.05, 0.1, 0.15, 0.2, 0.3, 0.4)
_L1 = (1e-7, 3e-7, 1e-6, 3e-6, 1e-5, 3e-5, 1e-4, 3e-4)
_L2 = (1e-5, 3e-5, 1e-4, 3e-4, 1e-3, 3e-3, 1e-2, 3e-2)


def method_baselines(num_classes: int) -> tuple[Baseline, ...]:
    """Return the methods of the paper's Table 2 that drop nothing, label smoothing and penalties on weights.

    - ``rand-augment``: two operations per image, the strength is their magnitude, from 0 to 30.
    - ``mixup``, ``cutmix`` and ``manifold-mixup``: the strength is the Beta distribution's alpha.
      Manifold Mixup mixes images, or what the second or the third stage of the network reads.
    - ``moex``: the strength is the share of batches that are changed, before the first stage; an example
      keeps .9 of its own label, the authors' choice on ImageNet.
    - ``cutmix-rand-augment``: CutMix with alpha 1 and RandAugment, whose magnitude is tuned.
    - ``label-smoothing``: the strength is the uniform distribution's share.
    - ``l1`` and ``l2``: the strength is the penalty's factor, beside the weight decay of the recipe.

    Args:
        num_classes: Classes of the task.
    """
    return (
        Baseline(name="rand-augment", strengths=_MAGNITUDES, put=Augmented()),
        Baseline(name="mixup", strengths=_ALPHAS, put=Mixed(num_classes=num_classes, kind=Mixup)),
        Baseline(name="cutmix", strengths=_ALPHAS, put=Mixed(num_classes=num_classes, kind=CutMix)),
        Baseline(name="manifold-mixup", strengths=_HIGH_ALPHAS, put=MixedInside(num_classes=num_classes)),
        Baseline(name="moex", strengths=_SHARES, put=Exchanged(num_classes=num_classes)),
        Baseline(
            name="cutmix-rand-augment",
            strengths=_MAGNITUDES,
            put=Augmented(mixing=(CutMix(num_classes=num_classes),)),
        ),
        Baseline(name="label-smoothing", strengths=_SMOOTHINGS, put=Smoothed(num_classes=num_classes)),
        *penalty_baselines(),
    )


def penalty_baselines() -> tuple[Baseline, ...]:
    """Return L1 and L2, which do not touch batches: they fit every task."""
    return (
        Baseline(name="l1", strengths=_L1, put=Penalised(norm=1)),
        Baseline(name="l2", strengths=_L2, put=Penalised(norm=2)),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Augmented:
    """Puts RandAugment on, the strength its magnitude, rounded.

    Attributes:
        mixing: What else is done, to scaled images.
    """

    mixing: tuple[CutMix, ...] = ()

    def __call__(self, model: nn.Module, strength: float) -> Batchwise:  # noqa: ARG002
        """Ask for it."""
        return Batchwise(images=(RandAugment(magnitude=round(strength)),), mixing=self.mixing)


@dataclass(frozen=True, slots=True, kw_only=True)
class Mixed:
    """Puts a mixture of images on, the strength its alpha.

    Attributes:
        num_classes: Classes of the task.
        kind: ``Mixup`` or ``CutMix``.
    """

    num_classes: int
    kind: type[Mixup] | type[CutMix]

    def __call__(self, model: nn.Module, strength: float) -> Batchwise:  # noqa: ARG002
        """Ask for it."""
        return Batchwise(mixing=(self.kind(num_classes=self.num_classes, alpha=strength),))


@dataclass(frozen=True, slots=True, kw_only=True)
class MixedInside:
    """Puts Manifold Mixup on, the strength its alpha.

    Attributes:
        num_classes: Classes of the task.
    """

    num_classes: int

    def __call__(self, model: nn.Module, strength: float) -> Batchwise:
        """Hook the second and the third stage, and ask for mixed labels."""
        layers = stages(model)[1:3]
        return Batchwise(mixing=(ManifoldMixup(model, layers, num_classes=self.num_classes, alpha=strength),))


@dataclass(frozen=True, slots=True, kw_only=True)
class Exchanged:
    """Puts moment exchange before the first stage, the strength the share of batches.

    Attributes:
        num_classes: Classes of the task.
    """

    num_classes: int

    def __call__(self, model: nn.Module, strength: float) -> Batchwise:
        """Hook the first stage, and ask for mixed labels."""
        return Batchwise(mixing=(MoEx(model, stages(model)[0], num_classes=self.num_classes, rate=strength),))


@dataclass(frozen=True, slots=True, kw_only=True)
class Smoothed:
    """Puts label smoothing on, the strength the uniform distribution's share.

    Attributes:
        num_classes: Classes of the task.
    """

    num_classes: int

    def __call__(self, model: nn.Module, strength: float) -> Batchwise:  # noqa: ARG002
        """Ask for it."""
        return Batchwise(mixing=(LabelSmoothing(num_classes=self.num_classes, smoothing=strength),))


@dataclass(frozen=True, slots=True, kw_only=True)
class Penalised:
    """Puts a penalty on weights, the strength its factor.

    Attributes:
        norm: 1 or 2.
    """

    norm: int

    def __call__(self, model: nn.Module, strength: float) -> None:
        """Hook the weights."""
        penalise(model, **{f"l{self.norm}": strength})


def stages(model: nn.Module) -> tuple[str, ...]:
    """Return the names of a network's stages: the containers of its residual blocks, from first to last.

    Where blocks have no container of their own, the blocks themselves count as stages.

    Args:
        model: A network with residual blocks whose sites are known.

    Raises:
        SiteError: There are fewer than two.
    """
    blocks = [_common(site.name, site.shortcut) for site in find_sites(model) if site.shortcut is not None]
    containers = [block.rpartition(".")[0] for block in blocks]
    found = tuple(dict.fromkeys(containers if all(containers) else blocks))
    if len(found) < 2:
        raise SiteError(
            f"{type(model).__name__} has {len(found)} stages of residual blocks; expected at least 2, whose "
            "inputs could be mixed"
        )
    return found


def _common(one: str, other: str) -> str:
    """Return the innermost module that holds both."""
    pairs = zip(one.split("."), other.split("."), strict=False)
    return ".".join(a for a, _ in takewhile(lambda pair: pair[0] == pair[1], pairs))
