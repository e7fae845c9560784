"""The best of many noisy trials is not the best: top policies are run again on fresh seeds."""

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import mean, stdev

from autodropout.engine.ledger_reader import LedgerReader
from autodropout.engine.ledger_records import NewTrial
from autodropout.engine.trial_seeds import trial_seed
from autodropout.errors import UsageError
from autodropout.result import Confirmed
from autodropout.space import Space

Tokens = tuple[int, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Confirmation:
    """How a search ends.

    Attributes:
        top: How many policies are run again: those whose best search trial is best. 0 confirms nothing.
        seeds: Fresh seeds per policy, the same for all of them. Means over fewer seeds are wilder, and
            the wildest would win: so policies that were confirmed before are run on the seeds that they
            lack, and seeds that some of them had are not left out for others.

    Raises:
        UsageError: A number is out of range.
    """

    top: int = 8
    seeds: int = 4

    def __post_init__(self) -> None:
        for name, least in (("top", 0), ("seeds", 1)):
            value = getattr(self, name)
            if not isinstance(value, int) or isinstance(value, bool) or value < least:
                raise UsageError(f"confirm.{name} is {value!r}; expected a whole number of at least {least}")


def confirming(
    reader: LedgerReader, space: Space, confirmation: Confirmation, study_seed: int
) -> list[NewTrial]:
    """Return the trials that the confirmation asks for and the ledger does not have yet.

    They give the same seeds to the top policies and to all that were confirmed before.
    """
    if confirmation.top == 0:
        return []
    before = [(source, tokens, place) for source, tokens, place, _, _ in reader.confirmations()]
    known = {(tokens, place) for _, tokens, place in before}
    sources = {tokens: source for source, tokens in _top(reader, space, confirmation.top)}
    sources |= {tokens: source for source, tokens, _ in before}
    seeds = max([confirmation.seeds, *(place + 1 for _, _, place in before)])
    updates, number = reader.last_update(), reader.next_id()
    new: list[NewTrial] = []
    for tokens, source in sources.items():
        for place in range(seeds):
            if (tokens, place) not in known:
                trial = NewTrial(
                    id=number + len(new),
                    kind="confirm",
                    tokens=tokens,
                    log_prob=None,
                    seed=trial_seed(study_seed, "confirm", place),
                    updates_made=updates,
                    draw=None,
                    place=place,
                    source=source,
                )
                new.append(trial)
    return new


def confirmed(reader: LedgerReader, space: Space) -> tuple[Confirmed, ...]:
    """Return the policies all of whose confirming trials have ended, highest mean first.

    A seed on which the policy diverged or failed counts as the floor; one that the machine lost for good
    counts as nothing.
    """
    runs: dict[Tokens, list[tuple[int, int, float | None, bool]]] = {}
    for source, tokens, place, reward, ended in reader.confirmations():
        runs.setdefault(tokens, []).append((place, source, reward, ended))
    found = []
    for tokens, group in runs.items():
        rewards = [reward for _, _, reward, _ in sorted(group) if reward is not None]
        if rewards and all(ended for *_, ended in group):
            found.append(_summary(space, tokens, group[0][1], rewards))
    return tuple(sorted(found, key=lambda c: (-c.reward, c.trial)))


def unconfirmed_best(reader: LedgerReader, space: Space) -> Confirmed | None:
    """Return the search trial with the highest reward, as a policy with no confirming rewards."""
    for number, tokens, reward in reader.ranked():
        policy = space.decode(tokens)
        return Confirmed(
            policy=policy,
            tokens=space.encode(policy),
            trial=number,
            rewards=(),
            reward=reward,
            spread=None,
        )
    return None


def _top(reader: LedgerReader, space: Space, top: int) -> list[tuple[int, Tokens]]:
    found: dict[Tokens, int] = {}
    for number, tokens, _ in reader.ranked():
        if len(found) == top:
            break
        found.setdefault(space.encode(space.decode(tokens)), number)
    return [(number, tokens) for tokens, number in found.items()]


def _summary(space: Space, tokens: Tokens, source: int, rewards: Sequence[float]) -> Confirmed:
    return Confirmed(
        policy=space.decode(tokens),
        tokens=tokens,
        trial=source,
        rewards=tuple(rewards),
        reward=mean(rewards),  # exact: the sum of large rewards may overflow
        spread=stdev(rewards) if len(rewards) > 1 else None,
    )
