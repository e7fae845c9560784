"""What every recipe of a language model owes a search; a recipe's tests inherit it and name the recipe."""

from functools import partial

import pytest
import torch

from autodropout.applying import apply
from autodropout.data.text import Corpus
from autodropout.pattern import TokenPattern
from autodropout.policy import Policy
from contracts.trials import check_pure

WORDS = Policy({"role:ffn": TokenPattern(size=1, share_c=True, rate=0.3)})


def made_up(train, validation, test):
    """A text of so many words, in which every word is the one before it plus 1 or 2 of 20."""
    sizes = [train, validation, test]
    steps = torch.randint(1, 3, (sum(sizes),), generator=torch.Generator().manual_seed(0))
    train, validation, test = (steps.cumsum(0) % 20).split(sizes)
    return Corpus(train=train, validation=validation, test=test, vocabulary=tuple(map(str, range(20))))


class LanguageRecipeContract:
    """Subclasses set ``recipe``, with three points on the curve, and ``text``, the sizes of its parts."""

    def evaluate(self, policy, seed):
        return self.recipe.train(made_up(*self.text), partial(apply, policy=policy), seed)

    def test_a_trial_is_a_pure_function_of_policy_and_seed(self):
        check_pure(self.evaluate, WORDS)

    def test_what_a_trial_returns(self):
        result = self.evaluate(WORDS, 0)
        assert result.reward == pytest.approx(80 / result.metrics["val_perplexity"])
        assert set(result.metrics) == {"train_loss", "val_perplexity", "parameters"}
        assert result.metrics["parameters"] == sum(p.numel() for p in self.recipe.model().parameters())
        assert set(result.test) == {"perplexity"}
        assert len(result.curve) == 3
        assert result.curve[-1] == result.metrics["val_perplexity"]
        assert result.seconds > 0
