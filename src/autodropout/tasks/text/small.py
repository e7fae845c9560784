"""Language modelling cut down until a trial takes seconds and dropout matters, on three texts."""

from abc import abstractmethod
from dataclasses import dataclass
from typing import ClassVar

from autodropout.data.ptb import load_ptb
from autodropout.data.pydoc_text import VERSION, load_pydoc
from autodropout.data.text import Corpus
from autodropout.data.wikitext2 import check_wikitext2, load_wikitext2
from autodropout.result import Result
from autodropout.tasks.base import Baseline, Budget, Prepare
from autodropout.tasks.text.language_baselines import Ends, language_baselines
from autodropout.tasks.text.language_model import LanguageModelRecipe
from autodropout.tasks.text.task import LanguageTask

_RECIPE = LanguageModelRecipe()


@dataclass(frozen=True, kw_only=True)
class SmallTask(LanguageTask):
    """Language modelling with one small recipe: only the text differs.

    Attributes:
        name: Word for it on the command line.
        recipe: Model and training.
    """

    seconds: ClassVar[float] = 6.0
    budget: ClassVar[Budget] = Budget(trials=128, batch=8, confirm_top=8, confirm_seeds=4)
    baselines: ClassVar[tuple[Baseline, ...]] = language_baselines(Ends(embedding="embedding", final="norm"))

    recipe: LanguageModelRecipe = _RECIPE

    @abstractmethod
    def corpus(self) -> Corpus:
        """Return the text, of the recipe's size.

        Raises:
            DataError: It is not there.
        """

    def check(self) -> None:
        """Look for the text.

        Raises:
            DataError: It is not there.
        """
        self.corpus()

    def train(self, prepare: Prepare, seed: int) -> Result:
        """Train one network and return 80 / validation perplexity."""
        return self.recipe.train(self.corpus(), prepare, seed)


@dataclass(frozen=True, kw_only=True)
class PtbSmall(SmallTask):
    """Language modelling on 9,000 tokens of Penn Treebank over its 500 most frequent words.

    Reward = 80 / validation perplexity on the first 10,000 tokens of the validation file; the test's
    perplexity, on the first 10,000 of the test file, is recorded only.

    What searches found on it is in ``docs/results.md``.

    Attributes:
        name: Word for it on the command line.
        recipe: Model and training.
        data: Folder of data sets that holds ``ptb/``; None for the one that the environment variable
            ``AUTODROPOUT_DATA`` names.
    """

    summary: ClassVar[str] = "9,000 tokens of Penn Treebank, small Transformer, 80 / validation perplexity"
    needs: ClassVar[str] = "Penn Treebank, 5.7 MiB: ptb/ptb.{train,valid,test}.txt below AUTODROPOUT_DATA"

    name: str = "ptb-small"
    data: str | None = None

    def corpus(self) -> Corpus:
        """Return the text, of the recipe's size."""
        return load_ptb(self.data, self.recipe.size)


@dataclass(frozen=True, kw_only=True)
class WikiText2Small(SmallTask):
    """Language modelling on 9,000 tokens of WikiText-2: where a policy found on ``ptb-small`` is tried.

    Model, training and sizes are those of ``ptb-small``; only the text is another. Reward = 80 / validation
    perplexity on the first 10,000 tokens of the validation file; the test's perplexity, on the first 10,000
    of the test file, is recorded only.

    Attributes:
        name: Word for it on the command line.
        recipe: Model and training.
        data: Folder of data sets that holds ``wikitext-2/``; None for the one that the environment variable
            ``AUTODROPOUT_DATA`` names.
    """

    summary: ClassVar[str] = "9,000 tokens of WikiText-2, small Transformer, 80 / validation perplexity"
    needs: ClassVar[str] = (
        "WikiText-2, 12.6 MiB: wikitext-2/wiki.{train,valid,test}.tokens below AUTODROPOUT_DATA"
    )

    name: str = "wikitext2-small"
    data: str | None = None

    def check(self) -> None:
        """Look for the files without reading them."""
        check_wikitext2(self.data)

    def corpus(self) -> Corpus:
        """Return the text, of the recipe's size."""
        return load_wikitext2(self.data, self.recipe.size)


@dataclass(frozen=True, kw_only=True)
class PydocLm(SmallTask):
    """Language modelling on what ``help()`` says about Python's topics: nothing to download.

    It is ``ptb-small`` without the files, to try things out. The text changes with Python's version:
    ``key`` names it, and figures are for one version only.

    Attributes:
        name: Word for it on the command line.
        recipe: Model and training.
    """

    summary: ClassVar[str] = f"help texts of Python {VERSION}, small Transformer, 80 / validation perplexity"
    needs: ClassVar[str] = f"pydoc_data.topics inside Python {VERSION} (no download)"

    name: str = "pydoc-lm"

    @property
    def key(self) -> str:
        """What figures on this task are comparable under: the name and Python's version."""
        return f"{self.name} (Python {VERSION})"

    def corpus(self) -> Corpus:
        """Return the text, of the recipe's size."""
        return load_pydoc(self.recipe.size)
