"""What models of text cost: a training step with a policy and beside torch's encoder, and an evaluation.

Steps are of an eighth of the network for Penn Treebank (two of its 16 layers, an eighth of its vocabulary,
its whole batch of 16 x 70 tokens), so that a round takes seconds; all cases shrink alike. Every figure of a
step is a ratio: each round runs all cases one after the other, on one thread, in processor time, and divides
by the same round's step of the first. An evaluation is that of the whole network on as many random tokens as
a share of the test text has; its time is scaled to the whole text. Translation's steps are of one layer on
each side of the network for IWSLT-14, over as few words, on a batch of 32 pairs of 8 to 20 tokens, padded as
in training; policies leave the padding out. Beam search translates as many sentences by the same network,
untrained, all at once and one after the other; both must find the same translations.

    python benchmarks/text.py [--only language translation] [--rounds 9] [--share 0.1]

writes results/text.json for language models and results/translation.json for translation.
"""

import argparse
import math
import time
from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import cast

import torch
from torch import Tensor, nn

import record
from autodropout.applying import apply
from autodropout.baselines import paper_transformer_finding
from autodropout.data.ptb import WHOLE_PTB
from autodropout.models.beam_search import BeamSettings, padded, translate
from autodropout.models.encoder_decoder import EncoderDecoder
from autodropout.models.memory import Memory
from autodropout.models.transformer_blocks import IWSLT
from autodropout.models.transformer_xl import TransformerXL, XlSize
from autodropout.pattern import TokenPattern
from autodropout.policy import ROLES, Policy
from autodropout.tasks.text.r_drop import token_loss
from autodropout.tasks.text.xl_recipe import XlRecipe
from autodropout.tasks.translation.loss import TranslationLoss
from layers import Run, compared

EIGHTH = XlSize(vocabulary=1_250, layers=2)
BATCH, SEGMENT = 16, 70
PAIRS, SHORTEST, LONGEST = 32, 8, 20
BEAMS = 4
BLOCKS = TokenPattern(size=2, stride=1, share_t=True, rate=0.1)
ALL_BUT_SOFTMAX = Policy({f"role:{role}": BLOCKS for role in ROLES if role != "softmax"})
POLICIES = {
    "the paper's finding": paper_transformer_finding(0.1, 0.1),
    "blocks on all roles but softmax": ALL_BUT_SOFTMAX,
    "blocks on all roles": Policy({f"role:{role}": BLOCKS for role in ROLES}),
}
PARTS = ("language", "translation")
POLICY_TARGET, ENCODER_TARGET, EVALUATION_TARGET = 1.05, 1.0, 300.0


class Encoder(nn.Module):
    """torch's own Transformer as a language model: no memory, no distances, one matrix at both ends.

    Args:
        size: Of the network that it stands beside.
    """

    def __init__(self, size: XlSize) -> None:
        super().__init__()
        self.width = size.width
        self.embedding = nn.Embedding(size.vocabulary, size.width)
        layer = nn.TransformerEncoderLayer(
            size.width, size.heads, size.inner, dropout=0.0, activation="relu", batch_first=True
        )
        self.layers = nn.TransformerEncoder(layer, size.layers, enable_nested_tensor=False)
        self.bias = nn.Parameter(torch.zeros(size.vocabulary))

    def forward(self, tokens: Tensor) -> Tensor:
        """Map (N, T) to the logits of what follows each of the last SEGMENT tokens."""
        mask = nn.Transformer.generate_square_subsequent_mask(tokens.shape[1])
        x = self.embedding(tokens) * math.sqrt(self.width)
        h = self.layers(x, mask=mask, is_causal=True)[:, -SEGMENT:]
        return nn.functional.linear(h, self.embedding.weight, self.bias)


def training(parameters: Iterable[nn.Parameter], forward: Callable[[], Tensor]) -> Run:
    """Return one whole training step."""
    optimizer = torch.optim.Adam(parameters, 1e-5, fused=True)
    labels = torch.randint(EIGHTH.vocabulary, (BATCH, SEGMENT))

    def run() -> None:
        optimizer.zero_grad()
        token_loss(forward(), labels).backward()
        optimizer.step()

    return run


def reading(length: int, policy: Policy | None = None) -> Run:
    """Return a training step of ours whose memory is full."""
    net, memory, tokens = TransformerXL(EIGHTH), Memory(length), segment(SEGMENT)
    if policy is not None:
        apply(net, policy)
    net(tokens, memory)
    return training(net.parameters(), lambda: net(tokens, memory))


def encoding(num_tokens: int) -> Run:
    """Return a training step of torch's encoder on a context of so many tokens."""
    net, tokens = Encoder(EIGHTH), segment(num_tokens)
    return training(net.parameters(), lambda: net(tokens))


def translating(policy: Policy | None = None) -> Run:
    """Return a training step of our encoder-decoder on pairs of unequal lengths."""
    net = EncoderDecoder(vocabulary=EIGHTH.vocabulary, size=replace(IWSLT, layers=1))
    if policy is not None:
        apply(net, policy).follow()
    batch = sentences(), sentences()
    loss = TranslationLoss(smoothing=0.1)
    optimizer = torch.optim.AdamW(net.parameters(), 1e-5, fused=True)

    def run() -> None:
        optimizer.zero_grad()
        loss(net, batch, 0.0).backward()
        optimizer.step()

    return run


def searching(rounds: int, num_sentences: int = PAIRS) -> dict[str, object]:
    """Return the time of beam search in a batch over that of one sentence after the other.

    The network is untrained, so that most translations grow as long as they may: both ways make all steps.
    """
    net = EncoderDecoder(vocabulary=EIGHTH.vocabulary, size=replace(IWSLT, layers=1)).eval()
    source, settings = sentences(num_sentences), BeamSettings(begin=1, end=2, beams=BEAMS, longest=LONGEST)
    alone = [row[row != net.pad][None] for row in source]

    def one_by_one() -> list[list[int]]:
        return [translate(net, sentence, settings)[0] for sentence in alone]

    def in_a_batch() -> list[list[int]]:
        return translate(net, source, settings)

    assert in_a_batch() == one_by_one()
    return compared({"one by one": one_by_one, "in a batch": in_a_batch}, rounds, {"in a batch": 1.0})


def sentences(number: int = PAIRS) -> Tensor:
    """Return random sentences, every length from the shortest to the longest about as often."""
    lengths = [SHORTEST + row % (LONGEST - SHORTEST + 1) for row in range(number)]
    return padded([torch.randint(1, EIGHTH.vocabulary, (length,)).tolist() for length in lengths], 0)


def segment(num_tokens: int) -> Tensor:
    """Return random tokens."""
    return torch.randint(EIGHTH.vocabulary, (BATCH, num_tokens))


def policies(rounds: int, step: Callable[[Policy | None], Run]) -> dict[str, object]:
    """Return the time of a step with a policy over that of one without."""
    runs = {"no policy": step(None), **{name: step(policy) for name, policy in POLICIES.items()}}
    return compared(runs, rounds, dict.fromkeys(POLICIES, POLICY_TARGET))


def beside_the_encoder(rounds: int) -> dict[str, object]:
    """Return the time of our step over that of torch's encoder, for equal and for unequal reach."""
    same = "ours without memory"
    figures = {
        "70 tokens seen by both": compared(
            {"torch's encoder": encoding(SEGMENT), same: reading(0)}, rounds, {same: ENCODER_TARGET}
        )
    }
    cases = {
        "torch's encoder, 140 tokens for 70 that are predicted": encoding(2 * SEGMENT),
        "ours, memory 70": reading(SEGMENT),
        "torch's encoder, 70 tokens": encoding(SEGMENT),
    }
    figures["140 tokens seen by both"] = compared(cases, rounds, {"ours, memory 70": ENCODER_TARGET})
    return cast(dict[str, object], figures)


def evaluation(share: float) -> dict[str, object]:
    """Return the time that the perplexity of a test text takes on one core."""
    recipe = XlRecipe(size=XlSize(), device="cpu")
    net = recipe.model().eval()
    num_tokens = max(recipe.evaluated + 1, round(share * WHOLE_PTB.test))
    perplexity = recipe.perplexity_on(torch.randint(recipe.size.vocabulary, (num_tokens,)))
    began = time.process_time()
    perplexity(net)
    seconds = time.process_time() - began
    return {
        "unit": "seconds of processor time, one thread",
        "tokens measured": num_tokens,
        "seconds measured": seconds,
        "seconds for the whole test text": seconds * WHOLE_PTB.test / num_tokens,
        "target": EVALUATION_TARGET,
    }


def language(rounds: int, share: float) -> dict[str, object]:
    """Return all figures of language models."""
    return {
        "training step with a policy": policies(rounds, lambda policy: reading(SEGMENT, policy)),
        "training step beside torch's encoder": beside_the_encoder(rounds),
        "evaluation of Penn Treebank's test text": evaluation(share),
    }


def translation(rounds: int) -> dict[str, object]:
    """Return all figures of translation."""
    return {
        "training step with a policy": policies(rounds, translating),
        "beam search, four beams, 32 sentences": searching(rounds),
    }


def main() -> None:
    """Measure what is asked for and write it down."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--only", nargs="+", choices=PARTS, default=list(PARTS), help="what to measure")
    parser.add_argument("--rounds", type=int, default=9, help="repetitions of each step")
    parser.add_argument("--share", type=float, default=0.1, help="of the test text that is evaluated")
    options = parser.parse_args()
    torch.manual_seed(0)
    torch.set_num_threads(1)
    if "language" in options.only:
        record.write("text", language(options.rounds, options.share))
    if "translation" in options.only:
        record.write("translation", translation(options.rounds))


if __name__ == "__main__":
    main()
