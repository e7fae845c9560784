"""A corpus of 16 sentences and the task multi30k-de-en on it, a training of which takes no time."""

from dataclasses import replace

from autodropout.data.parallel import ParallelFiles
from autodropout.data.subwords import SubwordSettings
from autodropout.models.transformer_blocks import TransformerSize
from autodropout.tasks.translation.corpus import CorpusSettings
from autodropout.tasks.translation.named import MULTI30K_DE_EN

TOY_SIZE = TransformerSize(layers=1, width=8, heads=2, hidden=16)

_NOUNS = {"Hund": "dog", "Vogel": "bird", "Fisch": "fish", "Stuhl": "chair"}
_VERBS = {"singt": "sings", "schwimmt": "swims", "steht": "stands", "fällt": "falls"}
_FILES = ParallelFiles(
    title="Toy",
    folder="toy",
    source="de",
    target="en",
    names=("train", "val", "test"),
    advice="the files",
    checksums={},
)


def write_toy(folder):
    """Write the corpus, all parts the same, into a folder of data sets."""
    both = [(f"Ein {n} {v}.", f"A {_NOUNS[n]} {_VERBS[v]}.") for n in _NOUNS for v in _VERBS]
    (folder / "toy").mkdir()
    for name in _FILES.names:
        for language, side in (("de", 0), ("en", 1)):
            text = "\n".join(pair[side] for pair in both)
            (folder / "toy" / f"{name}.{language}").write_text(text, encoding="utf8")


def toy(folder):
    """Return the task on the corpus in this folder."""
    recipe = replace(
        MULTI30K_DE_EN.recipe,
        size=TOY_SIZE,
        corpus=CorpusSettings(subwords=SubwordSettings(size=60), longest=20),
        steps=6,
        batch_tokens=100,
        measurements=2,
    )
    return replace(MULTI30K_DE_EN, files=_FILES, recipe=recipe, data=str(folder))
