"""The known kinds of dropout on encoder-decoder Transformers, each with one strength to tune."""

from autodropout.tasks.base import Baseline
from autodropout.tasks.text.token_baselines import transformer_baselines

_EMBEDDED = ("encoder.embedded", "decoder.embedded")
_R_DROP_WEIGHT = 5.0
"""The weight of Liang et al. in translation."""


def translation_baselines() -> tuple[Baseline, ...]:
    """Return the known methods for an ``EncoderDecoder``: ``transformer_baselines``.

    ``dropout`` stands where Vaswani et al. (2017, section 5.4) have it: on the end of every residual branch,
    and on the sums of embeddings and places of both sides. ``variational-dropout`` stands at the same places,
    one draw for all tokens of a sentence; ``word-dropout`` drops embedded tokens of both sides.
    """
    return transformer_baselines(embedded=_EMBEDDED, final=(), r_drop=_R_DROP_WEIGHT)
