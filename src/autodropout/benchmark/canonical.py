"""One word for each policy: tokens that describe the same patterns are one and the same to a benchmark."""

from collections.abc import Sequence

from autodropout.pattern import Pattern
from autodropout.space import PAD, Space

Tokens = tuple[int, ...]


class Canonical:
    """Turns tokens of a space into the lowest that describe the same policy, and keeps what it found.

    Over feature maps several may: strides that round to the same number of pixels, at a small tile, are one.
    canonical(t) = encode(decode(t)), site by site, because a search asks for few patterns, often.

    Args:
        space: The space that the tokens belong to.
    """

    def __init__(self, space: Space) -> None:
        self._space = space
        self._found: dict[tuple[str, Tokens], Tokens] = {}

    def __call__(self, tokens: Sequence[int]) -> Tokens:
        """Return the policy's lowest tokens, PAD at dead positions."""
        lowest: list[int] = []
        for site, group in self._space.site_choices.items():
            mine = tuple(tokens[len(lowest) : len(lowest) + len(group)])
            if (site, mine) not in self._found:
                alone = self._space.encode(self._space.decode(_alone(self._space, site, mine)))
                self._found[site, mine] = alone[len(lowest) : len(lowest) + len(group)]
            lowest += self._found[site, mine]
        return (*lowest, *tokens[len(lowest) :])


def pattern_of(space: Space, site: str, tokens: Tokens) -> Pattern:
    """Return what the tokens of a site that is on describe.

    Args:
        space: The space that they belong to.
        site: Key of the site.
        tokens: One per choice of the site.
    """
    return space.decode(_alone(space, site, tokens)).sites[site]


def _alone(space: Space, site: str, tokens: Tokens) -> list[int]:
    """Return the tokens of the policy in which all other sites are off."""
    alone: list[int] = []
    for key, group in space.site_choices.items():
        alone += tokens if key == site else [PAD] * len(group)
    return alone + [PAD] * (len(space) - len(alone))
