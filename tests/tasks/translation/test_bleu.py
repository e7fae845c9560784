import math

import pytest
from sacrebleu.metrics import BLEU

from autodropout.errors import MissingError
from autodropout.tasks.translation import bleu
from autodropout.tasks.translation.bleu import corpus_bleu, signature

REFERENCES = ["the cat sat on the mat .", "a dog ran , and it barked"]


@pytest.mark.parametrize("tokenisation", ["13a", "none"])
def test_the_signature_is_sacrebleus_own(tokenisation):
    metric = BLEU(tokenize=tokenisation)
    metric.corpus_score(REFERENCES, [REFERENCES])
    assert signature(tokenisation) == str(metric.get_signature())


def test_it_is_the_papineni_formula():
    assert corpus_bleu(REFERENCES, REFERENCES, "none") == pytest.approx(100.0)
    found = corpus_bleu(["the cat sat on a mat ."], REFERENCES[:1], "none")
    precisions = (6 / 7, 4 / 6, 2 / 5, 1 / 4)
    assert found == pytest.approx(100 * math.prod(precisions) ** 0.25)
    short = corpus_bleu(["the cat sat on"], REFERENCES[:1], "none")
    assert short == pytest.approx(100 * math.exp(1 - 7 / 4))


def test_tokenisation_is_what_it_says():
    glued = ["the cat sat on the mat."]
    assert corpus_bleu(glued, REFERENCES[:1], "13a") == pytest.approx(100.0)
    assert corpus_bleu(glued, REFERENCES[:1], "none") < 90


def test_tokenised_text_brings_no_warning(caplog):
    many = [f"word {n} ends here ." for n in range(200)]
    corpus_bleu(many, many, "none")
    assert caplog.text == ""


def test_without_the_library_it_says_what_to_install(monkeypatch):
    monkeypatch.setattr(bleu.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(MissingError) as caught:
        corpus_bleu(REFERENCES, REFERENCES, "13a")
    assert str(caught.value) == (
        "BLEU needs the library sacrebleu; install it with: pip install 'autodropout[translation]'"
    )
    assert signature("13a").endswith("version:none")
