"""What papers say in words about the policies that they found."""

from autodropout.baselines.points import variational_dropout, word_dropout
from autodropout.policy import Policy

ATTENTION_ROLES = ("query", "key", "value", "output")


def paper_transformer_finding(attention_rate: float, ffn_rate: float) -> Policy:
    """Return AutoDropout's finding for Transformers as far as the paper puts it into words.

    The paper says that the pattern of the attention resembled variational dropout and that of the
    feed-forward layer word dropout (its qualitative analysis of language models). No more of it is published:
    no sizes, strides or rates, and not which parts of the attention. So this is a preset after one sentence
    and not the policy that was found there. Here the attention's linear layers have the one, the feed-forward
    block has the other.

    Args:
        attention_rate: Drop probability of query, key, value and output, for the whole sequence at once.
        ffn_rate: Probability that what the feed-forward block adds to a token is dropped.

    Raises:
        PatternError: A rate is no probability.

    Example:
        >>> sorted(paper_transformer_finding(0.1, 0.1).sites)
        ['role:ffn', 'role:key', 'role:output', 'role:query', 'role:value']
    """
    keys = [f"role:{role}" for role in ATTENTION_ROLES]
    attention = dict.fromkeys(keys, variational_dropout(attention_rate))
    return Policy({**attention, "role:ffn": word_dropout(ffn_rate)})
