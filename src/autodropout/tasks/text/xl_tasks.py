"""The paper's language-model tasks: Transformer-XL on Penn Treebank and WikiText-2, whole."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import ClassVar, Literal, Self

from autodropout.data.ptb import WHOLE_PTB, check_ptb, load_ptb
from autodropout.data.text import Corpus, CorpusSize
from autodropout.data.wikitext2 import WHOLE_WIKITEXT2, check_wikitext2, load_wikitext2
from autodropout.models.transformer_xl import XlSize
from autodropout.result import Result
from autodropout.tasks.base import Baseline, Budget, Prepare
from autodropout.tasks.saving import Saving
from autodropout.tasks.text.language_baselines import Ends, language_baselines
from autodropout.tasks.text.task import LanguageTask
from autodropout.tasks.text.xl_recipe import XlRecipe

TextName = Literal["ptb", "wikitext-2"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Text:
    """A text that these tasks read.

    Attributes:
        size: All of it.
        needs: One line for people: how large, and where it is looked for.
        check: Looks for its files.
        load: Returns it.
    """

    size: CorpusSize
    needs: str
    check: Callable[[str | None], None]
    load: Callable[[str | None, CorpusSize], Corpus]


TEXTS = MappingProxyType(
    {
        "ptb": Text(
            size=WHOLE_PTB,
            needs="Penn Treebank, 5.7 MiB: ptb/ptb.{train,valid,test}.txt below AUTODROPOUT_DATA",
            check=check_ptb,
            load=load_ptb,
        ),
        "wikitext-2": Text(
            size=WHOLE_WIKITEXT2,
            needs="WikiText-2, 12.6 MiB: wikitext-2/wiki.{train,valid,test}.tokens below AUTODROPOUT_DATA",
            check=check_wikitext2,
            load=load_wikitext2,
        ),
    }
)


@dataclass(frozen=True, kw_only=True)
class XlTask(LanguageTask):
    """Language modelling with a Transformer-XL on a whole text.

    Reward = 80 / validation perplexity, as in the paper; the test's perplexity is recorded only. It is for a
    GPU: the paper states 40 minutes on four TPU v2 chips for 160,000 steps. On a CPU it is trained, too.

    Attributes:
        name: Word for it on the command line.
        summary: One line: data, model, reward.
        seconds: About how long a trial takes: the paper's figure for its four chips, scaled to the steps. It
            has not been measured with this code.
        text: What is read.
        recipe: Model and training.
        data: Folder of data sets; None for the one that the environment variable ``AUTODROPOUT_DATA`` names.
        saving: Where a training keeps its checkpoint; None keeps none.
    """

    budget: ClassVar[Budget] = Budget(trials=512, batch=16, confirm_top=4, confirm_seeds=2)
    baselines: ClassVar[tuple[Baseline, ...]] = language_baselines(Ends(embedding="embedding", final="final"))

    summary: str
    seconds: float
    text: TextName
    recipe: XlRecipe
    data: str | None = None
    saving: Saving | None = None

    @property
    def needs(self) -> str:
        """One line: which data it needs."""
        return TEXTS[self.text].needs

    def check(self) -> None:
        """Look for the files of the text."""
        TEXTS[self.text].check(self.data)

    def keeping(self, saving: Saving) -> Self:
        """Return the task with trainings that keep a checkpoint there and go on from it."""
        return replace(self, saving=saving)

    def train(self, prepare: Prepare, seed: int) -> Result:
        """Train one network and return 80 / validation perplexity."""
        text = TEXTS[self.text]
        return self.recipe.train(text.load(self.data, text.size), prepare, seed, self.saving)


_PTB = XlRecipe(size=XlSize(vocabulary=WHOLE_PTB.vocabulary))

PTB_TXL = XlTask(
    name="ptb-txl",
    summary="Penn Treebank, Transformer-XL (24 million), 160,000 steps, 80 / validation perplexity",
    seconds=2400.0,
    text="ptb",
    recipe=_PTB,
)
PTB_TXL_FINAL = XlTask(
    name="ptb-txl-final",
    summary="ptb-txl for 300,000 steps, as the paper trains the policy that it found",
    seconds=4500.0,
    text="ptb",
    recipe=replace(_PTB, steps=300_000),
)
WIKITEXT2_TXL = XlTask(
    name="wikitext2-txl",
    summary="WikiText-2, the network of ptb-txl, 300,000 steps, 80 / validation perplexity",
    seconds=4500.0,
    text="wikitext-2",
    recipe=XlRecipe(size=XlSize(vocabulary=WHOLE_WIKITEXT2.vocabulary), steps=300_000),
)
XL_TASKS = (PTB_TXL, PTB_TXL_FINAL, WIKITEXT2_TXL)
