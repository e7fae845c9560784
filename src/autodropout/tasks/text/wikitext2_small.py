"""WikiText-2, cut down as Penn Treebank is in ``ptb-small``: where a policy found there is tried."""

from dataclasses import dataclass, replace
from functools import partial
from typing import ClassVar

from autodropout.applying import apply
from autodropout.data.wikitext2 import check_wikitext2, load_wikitext2
from autodropout.errors import DataError
from autodropout.models.decoder import Decoder
from autodropout.policy import Policy
from autodropout.result import Result
from autodropout.tasks.base import Baseline, Budget, Figure, Prepare, perplexity
from autodropout.tasks.text.language_baselines import Ends, language_baselines
from autodropout.tasks.text.language_model import LanguageModelRecipe
from autodropout.token_space import TokenSpace

_RECIPE = LanguageModelRecipe()


@dataclass(frozen=True, kw_only=True)
class WikiText2Small:
    """Language modelling on 9,000 tokens of WikiText-2 over its 500 most frequent words.

    Model, training and sizes are those of ``ptb-small``; only the text is another. Reward = 80 / validation
    perplexity on the first 10,000 tokens of the validation file; the test's perplexity, on the first 10,000
    of the test file, is recorded only.

    Attributes:
        recipe: Model and training.
        data: Folder of data sets that holds ``wikitext-2/``; None for the one that the environment variable
            ``AUTODROPOUT_DATA`` names.
    """

    name: ClassVar[str] = "wikitext2-small"
    summary: ClassVar[str] = "9,000 tokens of WikiText-2, small Transformer, 80 / validation perplexity"
    needs: ClassVar[str] = (
        "WikiText-2, 12.6 MiB: wikitext-2/wiki.{train,valid,test}.tokens below AUTODROPOUT_DATA"
    )
    seconds: ClassVar[float] = 6.0
    budget: ClassVar[Budget] = Budget(trials=128, batch=8, confirm_top=8, confirm_seeds=4)
    baselines: ClassVar[tuple[Baseline, ...]] = language_baselines(Ends(embedding="embedding", final="norm"))

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
            check_wikitext2(self.data)
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
        return self.recipe.train(load_wikitext2(self.data, self.recipe.size), prepare, seed)
