import pytest

from autodropout.engine.reinforce_settings import ReinforceSettings
from autodropout.engine.searchers import SEARCHERS, make_searcher
from autodropout.errors import UsageError
from contracts.searcher import SPACES

SPACE = SPACES["token"]


@pytest.mark.parametrize("name", SEARCHERS)
def test_each_name_makes_a_searcher_of_that_name(name):
    searcher = make_searcher(name, SPACE, seed=0, trials=48)
    assert searcher.name == name
    assert len(searcher.propose(0)[0].tokens) == len(SPACE)
    assert make_searcher(name, SPACE, seed=0, trials=48, batch=7).batch == 7


def test_presets():
    ours = make_searcher("reinforce", SPACE, seed=0, trials=512)
    assert ours.batch == 8
    assert ours.settings["learning_rate"] == ReinforceSettings.default(512).learning_rate
    theirs = make_searcher("reinforce-paper", SPACE, seed=0, trials=512)
    assert theirs.batch == 16
    assert theirs.settings["bound"] is None
    assert make_searcher("random", SPACE, seed=0, trials=512).batch == 1


def test_settings_override_the_preset_and_batch_overrides_both():
    searcher = make_searcher(
        "reinforce", SPACE, seed=0, trials=48, batch=6, settings={"batch": 9, "entropy": 0.5}
    )
    assert (searcher.batch, searcher.settings["entropy"]) == (6, 0.5)
    assert make_searcher("random", SPACE, seed=0, trials=48, settings={"biased": True}).settings["biased"]


def test_refuses_an_unknown_name():
    with pytest.raises(
        UsageError,
        match="there is no searcher 'grid'; choose one of reinforce, reinforce-paper, categorical,",
    ):
        make_searcher("grid", SPACE, seed=0, trials=48)
    with pytest.raises(
        UsageError, match=r"'reinfroce'; did you mean 'reinforce'.*\? Choose one of reinforce,"
    ):
        make_searcher("reinfroce", SPACE, seed=0, trials=48)


@pytest.mark.parametrize("name", SEARCHERS)
def test_refuses_unknown_settings(name):
    with pytest.raises(UsageError, match=f"the searcher '{name}' has no setting 'colour'; it has batch"):
        make_searcher(name, SPACE, seed=0, trials=48, settings={"colour": "red"})
    with pytest.raises(UsageError, match=f"'{name}' has no setting 'batsh'; did you mean 'batch'"):
        make_searcher(name, SPACE, seed=0, trials=48, settings={"batsh": 4})
    with pytest.raises(UsageError, match=f"the searcher '{name}' has no setting 'seed'"):
        make_searcher(name, SPACE, seed=0, trials=48, settings={"seed": 4})
