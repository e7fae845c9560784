"""What a comparison of searchers is to do."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from autodropout.benchmark.simulating import Setup
from autodropout.benchmark.variants import Variant
from autodropout.engine.confirm import Confirmation
from autodropout.errors import UsageError
from autodropout.space import Space

REFERENCE = "random"
"""The variant that all others are compared with."""

_CHUNK = 50
_CONFIRM = Confirmation()


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """Some repetitions of one variant, small enough to be one of many.

    Attributes:
        variant: Who searches.
        setup: How.
        repetitions: Which repetitions.
    """

    variant: Variant
    setup: Setup
    repetitions: tuple[int, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """A comparison of searchers.

    Attributes:
        variants: Who searches; ``random``, as it is, is always among them, and comes first.
        budgets: Trials of a search, rising.
        repetitions: Searches per variant and budget.
        capacity: Trials under way at a time; 3 is what two workers have.
        confirm: How a search ends.
        every: Trials between two points of a curve.
        seed: What all randomness follows from.
        common_seed: Whether all trials of a search have the same seed.

    Raises:
        UsageError: A value is out of range, or two variants have the same name.
    """

    variants: Sequence[Variant]
    budgets: tuple[int, ...] = (64, 128, 256, 512)
    repetitions: int = 200
    capacity: int = 3
    confirm: Confirmation = field(default=_CONFIRM)
    every: int = 16
    seed: int = 0
    common_seed: bool = False

    def __post_init__(self) -> None:
        for name, least in (("repetitions", 2), ("capacity", 1), ("every", 1), ("seed", 0)):
            if getattr(self, name) < least:
                raise UsageError(f"{name} is {getattr(self, name)}; expected at least {least}")
        if not isinstance(self.common_seed, bool):
            raise UsageError(f"common_seed is {self.common_seed!r}; expected True or False")
        rising = list(self.budgets) == sorted(set(self.budgets))
        if not self.budgets or not rising or min(self.budgets) < 1:
            raise UsageError(f"trials are {list(self.budgets)}; expected one or more numbers >= 1, rising")
        others = [variant for variant in self.variants if variant.name != REFERENCE]
        names = [variant.name for variant in others]
        if twice := sorted({name for name in names if names.count(name) > 1}):
            raise UsageError(f"the searcher {twice[0]!r} stands twice; give each a name of its own")
        reference = Variant(name=REFERENCE, searcher=REFERENCE)
        object.__setattr__(self, "variants", (reference, *others))

    def repetitions_of(self, variant: Variant) -> int:
        """Return how many searches a variant has per budget."""
        return min(variant.repetitions or self.repetitions, self.repetitions)

    def runs(self, variant: Variant, space: Space) -> Mapping[int, tuple[int, ...]]:
        """Return the budgets that one run serves, by the trials of that run.

        A searcher that plans for its number of trials is run for each; of one that does not, a search of
        64 trials is the beginning of one of 512.

        Raises:
            UsageError: The searcher does not take its settings.
        """
        by_settings: dict[str, list[int]] = {}
        for trials in self.budgets:
            settings = repr(sorted(variant.make(space, seed=0, trials=trials).settings.items()))
            by_settings.setdefault(settings, []).append(trials)
        return {max(budgets): tuple(budgets) for budgets in by_settings.values()}

    def jobs(self, variant: Variant, space: Space, workers: int) -> list[Job]:
        """Return the jobs of a variant, long ones first.

        Raises:
            UsageError: The searcher does not take its settings.
        """
        number = self.repetitions_of(variant)
        chunk = min(_CHUNK, -(-number // workers))
        chunks = [tuple(range(start, min(start + chunk, number))) for start in range(0, number, chunk)]
        return [
            Job(variant=variant, setup=self._setup(variant, trials, budgets), repetitions=repetitions)
            for trials, budgets in sorted(self.runs(variant, space).items(), reverse=True)
            for repetitions in chunks
        ]

    def _setup(self, variant: Variant, trials: int, budgets: tuple[int, ...]) -> Setup:
        return Setup(
            trials=trials,
            capacity=variant.capacity or self.capacity,
            confirm=self.confirm,
            looks=tuple(sorted({*range(self.every, trials + 1, self.every), *budgets})),
            budgets=budgets,
            seed=self.seed,
            common_seed=self.common_seed if variant.common_seed is None else variant.common_seed,
        )
