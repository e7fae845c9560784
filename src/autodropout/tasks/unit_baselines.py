"""The methods of two other papers as baselines, each with one strength to tune: augmented and adaptive."""

from collections.abc import Callable, Sequence
from functools import partial

from torch import nn

from autodropout.adapting import Adaptive, Refreshing, adaptive_dropout
from autodropout.adaptive import AdaptiveSettings
from autodropout.applied import Applied
from autodropout.attribution import Method
from autodropout.augmented import AugmentedDropout
from autodropout.augmenting import augmented_dropout
from autodropout.errors import SiteError
from autodropout.families import find_sites
from autodropout.tasks.base import Baseline

BACKWARD_RATE = 0.0002
"""Ratio of the backward pass, the larger of the paper's two; the forward ratio is what is tuned."""

Modules = Callable[[nn.Module], Sequence[str]]
"""Says which modules of a model are meant; a top-level function, so that it can be pickled."""


def known_consumers(model: nn.Module) -> Sequence[str]:
    """Return the convolutions and linear layers that alone read the output of a site.

    Raises:
        SiteError: None is known.
    """
    names = [site.consumer for site in find_sites(model) if site.consumer is not None]
    if not names:
        raise SiteError(
            "no site of the model has a single consumer that is known, where augmented dropout could act; "
            "name the layers to augmented_dropout, or describe them in autodropout_sites() (Site.consumer)"
        )
    return tuple(dict.fromkeys(names))


def augmented_baseline(strengths: tuple[float, ...], modules: Modules = known_consumers) -> Baseline:
    """Return augmented dropout (Gao, Pei, Huang 2019) whose strength is the forward ratio.

    Args:
        strengths: Worth trying.
        modules: Says which layers consume what is dropped; by default those behind a site.
    """
    return Baseline(
        name="augmented-dropout", strengths=strengths, put=partial(_put_augmented, modules=modules)
    )


def adaptive_baseline(
    strengths: tuple[float, ...], modules: Modules, *, whole: bool, method: Method
) -> Baseline:
    """Return adaptive dropout whose strength is the mean rate; what matters more is dropped less.

    Args:
        strengths: Worth trying.
        modules: Says which modules' outputs are dropped.
        whole: Whether a unit is dropped at all places of a sample at once.
        method: How relevance is found.
    """
    put = partial(_put_adaptive, modules=modules, whole=whole, method=method)
    return Baseline(name="adaptive-dropout", strengths=strengths, put=put)


def _put_augmented(model: nn.Module, strength: float, *, modules: Modules) -> Applied[AugmentedDropout]:
    return augmented_dropout(model, modules(model), strength, BACKWARD_RATE)


def _put_adaptive(
    model: nn.Module, strength: float, *, modules: Modules, whole: bool, method: Method
) -> Adaptive:
    settings = AdaptiveSettings(whole=whole)
    return adaptive_dropout(
        model, modules(model), strength, settings=settings, refreshing=Refreshing(method=method)
    )
