"""Known methods as points of the pattern families, for use in any policy."""

from autodropout.pattern import ConvPattern, TokenPattern


def dropout(rate: float) -> TokenPattern:
    """Return Dropout as a pattern for sequences: one coin per unit.

    On maps no conv pattern tosses a coin per unit: put the module ``Dropout`` there with ``on_sites``.

    Args:
        rate: Drop probability.

    Raises:
        PatternError: ``rate`` is no probability.
    """
    return TokenPattern(size=1, rate=rate)


def spatial_dropout(rate: float) -> ConvPattern:
    """Return SpatialDropout as a pattern: the whole map, one draw per sample and channel.

    Args:
        rate: Drop probability.

    Raises:
        PatternError: ``rate`` is no probability.
    """
    return ConvPattern(height="whole", width="whole", share_c=False, rate=rate)


def stochastic_depth(rate: float) -> ConvPattern:
    """Return Stochastic Depth (one coin per sample) as a pattern for a residual branch's last site.

    Args:
        rate: Drop probability.

    Raises:
        PatternError: ``rate`` is no probability.
    """
    return ConvPattern(height="whole", width="whole", share_c=True, rate=rate)


def word_dropout(rate: float) -> TokenPattern:
    """Return word dropout as a pattern: one coin per token, for all its channels.

    Args:
        rate: Drop probability.

    Raises:
        PatternError: ``rate`` is no probability.
    """
    return TokenPattern(size=1, share_c=True, rate=rate)


def variational_dropout(rate: float) -> TokenPattern:
    """Return variational dropout as a pattern: one coin per channel, for the whole sequence.

    Args:
        rate: Drop probability.

    Raises:
        PatternError: ``rate`` is no probability.
    """
    return TokenPattern(size="whole", share_t=True, rate=rate)
