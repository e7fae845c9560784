import pytest

from autodropout.engine.bookkeeping import read_state, write_state
from autodropout.errors import LedgerError


def test_a_state_round_trips():
    state = {"updates": 3, "trials": [[[0, 1], 0.1]]}
    assert (
        read_state(write_state("some", state), "some", ("updates", "trials")) == {"searcher": "some"} | state
    )


@pytest.mark.parametrize(
    "snapshot", [b'"some"', b'{"searcher":"other","updates":1}', b'{"searcher":"some"}', b'{"updates":1}']
)
def test_refuses_other_states(snapshot):
    with pytest.raises(LedgerError) as caught:
        read_state(snapshot, "some", ("updates",))
    assert str(caught.value) == ("the searcher's snapshot is not of the searcher 'some'; replay its updates")


def test_refuses_what_is_no_json():
    with pytest.raises(LedgerError, match=r"^the searcher's snapshot is damaged \(.+\); replay its updates$"):
        read_state(b"\xff\xff", "some", ("updates",))
