"""Beam search for translations, for a batch of sentences at once."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import inf

import torch
from torch import Tensor

from autodropout.errors import UsageError
from autodropout.models.encoder_decoder import EncoderDecoder
from autodropout.models.generation import Generation

Finished = tuple[float, list[int]]
"""Score and tokens of a translation that has ended."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BeamSettings:
    """How to look for the best translation.

    Attributes:
        begin: Token that stands before every translation and never in it.
        end: Token that ends one.
        beams: Unfinished translations kept per sentence; 1 is greedy.
        alpha: Power of the length penalty; 0 leaves long translations at a disadvantage.
        longest: Most tokens in a translation, its end included; one that reaches it is ended there.

    Raises:
        UsageError: A number is out of range.
    """

    begin: int
    end: int
    beams: int = 4
    alpha: float = 0.6
    longest: int = 200

    def __post_init__(self) -> None:
        if self.beams < 1 or self.longest < 1 or not 0.0 <= self.alpha < inf:
            raise UsageError(
                f"beams is {self.beams}, longest {self.longest} and alpha {self.alpha}; expected at least "
                "one beam and one token, and an alpha of at least 0"
            )


def length_penalty(length: int, alpha: float) -> float:
    """Return ((5 + length) / 6)^alpha, by which a log-probability is divided (Wu et al. 2016, Eq. 14)."""
    return float(((5 + length) / 6) ** alpha)


@torch.no_grad()
def translate(net: EncoderDecoder, source: Tensor, settings: BeamSettings) -> list[list[int]]:
    """Return the best translation of each sentence that beam search finds.

    The score of a translation is its log-probability divided by ``length_penalty`` of its tokens, the end
    among them. A translation is finished when its end is among the ``beams`` best continuations. The
    search for a sentence is over when ``beams`` are finished, or when no unfinished one can still win.

    Args:
        net: The network; it is put into evaluation mode.
        source: Tokens, int64, (N, S), padded with ``net.pad``.
        settings: How to search.

    Returns:
        Tokens without begin and end, by sentence.

    Raises:
        UsageError: A translation may become longer than the network's longest sequence, or the network's
            outputs are not finite.
    """
    if settings.longest > len(net.codes):
        raise UsageError(
            f"longest is {settings.longest}; expected at most {len(net.codes)}, the longest sequence that "
            "the network takes"
        )
    net.eval()
    search = _Search(net, source, settings)
    while not search.over:
        search.step()
    return search.best()


class _Search:
    """Shape suffixes: N sentences, B beams, V vocabulary, K = 2 B candidates."""

    def __init__(self, net: EncoderDecoder, source: Tensor, settings: BeamSettings) -> None:
        self.settings = settings
        self.never = [token for token in (net.pad, settings.begin) if token != settings.end]
        self.generation = Generation(net, source, settings.beams)
        n, b = len(source), settings.beams
        self.first_N1 = torch.arange(n, device=source.device)[:, None] * b
        self.last = torch.full((n * b,), settings.begin, device=source.device)
        self.tokens_NBT = torch.empty(n, b, 0, dtype=torch.int64, device=source.device)
        # One beam at the start: the others would be the same.
        self.scores_NB = torch.full((n, b), -inf, device=source.device, dtype=net.embedding.weight.dtype)
        self.scores_NB[:, 0] = 0.0
        self.finished: list[list[Finished]] = [[] for _ in range(n)]
        self.open = [True] * n

    @property
    def over(self) -> bool:
        return not any(self.open)

    def step(self) -> None:
        log_p_NBV = self._log_probabilities()
        vocabulary = log_p_NBV.shape[-1]
        total = (self.scores_NB[..., None] + log_p_NBV).flatten(1)
        scores_NK, where_NK = total.topk(min(2 * self.settings.beams, total.shape[1]), 1)
        beam_NK, token_NK = where_NK // vocabulary, where_NK % vocabulary
        ends_NK = token_NK == self.settings.end
        self._finish(scores_NK, beam_NK, ends_NK)
        # The beams best candidates that do not end, in their order: sorting is stable.
        kept_NB = ends_NK.to(torch.uint8).argsort(dim=1, stable=True)[:, : self.settings.beams]
        self._go_on(*(part.gather(1, kept_NB) for part in (scores_NK, beam_NK, token_NK)))
        self._close()

    def _log_probabilities(self) -> Tensor:
        logits = self.generation.step(self.last)
        logits[:, self.never] = -inf
        log_p = logits.log_softmax(-1)
        if self.generation.place == self.settings.longest:
            others = torch.arange(log_p.shape[-1], device=log_p.device) != self.settings.end
            log_p.masked_fill_(others, -inf)
        return log_p.view(*self.scores_NB.shape, -1)

    def _finish(self, scores_NK: Tensor, beam_NK: Tensor, ends_NK: Tensor) -> None:
        good = ends_NK[:, : self.settings.beams] & scores_NK[:, : self.settings.beams].isfinite()
        penalty = length_penalty(self.generation.place, self.settings.alpha)
        for n, k in good.nonzero().tolist():
            if self.open[n] and len(self.finished[n]) < self.settings.beams:
                tokens = self.tokens_NBT[n, beam_NK[n, k]].tolist()
                self.finished[n].append((scores_NK[n, k].item() / penalty, tokens))

    def _go_on(self, scores_NB: Tensor, beam_NB: Tensor, token_NB: Tensor) -> None:
        rows = (self.first_N1 + beam_NB).flatten()
        self.generation.reorder(rows)
        kept = self.tokens_NBT.flatten(0, 1)[rows].view_as(self.tokens_NBT)
        self.tokens_NBT = torch.cat([kept, token_NB[..., None]], 2)
        self.scores_NB, self.last = scores_NB, token_NB.flatten()

    def _close(self) -> None:
        """End the search for sentences whose best translation cannot change any more."""
        settings = self.settings
        if self.generation.place == settings.longest:
            self.open = [False] * len(self.open)
            return
        # A log-probability only falls, and no penalty is larger than the longest translation's.
        bounds = (self.scores_NB[:, 0] / length_penalty(settings.longest, settings.alpha)).tolist()
        for n, (bound, finished) in enumerate(zip(bounds, self.finished, strict=True)):
            if finished and (len(finished) == settings.beams or _best(finished)[0] >= bound):
                self.open[n] = False

    def best(self) -> list[list[int]]:
        if not all(self.finished):
            raise UsageError("the network's outputs are not finite, so no translation is better than another")
        return [_best(finished)[1] for finished in self.finished]


def _best(finished: Sequence[Finished]) -> Finished:
    return max(finished, key=lambda one: one[0])


def padded(sentences: Sequence[Sequence[int]], pad: int) -> Tensor:
    """Return sentences as one matrix, int64, (N, longest of them), padded at the end."""
    longest = max(map(len, sentences))
    return torch.tensor([[*sentence, *[pad] * (longest - len(sentence))] for sentence in sentences])
