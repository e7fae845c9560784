import json
import math
from collections import Counter

import pytest

from autodropout.conv_space import ConvSpace
from autodropout.engine.knobs import STRENGTHS, KnobSearcher
from autodropout.engine.searchers import make_searcher
from autodropout.errors import UsageError
from autodropout.policy import ROLES
from autodropout.token_space import TokenSpace
from contracts.searcher import SearcherContract, batch_of, scored

TOKENS = TokenSpace(sites=ROLES)
MAPS = ConvSpace(sites={f"block{n}": (8, 8) for n in range(12)}, schedule=True)


class TestKnobs(SearcherContract):
    def build(self, space, seed=0):
        return KnobSearcher(space, seed=seed, batch=2)

    def rebuild(self, space, searcher, seed=0):
        settings = json.loads(json.dumps(dict(searcher.settings)))
        return make_searcher("knobs", space, seed=seed, trials=9, settings=settings)


def rates(space, proposal):
    patterns = space.decode(proposal.tokens).sites
    return [p.drop_rate(*space.sites[key] if space is MAPS else ()) for key, p in patterns.items()]


@pytest.mark.parametrize(("space", "counts"), [(TOKENS, 7), (MAPS, 8), (TokenSpace(sites=("ffn",)), 1)])
def test_one_draw_is_the_grid(space, counts):
    proposals = KnobSearcher(space).propose(0)
    assert len(proposals) == 32
    sizes = Counter(len(rates(space, proposal)) for proposal in proposals[: 4 * counts])
    assert set(sizes.values()) == {4}
    assert len(sizes) == counts
    assert {min(sizes), max(sizes)} == {1, len(space.site_choices)}


@pytest.mark.parametrize("space", [TOKENS, MAPS])
def test_the_second_knob_is_the_drop_rate(space):
    searcher = KnobSearcher(space)
    strengths = [strength for _, strength in searcher._grid] * 2
    found = {strength: [] for strength in STRENGTHS}
    for proposal, strength in zip(searcher.propose(0), strengths, strict=False):
        found[strength] += [math.log(rate) for rate in rates(space, proposal)]
    means = [math.exp(sum(found[strength]) / len(found[strength])) for strength in STRENGTHS]
    assert means == sorted(means)
    for strength, mean in zip(STRENGTHS, means, strict=True):
        assert strength / 1.6 < mean < 1.6 * strength


def test_the_order_and_the_sites_are_the_seeds():
    first, second = (KnobSearcher(TOKENS, seed=seed)._grid for seed in (0, 1))
    assert first != second
    assert sorted(first) == sorted(second)


def test_the_next_round_has_the_same_cells_and_fresh_policies():
    searcher = KnobSearcher(TOKENS, batch=28)
    first = batch_of(searcher)
    searcher.learn(scored(first, [0.0] * 28))
    second = batch_of(searcher)
    assert [len(rates(TOKENS, p)) for p in first] == [len(rates(TOKENS, p)) for p in second]
    assert not set(first) & set(second)


def test_refuses_settings_out_of_range():
    with pytest.raises(UsageError, match=r"^batch is 0; expected a whole number >= 1$"):
        KnobSearcher(TOKENS, batch=0)
