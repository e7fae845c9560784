"""What a landscape is made of: policies that are set by hand, and searches, by a task's kind of space."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import product

from autodropout.conv_space import ConvSpace
from autodropout.engine.base import Proposal, Scored
from autodropout.engine.bookkeeping import check_number, figures_of, read_state, write_state
from autodropout.engine.confirm import Confirmation
from autodropout.engine.halving import Halving
from autodropout.errors import UsageError
from autodropout.pattern import TokenPattern
from autodropout.policy import Policy
from autodropout.space import PAD, Choice, Value
from autodropout.tasks.base import Task
from autodropout.token_space import TokenSpace

Space = TokenSpace | ConvSpace


@dataclass(frozen=True, slots=True, kw_only=True)
class Listed:
    """A searcher that proposes what it is given, one after the other, and learns nothing.

    Attributes:
        name: What the ledger calls it.
        listed: Tokens to propose.
    """

    name: str
    listed: tuple[tuple[int, ...], ...]

    @property
    def batch(self) -> int:
        """All at once."""
        return len(self.listed)

    @property
    def settings(self) -> Mapping[str, object]:
        """Which ones, so that another list is another study."""
        return {"listed": [list(tokens) for tokens in self.listed]}

    def propose(self, draw: int) -> tuple[Proposal, ...]:  # noqa: ARG002
        """Return all of them, whatever the draw."""
        return tuple(Proposal(tokens=tokens, log_prob=None) for tokens in self.listed)

    def learn(self, trials: Sequence[Scored]) -> Mapping[str, float]:
        """Return the mean reward."""
        check_number(trials, self.batch)
        return figures_of(trials, 1)

    def snapshot(self) -> bytes:
        """Return an empty state."""
        return write_state(self.name, {})

    def restore(self, snapshot: bytes) -> None:
        """Check that the state is of such a searcher."""
        read_state(snapshot, self.name, ())


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """One study of the landscape.

    Attributes:
        name: Of its directory.
        searcher: Word for who searches, or what is tried.
        trials: Search trials.
        seed: Of the study; parts of one seed train on the same seeds.
        confirm: How it ends; None does not confirm.
        space: What is searched; None for what the landscape is over.
        common_seed: Whether all search trials have one seed.
        halving: How budgets grow; None for full trainings.
        warm_start: Name of an earlier part that it learns from first; None for none.
    """

    name: str
    searcher: str | Listed
    trials: int
    seed: int
    confirm: Confirmation | None = None
    space: TokenSpace | None = None
    common_seed: bool = False
    halving: Halving | None = None
    warm_start: str | None = None


HAND, STRONG = "hand", "hand-strong"
REMEDIED = "reinforce-remedied"

STRONGER = TokenSpace.wide(("softmax", "value", "output"), rates=(0.6, 0.7, 0.8))
"""Roles that bear more than the standard space has: a single role is to be seen at its best."""

WAYS = ((1, False, False), (1, False, True), (4, True, False), (4, True, True), ("whole", True, False))
"""Size, share_t and share_c of what is swept by hand: units, words, blocks, spans, whole sequences."""

PLAIN: Mapping[str, Value] = {
    "repeat": "fill",
    "rotate": 0.0,
    "shear_x": 0.0,
    "shear_y": 0.0,
    "residual": False,
}
"""Of tiles that are swept by hand: upright, all over the map, off the shortcut."""


def _searches(searcher: str, seeds: Sequence[int] = (1, 2, 3)) -> tuple[Part, ...]:
    return tuple(
        Part(name=f"{searcher}-{seed}", searcher=searcher, trials=128, seed=seed, confirm=Confirmation())
        for seed in seeds
    )


TOKEN_PARTS = (
    Part(name="random-biased", searcher="random-biased", trials=240, seed=0),
    *_searches("random"),
    *_searches("reinforce"),
    *_searches("evolution"),
)
"""What is searched over roles, between what is set by hand and the repeats."""

MAP_PARTS = (*_searches("random"), *_searches("reinforce", seeds=(1,)))
"""What is searched over feature maps: mostly by chance, since such trials say most of every choice."""


def by_hand_of(task: Task) -> tuple[Part, ...]:
    """Return the parts that are set by hand, which come first."""
    space = wide(task)
    hand = _by_hand(HAND, space)
    return (hand,) if isinstance(space, ConvSpace) else (hand, _by_hand(STRONG, STRONGER))


def searches_of(task: Task) -> tuple[Part, ...]:
    """Return the parts that are searched."""
    return MAP_PARTS if isinstance(wide(task), ConvSpace) else TOKEN_PARTS


def wide(task: Task) -> Space:
    """Return what the landscape is over.

    On roles all kinds of values, so that narrower spaces can be judged by it; on feature maps the task's own
    space, which has all of the paper's choices.

    Raises:
        UsageError: The task's space is of another kind.
    """
    space = task.space()
    if isinstance(space, TokenSpace):
        return TokenSpace.wide(space.sites)
    if isinstance(space, ConvSpace):
        return space
    raise UsageError(f"{task.name} has a {type(space).__name__}; landscapes are over roles or feature maps")


def remedies(task: Task) -> tuple[Part, ...]:
    """Return what may find better policies than REINFORCE did in the landscape.

    Raises:
        UsageError: The task is not searched over roles.
    """
    space = task.space()
    if not isinstance(space, TokenSpace):
        raise UsageError(f"{task.name} is searched over feature maps; the remedies are for tasks on roles")
    return tuple(
        replace(part, name=f"{REMEDIED}-{part.seed}", space=space, common_seed=True)
        for part in _searches("reinforce")
    )


def by_hand(name: str, space: Space) -> Listed:
    """Return no dropout at all, and what is swept by hand.

    Over roles: each alone with every rate and five ways to share coins. Over feature maps: upright tiles of
    every size and stride that fill the map, shared by channels or not, at each site alone and at all of them.
    """
    swept = _roles(space) if isinstance(space, TokenSpace) else _maps(space)
    return Listed(name=name, listed=tuple(dict.fromkeys((space.encode(Policy({})), *swept))))


def _by_hand(name: str, space: Space) -> Part:
    listed = by_hand(name, space)
    own = space if isinstance(space, TokenSpace) else None
    return Part(name=name, searcher=listed, trials=listed.batch, seed=0, confirm=Confirmation(), space=own)


def _roles(space: TokenSpace) -> Iterator[tuple[int, ...]]:
    for key, choices in space.site_choices.items():
        for size, share_t, share_c in WAYS:
            for rate in choices[-1].values:
                pattern = TokenPattern(size=size, share_t=share_t, share_c=share_c, rate=rate)
                yield space.encode(Policy({key: pattern}))


def _maps(space: ConvSpace) -> Iterator[tuple[int, ...]]:
    sites = space.site_choices
    most = max(len(choices[0].values) for choices in sites.values())
    for where in (*((site,) for site in sites), tuple(sites)):
        for size, stride, share_c in product(range(1, most), space.strides, (False, True)):
            chosen = {**PLAIN, "stride": stride, "share_c": share_c}
            groups = (
                _tile(choices, size, chosen) if site in where else (PAD,) * len(choices)
                for site, choices in sites.items()
            )
            tokens = tuple(token for group in groups for token in group)
            yield space.encode(space.decode(tokens))  # strides that round alike are one policy


def _tile(choices: Sequence[Choice], size: int, chosen: Mapping[str, Value]) -> Iterable[int]:
    """Return the tokens of a site whose tile has its size-th side, or the largest there is."""
    first, *others = choices
    values = (choice.values.index(chosen[choice.name]) for choice in others)
    return (min(size, len(first.values) - 1), *values)
