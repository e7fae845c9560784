"""Penn Treebank, cut down until a trial takes seconds and dropout matters."""

from dataclasses import dataclass, replace
from functools import partial
from typing import ClassVar

from autodropout.applying import apply
from autodropout.data.ptb import load_ptb
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
class PtbSmall:
    """Language modelling on 9,000 tokens of Penn Treebank over its 500 most frequent words.

    Reward = 80 / validation perplexity on the first 10,000 tokens of the validation file; the test's
    perplexity, on the first 10,000 of the test file, is recorded only.

    No figure is published on it yet: ``experiments/landscape.py`` is the command that will make them.

    Attributes:
        recipe: Model and training.
        data: Folder of data sets that holds ``ptb/``; None for the one that the environment variable
            ``AUTODROPOUT_DATA`` names.
    """

    name: ClassVar[str] = "ptb-small"
    summary: ClassVar[str] = "9,000 tokens of Penn Treebank, small Transformer, 80 / validation perplexity"
    needs: ClassVar[str] = "Penn Treebank, 5.7 MiB: ptb/ptb.{train,valid,test}.txt below AUTODROPOUT_DATA"
    seconds: ClassVar[float] = 6.0
    budget: ClassVar[Budget] = Budget(trials=128, batch=8, confirm_top=8, confirm_seeds=4)
    baselines: ClassVar[tuple[Baseline, ...]] = token_baselines()

    recipe: LanguageModelRecipe = _RECIPE
    data: str | None = None

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
        """What figures on this task are comparable under."""
        return self.name

    def missing(self) -> str | None:
        """Return what to do to get the data; None if they are there."""
        try:
            load_ptb(self.data, self.recipe.size)
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
        return self.recipe.train(load_ptb(self.data, self.recipe.size), prepare, seed)
