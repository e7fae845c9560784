"""The same language model on text that every Python brings along: nothing to download."""

from dataclasses import dataclass, replace
from functools import partial
from typing import ClassVar

from autodropout.applying import apply
from autodropout.data.pydoc_text import VERSION, load_pydoc
from autodropout.errors import DataError
from autodropout.models.decoder import Decoder
from autodropout.policy import Policy
from autodropout.result import Result
from autodropout.tasks.base import Baseline, Budget, Figure, Prepare, perplexity
from autodropout.tasks.text.language_model import LanguageModelRecipe
from autodropout.tasks.text.token_baselines import token_baselines
from autodropout.token_space import TokenSpace

_RECIPE = LanguageModelRecipe()


@dataclass(frozen=True, kw_only=True)
class PydocLm:
    """Language modelling on what ``help()`` says about Python's topics.

    It is ``ptb-small`` without the files, to try things out. The text changes with Python's version:
    ``key`` names it, and figures are for one version only.

    Attributes:
        recipe: Model and training.
    """

    name: ClassVar[str] = "pydoc-lm"
    summary: ClassVar[str] = f"help texts of Python {VERSION}, small Transformer, 80 / validation perplexity"
    needs: ClassVar[str] = f"pydoc_data.topics inside Python {VERSION} (no download)"
    seconds: ClassVar[float] = 6.0
    budget: ClassVar[Budget] = Budget(trials=128, batch=8, confirm_top=8, confirm_seeds=4)
    baselines: ClassVar[tuple[Baseline, ...]] = token_baselines()

    recipe: LanguageModelRecipe = _RECIPE

    @property
    def floor(self) -> float:
        """Reward of a model that learned nothing."""
        return self.recipe.floor

    @property
    def figure(self) -> Figure:
        """What is compared on held-out data: the test's perplexity, of which less is better."""
        return perplexity(self.recipe.size.vocabulary)

    @property
    def key(self) -> str:
        """What figures on this task are comparable under: the name and Python's version."""
        return f"{self.name} (Python {VERSION})"

    def missing(self) -> str | None:
        """Return what to do to get the data; None if they are there."""
        try:
            load_pydoc(self.recipe.size)
        except DataError as error:
            return str(error)
        return None

    def space(self) -> TokenSpace:
        """Return the standard space over all seven roles."""
        return self.recipe.space()

    def model(self) -> Decoder:
        """Return an untrained network."""
        return self.recipe.model()

    def evaluate(self, policy: Policy, seed: int, budget: float = 1.0) -> Result:
        """Train one network with a policy and return 80 / validation perplexity."""
        task = replace(self, recipe=self.recipe.shortened(budget))
        return task.train(partial(apply, policy=policy), seed)

    def train(self, prepare: Prepare, seed: int) -> Result:
        """Train one network and return 80 / validation perplexity."""
        return self.recipe.train(load_pydoc(self.recipe.size), prepare, seed)
