"""The zoo: every entry loads and applies, and is what experiments/zoo.py writes."""

import json
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import pytest
import timm
import torch
import torchvision
from timm.models.resnet import Bottleneck, ResNet
from torch import nn

import autodropout as ad
import zoo as experiment
import zoo_found
from autodropout import zoo
from autodropout.cli import main
from autodropout.engine.study import Study
from autodropout.errors import PatternError, UsageError
from autodropout.models.decoder import Decoder
from autodropout.models.digits_net import DigitsNet
from autodropout.policy import Policy
from autodropout.tasks.registry import TASKS
from autodropout.zoo.entries import from_text, to_text

ROOT = Path(__file__).parents[2]
IMAGES = torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))
CARDS = [zoo.card(name) for name in zoo.names()]
FOUND = [card for card in CARDS if card.kind == "found"]


def model_of(fits):
    """Return a model that the card speaks of, and an input."""
    if "digits" in fits:
        return DigitsNet(8), torch.randn(2, 1, 8, 8)
    if "resnet50" in fits:
        return torchvision.models.resnet50(num_classes=3), IMAGES
    tokens = torch.zeros(2, 8, dtype=torch.int64)
    return Decoder(vocabulary=20, context=8, layers=2, width=16, heads=2), tokens


@pytest.mark.parametrize("name", zoo.names())
def test_each_is_found_applies_fires_and_goes(name):
    policy, card = ad.zoo.load(name), ad.zoo.card(name)
    assert card.name == name
    model, inputs = model_of(card.fits)
    before = {key: value.clone() for key, value in model.state_dict().items()}
    with ad.apply(model, policy) as applied:
        model.train()(inputs)
        assert applied.silent_sites() == ()
        model.load_state_dict(before)
        assert len(applied.layers) >= len(policy.sites)
    assert list(model.state_dict()) == list(before)


def by_timm():
    """timm's ResNet-50 with an eighth of its width."""
    net = ResNet(
        Bottleneck, [3, 4, 6, 3], num_classes=3, stem_width=8, base_width=8, channels=(8, 16, 32, 64)
    )
    return net, {"x": IMAGES}


def of_timm():
    small = {"img_size": 32, "embed_dim": 16, "num_heads": 2, "depth": 2, "num_classes": 3}
    return timm.create_model("vit_tiny_patch16_224", **small), {"x": torch.randn(2, 3, 32, 32)}


def of_hugging_face():
    from tiny_transformers import TINY  # skips what needs it where transformers is missing

    return TINY["bert"].build(), TINY["bert"].batch()


def of_torch():
    layer = nn.TransformerEncoderLayer(16, 2, 32, dropout=0.0, batch_first=True)
    return nn.TransformerEncoder(layer, 2), {"src": torch.randn(2, 6, 16)}


ELSEWHERE = [
    *((by_timm, name) for name in zoo.names() if "timm's resnet50" in zoo.card(name).fits),
    *(
        (made, name)
        for made in (of_timm, of_hugging_face, of_torch)
        for name in ("ptb-small", "ptb-small-random-3", "transformer-variational-and-words")
    ),
]
"""Networks of the libraries that the cards name, each with policies for it."""


@pytest.mark.parametrize(("made", "name"), ELSEWHERE, ids=lambda part: getattr(part, "__name__", part))
def test_what_a_card_names_takes_its_policy(made, name):
    torch.manual_seed(0)
    model, inputs = made()
    policy = zoo.load(name)
    with ad.apply(model, policy) as applied:
        model.train()(**inputs)
        assert applied.silent_sites() == ()
        assert len(applied.layers) >= len(policy.sites)
    assert not [name for name, _ in model.named_modules() if "_autodropout" in name]


def test_loading_needs_no_network_and_unpickles_nothing():
    code = """
import sys

def refuse(event, args):
    if event.startswith(("socket.", "pickle.", "urllib.")):
        raise PermissionError(event)

sys.addaudithook(refuse)
from autodropout import zoo

found = [(zoo.card(name), zoo.load(name)) for name in zoo.names()]
assert "torch" not in sys.modules
import pickle, socket

for forbidden in (socket.socket, lambda: pickle.loads(pickle.dumps(found[0][1]))):
    try:
        forbidden()
    except PermissionError:
        print("refused")
print(len(found))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stdout.split() == ["refused", "refused", str(len(zoo.names()))], done.stderr


def test_stochastic_depth_rises_linearly_to_one_half():
    rates = [pattern.rate for _, pattern in sorted(ad.zoo.load("stochastic-depth-resnet50").sites.items())]
    assert rates == pytest.approx([0.5 * block / 16 for block in range(1, 17)])


def test_the_papers_finding_on_resnet50_is_what_its_sentence_says():
    """Noise in the first and the last bottleneck only, of different patterns, turned in the first only."""
    policy = zoo.load("resnet50-first-and-last")
    with torch.device("meta"):
        net = TASKS["imagenet-resnet50"].model()
    bottlenecks = [name for name, module in net.named_modules() if type(module).__name__ == "Bottleneck"]
    assert len(bottlenecks) == 16
    places = {site.rpartition(".")[0]: pattern for site, pattern in policy.sites.items()}
    assert list(places) == [bottlenecks[0], bottlenecks[-1]]
    first, last = places.values()
    assert (first.height, first.width, first.stride) != (last.height, last.width, last.stride)
    assert first.rotate > 0.0
    assert last.rotate == 0.0


@pytest.mark.parametrize("name", ["imagenet-resnet50", "imagenet-resnet50-half"])
def test_the_papers_finding_fits_the_tasks_resnet50_whole_and_of_half_the_width(name):
    net = TASKS[name].model()
    with ad.apply(net, zoo.load("resnet50-first-and-last")) as applied:
        net.train()(IMAGES)
        assert applied.silent_sites() == ()
        assert list(applied.layers) == ["layer1.0.bn3", "layer4.2.bn3"]


def test_dropblock_drops_a_tenth_of_the_maps_of_the_last_two_stages():
    patterns = ad.zoo.load("dropblock-resnet50").sites
    assert patterns["layer3.*.bn3"].drop_rate(14, 14) == pytest.approx(0.1)
    assert patterns["layer4.*.bn3"].drop_rate(7, 7) == pytest.approx(0.1)
    assert {(p.height, p.width, p.repeat) for p in patterns.values()} == {(7, 7, 1)}


def test_found_policies_say_how_they_did():
    for card in FOUND:
        assert card.evidence.p < 0.05
        assert card.evidence.low > 0 if card.evidence.higher_is_better else card.evidence.high < 0
        own = {"digits": "policy", "ptb-small": "reinforce-1"}
        assert card.evidence.arms[-1].name == own.get(
            card.name, card.name.removeprefix(f"{card.searched.task}-")
        )
        assert card.evidence.against in {arm.name for arm in card.evidence.arms}
        *others, own = card.evidence.arms
        assert (own.behind, own.p) == (None, None)
        (best,) = [arm for arm in others if arm.name == card.evidence.against]
        assert best.behind == (card.evidence.difference, card.evidence.low, card.evidence.high)
        assert all(arm.behind[0] == pytest.approx(own.mean - arm.mean) for arm in others)
        assert all((arm.p < 0.05) == (arm.behind[1] * arm.behind[2] > 0) for arm in others)


def test_all_that_won_are_here():
    """Whatever was measured beside tuned baselines and is better than all that no search found."""
    here, won = {zoo.load(card.name) for card in FOUND}, []
    for file in [*ROOT.glob("results/**/comparison.json"), *ROOT.glob("results/*/confirmed.json")]:
        facts = json.loads(file.read_text(encoding="utf8"))
        if facts.get("tuning"):
            won += [policy for _, policy in winners(file, facts)]
    assert here == set(won)
    assert len(here) == 10


def winners(file, facts):
    sign = 1 if facts["comparison"]["higher_is_better"] else -1
    for arm in facts["comparison"]["arms"]:
        if arm["adjusted_p"] < 0.05 and sign * arm["difference"] > 0:
            name = arm["name"]
            plain = {"policy": facts.get("policy"), "random": (facts.get("random") or {}).get("policy")}.get(
                name
            )
            if plain is not None:
                yield name, Policy.from_json(json.dumps(plain))
            for study in file.parent.glob(f"*/{name}/study.db"):
                yield name, Study(study.parent).confirmed[0].policy


def test_the_page_says_which_did_not_win():
    page = (ROOT / "docs" / "zoo.md").read_text(encoding="utf8")
    lost = "random-1, random-2, evolution-2, reinforce-remedied-3"
    assert f"of the searches on ptb-small {lost} (these, too," in page
    assert not [name for name in zoo.names() if name.startswith(("mnist-small", "cifar10-small"))]


def test_the_package_stays_small():
    assert sum(file.stat().st_size for file in (ROOT / experiment.ENTRIES).iterdir()) < 100_000


def test_the_files_are_what_the_command_writes(tmp_path):
    entries = experiment.run(tmp_path)
    assert {card.name for card, _ in entries} == set(zoo.names())
    for path in (experiment.ENTRIES / f"{name}.json" for name in zoo.names()):
        assert (ROOT / path).read_text(encoding="utf8") == (tmp_path / path).read_text(encoding="utf8")
    page = Path("docs", "zoo.md")
    assert (ROOT / page).read_text(encoding="utf8") == (tmp_path / page).read_text(encoding="utf8")
    for name in zoo.names():
        assert (ROOT / "docs" / "pictures" / f"zoo-{name}.png").is_file()


def test_what_won_nothing_is_left_out(tmp_path, monkeypatch):
    facts = json.loads((ROOT / "results/digits/comparison.json").read_text())
    for arm in facts["comparison"]["arms"]:
        arm["adjusted_p"] = 0.2
    folder = tmp_path / "results" / "digits"
    folder.mkdir(parents=True)
    (folder / "comparison.json").write_text(json.dumps(facts))
    (folder / "best.json").write_text(ad.zoo.load("digits").to_json())
    monkeypatch.setattr(zoo_found, "ROOT", tmp_path)
    with pytest.raises(UsageError, match=r"was not shown to be better than dropblock 0\.05"):
        zoo_found.found(zoo_found.NAMED[0])


@pytest.mark.parametrize(
    ("name", "place", "searcher"),
    [
        ("ptb-small", "studies/reinforce-1", "reinforce"),
        ("ptb-small-random-3", "studies/random-3", "random"),
        ("ptb-small-reinforce-remedied-2", "remedies/reinforce-remedied-2", "reinforce"),
    ],
)
def test_a_search_whose_study_is_committed_says_itself_what_it_was(name, place, searcher):
    card, best = zoo.card(name), Study(ROOT / "results/ptb-small" / place).confirmed[0]
    assert zoo.load(name) == best.policy
    searched = card.searched
    assert (searched.task, searched.searcher, searched.trials) == ("ptb-small", searcher, 128)
    assert (searched.confirmations, searched.reward) == (32, best.reward)
    assert searched.command.startswith("python experiments/landscape.py")


def test_what_chance_found_on_digits_is_the_random_arm_of_the_comparison():
    facts = json.loads((ROOT / "results/digits/comparison.json").read_text(encoding="utf8"))["random"]
    searched = zoo.card("digits-random").searched
    assert zoo.load("digits-random") == Policy.from_json(json.dumps(facts["policy"]))
    assert (searched.trials, searched.confirmations) == (facts["trials"], facts["confirmations"])


@pytest.mark.parametrize("name", ["digits", "ptb-small", "word-dropout"])
def test_text_round_trip(name):
    entry = zoo.card(name), zoo.load(name)
    assert from_text(to_text(*entry)) == entry


def test_errors():
    with pytest.raises(UsageError, match=r"has no policy 'wrd-dropout'; did you mean 'word-dropout'\?"):
        zoo.load("wrd-dropout")
    with pytest.raises(UsageError, match=r"the zoo has no policy '\.\./x'; there are digits, "):
        zoo.card("../x")
    with pytest.raises(PatternError, match="the zoo entry's schema is 2; this autodropout reads schema 1"):
        from_text('{"schema": 2}')
    with pytest.raises(PatternError, match=r"the zoo entry is damaged \(KeyError: 'policy'\)"):
        from_text('{"schema": 1}')
    with pytest.raises(UsageError, match="lacks its search or its evidence"):
        zoo.Card(name="x", kind="found", summary="", fits="", source="")
    with pytest.raises(UsageError, match="kind is 'lucky'; expected one of found, method, words"):
        zoo.Card(name="x", kind="lucky", summary="", fits="", source="")


def group(card):
    others = {"method": "known methods", "words": "after a paper's words"}
    return others.get(card.kind) or f"found on {card.searched.task}"


def test_the_command_line(capsys, tmp_path):
    assert main(["zoo"]) == 0
    out = capsys.readouterr().out
    lines = [line.strip() for line in out.splitlines()]
    headings = ["found on digits", "found on ptb-small", "known methods", "after a paper's words"]
    places = [lines.index(heading) for heading in headings]
    assert places == sorted(places)
    for heading, (first, last) in zip(headings, pairwise([*places, None]), strict=True):
        under = {line.split()[0] for line in lines[first + 1 : last] if line}
        assert {card.name for card in CARDS if heading == group(card)} <= under
    assert main(["zoo", "digits", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["evidence"]["seeds"] == 20
    saved = tmp_path / "mine.json"
    assert main(["zoo", "word-dropout", "--save", str(saved)]) == 0
    assert ad.Policy.load(saved) == zoo.load("word-dropout")
    capsys.readouterr()
    assert main(["show", "word-dropout"]) == 0
    assert "role:ffn" in capsys.readouterr().out
    assert main(["zoo", "--save", str(saved)]) == 2
    assert "--save needs the name of a policy" in capsys.readouterr().err
    assert main(["zoo", "word-dropuot"]) == 2
    assert "did you mean 'word-dropout'?" in capsys.readouterr().err
