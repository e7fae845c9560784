"""Whether a text and a language model are of one vocabulary, looked at once before training."""

from autodropout.data.text import Corpus
from autodropout.errors import UsageError


def check_vocabulary(corpus: Corpus, num_words: int) -> None:
    """Refuse a text that a network cannot read.

    Args:
        corpus: The text.
        num_words: Of the network's vocabulary.

    Raises:
        UsageError: The text has another vocabulary, a token outside its own, or a part without any.
    """
    if len(corpus.vocabulary) != num_words:
        raise UsageError(
            f"the text has a vocabulary of {len(corpus.vocabulary)}, the network one of {num_words}; give "
            "the network the text's"
        )
    for name in ("train", "validation", "test"):
        tokens = getattr(corpus, name)
        if not len(tokens):
            raise UsageError(f"the {name} text has no tokens")
        least, most = int(tokens.min()), int(tokens.max())
        if least < 0 or most >= num_words:
            raise UsageError(
                f"the {name} text has tokens from {least} to {most}; expected 0 to {num_words - 1}, the "
                "vocabulary: was it numbered with another one?"
            )
