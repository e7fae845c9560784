"""Find, apply and explain structured dropout in PyTorch models.

Names that need torch are loaded at their first use, so that the command line's help starts without it.
"""

from importlib import import_module
from typing import TYPE_CHECKING

from autodropout.conv_space import ConvSpace as ConvSpace
from autodropout.errors import AutoDropoutError as AutoDropoutError
from autodropout.pattern import ConvPattern as ConvPattern
from autodropout.pattern import TokenPattern as TokenPattern
from autodropout.policy import Policy as Policy
from autodropout.result import Result as Result
from autodropout.result import Trial as Trial
from autodropout.token_space import TokenSpace as TokenSpace

if TYPE_CHECKING:
    from autodropout import baselines as baselines
    from autodropout import benchmark as benchmark
    from autodropout import zoo as zoo
    from autodropout.adapting import adaptive_dropout as adaptive_dropout
    from autodropout.adaptive import AdaptiveDropout as AdaptiveDropout
    from autodropout.applying import Applied as Applied
    from autodropout.applying import apply as apply
    from autodropout.applying import match as match
    from autodropout.applying import sites as sites
    from autodropout.applying import space_for as space_for
    from autodropout.attribution import relevance as relevance
    from autodropout.augmenting import augmented_dropout as augmented_dropout
    from autodropout.augmenting import backward_dropout as backward_dropout
    from autodropout.augmenting import forward_dropout as forward_dropout
    from autodropout.comparison import compare as compare
    from autodropout.engine.confirm import Confirmation as Confirmation
    from autodropout.engine.controller import Controller as Controller
    from autodropout.engine.halving import Halving as Halving
    from autodropout.engine.run import search as search
    from autodropout.engine.study import Study as Study
    from autodropout.layers import PatternDropout as PatternDropout
    from autodropout.mask import conv_keep as conv_keep
    from autodropout.mask import drop as drop
    from autodropout.mask import token_keep as token_keep
    from autodropout.monte_carlo import mc as mc

__version__ = "0.1.0"

_LATE_MODULES = ("baselines", "benchmark", "zoo")
_LATE = {
    "AdaptiveDropout": "adaptive",
    "Applied": "applying",
    "Confirmation": "engine.confirm",
    "Controller": "engine.controller",
    "Halving": "engine.halving",
    "PatternDropout": "layers",
    "Study": "engine.study",
    "adaptive_dropout": "adapting",
    "apply": "applying",
    "augmented_dropout": "augmenting",
    "backward_dropout": "augmenting",
    "compare": "comparison",
    "conv_keep": "mask",
    "drop": "mask",
    "forward_dropout": "augmenting",
    "match": "applying",
    "mc": "monte_carlo",
    "relevance": "attribution",
    "search": "engine.run",
    "sites": "applying",
    "space_for": "applying",
    "token_keep": "mask",
}

if not TYPE_CHECKING:  # a type checker reads the imports above and reports any other name

    def __getattr__(name: str) -> object:
        if name in _LATE_MODULES:
            return import_module(f"{__name__}.{name}")
        if name not in _LATE:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        return globals().setdefault(name, getattr(import_module(f"{__name__}.{_LATE[name]}"), name))

    def __dir__() -> list[str]:
        return sorted({*globals(), *_LATE_MODULES, *_LATE})
