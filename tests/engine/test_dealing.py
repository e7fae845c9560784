import pytest

from autodropout.engine.base import Proposal
from autodropout.engine.dealing import Dealer
from autodropout.errors import StudyError


class Counter:
    name = "counter"

    def __init__(self, sizes):
        self.sizes, self.asked = sizes, []

    def propose(self, draw):
        self.asked.append(draw)
        return tuple(
            Proposal(tokens=(draw, n), log_prob=None) for n in range(self.sizes[draw % len(self.sizes)])
        )


def dealt(dealer, number):
    cards = [dealer.deal() for _ in range(number)]
    assert all(card.proposal.tokens == (card.draw, card.place) for card in cards)
    return [(card.update, card.draw, card.place) for card in cards]


def test_draws_are_dealt_in_order_and_made_when_needed():
    searcher = Counter([2, 1])
    dealer = Dealer(searcher, update=0)
    assert searcher.asked == []
    assert dealt(dealer, 5) == [(0, 0, 0), (0, 0, 1), (0, 1, 0), (0, 2, 0), (0, 2, 1)]
    assert searcher.asked == [0, 1, 2]


def test_an_update_drops_what_is_left():
    dealer = Dealer(Counter([3]), update=4)
    dealt(dealer, 4)
    dealer.learned()
    assert dealt(dealer, 2) == [(5, 0, 0), (5, 0, 1)]


@pytest.mark.parametrize("already", range(7))
def test_it_goes_on_in_the_middle_of_a_draw(already):
    whole = dealt(Dealer(Counter([2, 3]), update=1), 8)
    draw, place = (whole[already - 1][1], whole[already - 1][2] + 1) if already else (0, 0)
    assert dealt(Dealer(Counter([2, 3]), update=1, draw=draw, place=place), 8 - already) == whole[already:]


@pytest.mark.parametrize("sizes", [[0], [1, 0]])
def test_a_searcher_must_propose_something(sizes):
    dealer = Dealer(Counter(sizes), update=0)
    with pytest.raises(StudyError, match=r"the searcher 'counter' proposed nothing; expected at least one"):
        dealt(dealer, 2)
