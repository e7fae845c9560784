"""What tasks on text have in common: a recipe trains, the task says on which text."""

from abc import ABC, abstractmethod
from dataclasses import dataclass, replace
from functools import partial
from typing import Protocol, Self

from torch import nn

from autodropout.applying import apply
from autodropout.errors import DataError, MissingError
from autodropout.policy import Policy
from autodropout.result import Result
from autodropout.tasks.base import Figure, Prepare, perplexity
from autodropout.token_space import TokenSpace


class TextRecipe(Protocol):
    """Model and training."""

    @property
    def floor(self) -> float:
        """Reward of a model that learned nothing."""
        ...

    def space(self) -> TokenSpace:
        """Return the policies that can be searched."""
        ...

    def model(self) -> nn.Module:
        """Return an untrained network."""
        ...

    def shortened(self, budget: float) -> Self:
        """Return the recipe with this fraction of the steps, in (0, 1], and perhaps of the text."""
        ...


class HasVocabulary(Protocol):
    """How large a text or a network is."""

    @property
    def vocabulary(self) -> int:
        """Words."""
        ...


class LanguageRecipe(TextRecipe, Protocol):
    """Model and training of a language model."""

    @property
    def size(self) -> HasVocabulary:
        """How large it is."""
        ...


@dataclass(frozen=True, kw_only=True)
class TextTask(ABC):
    """A task on text; reward = 80 / validation perplexity.

    Attributes:
        name: Word for it on the command line.
        recipe: Model and training.
    """

    name: str
    recipe: TextRecipe

    @property
    def floor(self) -> float:
        """Reward of a model that learned nothing."""
        return self.recipe.floor

    @property
    def key(self) -> str:
        """What figures on this task are comparable under."""
        return self.name

    @abstractmethod
    def check(self) -> None:
        """Look for what the task needs.

        Raises:
            DataError: The text is not there.
            MissingError: A library is not there.
        """

    def missing(self) -> str | None:
        """Return what to do to get the data; None if they are there."""
        try:
            self.check()
        except (DataError, MissingError) as error:
            return str(error)
        return None

    def space(self) -> TokenSpace:
        """Return the standard space over all seven roles."""
        return self.recipe.space()

    def model(self) -> nn.Module:
        """Return an untrained network."""
        return self.recipe.model()

    def evaluate(self, policy: Policy, seed: int, budget: float = 1.0) -> Result:
        """Train one network with a policy and return 80 / validation perplexity."""
        return self.shortened(budget).train(partial(apply, policy=policy), seed)

    def shortened(self, budget: float) -> Self:
        """Return the task with its recipe shortened; the whole schedule runs over the steps that are left."""
        return replace(self, recipe=self.recipe.shortened(budget))

    @abstractmethod
    def train(self, prepare: Prepare, seed: int) -> Result:
        """Train one network and return 80 / validation perplexity."""


@dataclass(frozen=True, kw_only=True)
class LanguageTask(TextTask):
    """Language modelling; what is compared on held-out text is perplexity."""

    recipe: LanguageRecipe

    @property
    def figure(self) -> Figure:
        """What is compared on held-out data: the test's perplexity, of which less is better."""
        return perplexity(self.recipe.size.vocabulary)
