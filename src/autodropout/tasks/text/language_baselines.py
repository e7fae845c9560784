"""The known kinds of dropout on language models, each with one strength to tune."""

from dataclasses import dataclass

from autodropout.tasks.base import Baseline
from autodropout.tasks.text.token_baselines import transformer_baselines

_R_DROP_WEIGHT = 1.0
"""The weight of Liang et al. in language modelling."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ends:
    """Where a language model begins and ends; modules, by name.

    Attributes:
        embedding: Its output is the embedded tokens.
        final: Its output is what the softmax sees.
    """

    embedding: str
    final: str


def language_baselines(ends: Ends) -> tuple[Baseline, ...]:
    """Return the known methods for a language model whose sites have roles: ``transformer_baselines``.

    ``dropout`` stands where Transformer-XL has it: on the embedded tokens, on the ends of the residual
    branches and before the softmax. ``variational-dropout`` stands at the same places, one draw for all
    tokens of a segment, as Transformer-XL has it on Penn Treebank; ``variational-everywhere`` acts on the
    embedded tokens and on all roles but the attention weights, the residual stream among them, as Gal and
    Ghahramani (2016) drop everywhere in a recurrent network: inputs, states and outputs. (They also drop word
    types; this does not.) The weight of ``r-drop`` is 1.

    Args:
        ends: Of the model.
    """
    return transformer_baselines(embedded=(ends.embedding,), final=(ends.final,), r_drop=_R_DROP_WEIGHT)
