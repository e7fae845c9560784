"""Translation by name: the paper's two transfers, and both at a size for a single core."""

from dataclasses import dataclass, replace
from typing import ClassVar, Self

from autodropout.data import multi30k
from autodropout.data.files import data_folder
from autodropout.data.parallel import ParallelFiles
from autodropout.data.subwords import SubwordSettings, check_tokenizers
from autodropout.models.transformer_blocks import BASE, IWSLT, TransformerSize
from autodropout.result import Result
from autodropout.tasks.base import Baseline, Budget, Figure, Prepare
from autodropout.tasks.saving import Saving
from autodropout.tasks.text.task import TextTask
from autodropout.tasks.translation.baselines import translation_baselines
from autodropout.tasks.translation.bleu import check_sacrebleu, signature
from autodropout.tasks.translation.corpus import CorpusSettings, load_translation
from autodropout.tasks.translation.recipe import TranslationRecipe


@dataclass(frozen=True, kw_only=True)
class TranslationTask(TextTask):
    """Translation with an encoder-decoder Transformer.

    Reward = 80 / validation perplexity; the test's BLEU and perplexity are recorded only. A search needs many
    rewards, and BLEU wants beam search for each, moves in larger steps than perplexity, and is near 0 for all
    that is trained briefly.

    Attributes:
        name: Word for it on the command line.
        text: One line: data, model.
        needs: One line: which data it needs.
        seconds: About how long a trial takes. That of ``iwslt14-de-en`` is an estimate, that of
            ``wmt14-en-fr`` what Vaswani et al. report, 12 hours on eight P100, for one of them; neither has
            been measured with this code.
        files: Where the text lies.
        recipe: Model and training.
        budget: What a search spends by default.
        data: Folder of data sets; None for the one that the environment variable ``AUTODROPOUT_DATA`` names.
        saving: Where a training keeps its checkpoint; None keeps none.
    """

    baselines: ClassVar[tuple[Baseline, ...]] = translation_baselines()

    text: str
    needs: str
    seconds: float
    files: ParallelFiles
    recipe: TranslationRecipe
    budget: Budget
    data: str | None = None
    saving: Saving | None = None

    @property
    def summary(self) -> str:
        """One line: data, model, reward, and which BLEU is recorded."""
        return f"{self.text}, 80 / validation perplexity; BLEU {self.signature}"

    @property
    def signature(self) -> str:
        """What sacrebleu says about the BLEU of this task."""
        return signature(self.recipe.tokenisation)

    @property
    def figure(self) -> Figure:
        """What is compared on held-out data: the test's BLEU, 0 for what diverged."""
        return Figure(name="bleu", higher_is_better=True, floor=0.0)

    @property
    def key(self) -> str:
        """What figures on this task are comparable under: the name and the signature of BLEU."""
        return f"{self.name} (BLEU {self.signature})"

    def check(self) -> None:
        """Look for the files and for the libraries for text."""
        self.files.check(data_folder(self.data))
        check_tokenizers()
        check_sacrebleu()

    def keeping(self, saving: Saving) -> Self:
        """Return the task with trainings that keep a checkpoint there and go on from it."""
        return replace(self, saving=saving)

    def train(self, prepare: Prepare, seed: int) -> Result:
        """Train one network and return 80 / validation perplexity."""
        folder = data_folder(self.data).absolute()
        corpus = load_translation(self.files, folder, self.recipe.corpus)
        return self.recipe.train(corpus, prepare, seed, self.saving)


IWSLT14_DE_EN = TranslationTask(
    name="iwslt14-de-en",
    text="IWSLT-14 German to English, Transformer (37 million), 50,000 steps",
    needs="IWSLT-14, 160,000 pairs, tokenised: iwslt14.de-en/{train,valid,test}.{de,en} in AUTODROPOUT_DATA",
    seconds=10_800.0,
    files=ParallelFiles(
        title="IWSLT-14",
        folder="iwslt14.de-en",
        source="de",
        target="en",
        names=("train", "valid", "test"),
        advice="train, valid and test, each as .de and .en, tokenised and in lower case but not cut into "
        "subwords, as the usual preparation, examples/translation/prepare-iwslt14.sh of "
        "https://github.com/facebookresearch/fairseq, leaves them in iwslt14.tokenized.de-en/tmp/ (it "
        "fetches de-en.tgz of WIT3, https://wit3.fbk.eu, and Moses's scripts; where the archive has moved, "
        "fetch it by hand),",
        checksums={},
    ),
    recipe=TranslationRecipe(
        size=IWSLT,
        corpus=CorpusSettings(subwords=SubwordSettings(size=10_000, split_punctuation=False)),
        steps=50_000,
        batch_tokens=4096,
        learning_rate=5e-4,
        warmup=4000 / 50_000,
        weight_decay=1e-4,
        beams=5,
        tokenisation="none",
        measurements=20,
    ),
    budget=Budget(trials=128, batch=8, confirm_top=4, confirm_seeds=2),
)
"""The paper's third transfer: 34.4 BLEU with its default dropout, 35.8 with the policy from Penn Treebank."""

WMT14_EN_FR = TranslationTask(
    name="wmt14-en-fr",
    text="WMT-14 English to French, base Transformer (61 million), 100,000 steps",
    needs="WMT-14, 36 million pairs, tokenised: wmt14.en-fr/{train,valid,test}.{en,fr} in AUTODROPOUT_DATA",
    seconds=345_600.0,
    files=ParallelFiles(
        title="WMT-14 En-Fr",
        folder="wmt14.en-fr",
        source="en",
        target="fr",
        names=("train", "valid", "test"),
        advice="train, valid and test (newstest2014), each as .en and .fr, tokenised but not cut into "
        "subwords, as the usual preparation, examples/translation/prepare-wmt14en2fr.sh of "
        "https://github.com/facebookresearch/fairseq, leaves them in wmt14_en_fr/tmp/ (it fetches the "
        "corpora of https://statmt.org/wmt14/translation-task.html and Moses's scripts), train and valid "
        "without empty and overlong lines, which Moses's clean-corpus-n.perl takes out,",
        checksums={},
    ),
    recipe=TranslationRecipe(
        size=BASE,
        corpus=CorpusSettings(subwords=SubwordSettings(size=32_000, split_punctuation=False)),
        steps=100_000,
        batch_tokens=25_000,
        learning_rate=(512 * 4000) ** -0.5,
        warmup=4000 / 100_000,
        tokenisation="none",
        measurements=20,
    ),
    budget=Budget(trials=128, batch=8, confirm_top=4, confirm_seeds=2),
)
"""The paper's fourth transfer, 38.1 BLEU with dropout and 40.0 with the policy from Penn Treebank."""

MULTI30K_DE_EN = TranslationTask(
    name="multi30k-de-en",
    text="2,000 captions of Multi30k, German to English, small Transformer",
    needs="Multi30k, 2 MiB: multi30k/{train,val,test_2016_flickr}.{de,en}.gz below AUTODROPOUT_DATA",
    seconds=90.0,
    files=multi30k.MULTI30K,
    recipe=TranslationRecipe(
        size=TransformerSize(layers=1, width=96, heads=4, hidden=192),
        corpus=CorpusSettings(subwords=SubwordSettings(size=1000), num_train=2000, longest=100),
        steps=800,
        batch_tokens=1000,
        learning_rate=4e-3,
        schedule="cosine",
        warmup=0.1,
        clip_norm=1.0,
        tokenisation="13a",
        device="cpu",
    ),
    budget=Budget(trials=128, batch=8, confirm_top=8, confirm_seeds=4),
)
"""The same transfer at a size for one core; the test set is Flickr's of 2016."""

MULTI30K_EN_FR = replace(
    MULTI30K_DE_EN,
    name="multi30k-en-fr",
    text="2,000 captions of Multi30k, English to French, small Transformer",
    needs="Multi30k, 2 MiB: multi30k/{train,val,test_2016_flickr}.{en,fr}.gz below AUTODROPOUT_DATA",
    files=multi30k.MULTI30K_EN_FR,
)
"""The paper's other pair of languages at that size: the same captions, model and training."""

TRANSLATION_TASKS = (IWSLT14_DE_EN, WMT14_EN_FR, MULTI30K_DE_EN, MULTI30K_EN_FR)
