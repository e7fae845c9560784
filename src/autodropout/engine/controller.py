"""The controller (AutoDropout, Figure 3): a small causal Transformer over tokens.

It samples and gives log-probabilities, nothing else. Tensors carry their axes as a suffix:
N sequences, T decisions, V values (padded to the longest choice), D width, H heads, K width of a head.
"""

import math
from collections.abc import Iterable, Sequence
from typing import TypedDict, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from autodropout.engine.base import Decisions
from autodropout.errors import SpaceError, UsageError
from autodropout.space import PAD, Choice


class _Placement(TypedDict):
    device: str
    dtype: torch.dtype


_FLOAT32: _Placement = {"device": "cpu", "dtype": torch.float32}
"""Whatever the user's default device and dtype: the replay of a search must not depend on them."""

_NEVER = -1e9
"""Logit of a value that a choice does not have: probability exactly 0, without the NaN of 0 * -inf."""


class Controller(nn.Module):
    """Draws token sequences and says how likely each was.

    P(r; theta) = prod_t P(r_t | r_1 ... r_{t-1}; theta)                  (AutoDropout, Figure 3)

    The logits of decision t are the sum of three terms: the log of the space's starting bias (fixed), a
    free bias (zero at the start), and the Transformer's output (zero at the start, because its head is).
    So a new controller draws exactly from the starting bias. Where a site is off, its other positions are
    PAD with probability one.

    The paper has the Transformer alone; ``prior=False, bias=False`` is that. The free bias is ours: with
    it the controller beats random search within a few hundred trials, without it hardly.

    Args:
        space: What to decide.
        layers: Transformer layers, at least 1.
        width: Width D of the Transformer, a multiple of ``heads``.
        heads: Attention heads H, at least 1.
        prior: Start from the space's bias instead of uniformly.
        bias: Have a free bias for every value of every decision.

    Raises:
        UsageError: A size is below 1, or the width is no multiple of the heads.

    Example:
        >>> from autodropout.token_space import TokenSpace
        >>> controller = Controller(TokenSpace(sites=("query", "ffn")))
        >>> tokens, log_prob = controller.sample(3, torch.Generator().manual_seed(0))
        >>> tokens.shape, log_prob.shape
        (torch.Size([3, 10]), torch.Size([3]))
    """

    fields: Tensor
    sites: Tensor
    sizes: Tensor
    parents: Tensor
    start: Tensor

    def __init__(
        self,
        space: Decisions,
        *,
        layers: int = 1,
        width: int = 32,
        heads: int = 2,
        prior: bool = True,
        bias: bool = True,
    ) -> None:
        super().__init__()
        if min(layers, width, heads) < 1 or width % heads:
            raise UsageError(
                f"the controller has {layers} layers of width {width} with {heads} heads; expected at least "
                "1 of each and a width that the heads divide"
            )
        choices, values = space.choices, max(space.cardinalities)
        fields, sites = _numbered(c.name for c in choices), _numbered(c.site for c in choices)
        self._index("fields", [fields[c.name] for c in choices])
        self._index("sites", [sites[c.site] for c in choices])
        self._index("sizes", space.cardinalities)
        self._index("parents", [-1 if parent is None else parent for parent in space.parents])
        self._fixed("start", _start(choices, values, prior))
        # Its last row stands before the first decision.
        self.token_embedding = nn.Embedding(len(fields) * values + 1, width, **_FLOAT32)
        self.field_embedding = nn.Embedding(len(fields), width, **_FLOAT32)
        self.site_embedding = nn.Embedding(len(sites), width, **_FLOAT32)
        self.blocks = nn.ModuleList(_Block(width, heads) for _ in range(layers))
        self.norm = nn.LayerNorm(width, **_FLOAT32)
        self.head = nn.Parameter(torch.zeros(len(fields), values, width, **_FLOAT32))
        self.bias = nn.Parameter(torch.zeros(len(choices), values, **_FLOAT32)) if bias else None
        for table in (self.token_embedding, self.field_embedding, self.site_embedding):
            nn.init.normal_(table.weight, std=width**-0.5)

    def sample(self, n: int, generator: torch.Generator | None = None) -> tuple[Tensor, Tensor]:
        """Draw sequences, all n at once, keeping the keys and values of earlier decisions.

        Args:
            n: Number of sequences, at least 1.
            generator: Source of randomness; None for torch's default one. The same state gives the same
                sequences.

        Returns:
            Tokens, int64, (n, T), PAD at dead positions; and their log-probability, (n,), detached.

        Raises:
            UsageError: n is below 1.
        """
        if n < 1:
            raise UsageError(f"cannot sample {n} sequences; ask for at least 1")
        with torch.no_grad():
            return self._sample(n, generator)

    def log_prob(self, tokens_NT: Tensor) -> Tensor:
        """Return log P(r; theta) of each sequence, (N,), differentiable, in one parallel pass.

        Dead positions add nothing, whatever token they hold.

        Args:
            tokens_NT: Tokens, int64, (N, T).

        Raises:
            SpaceError: The shape, dtype or a token does not fit the space.
        """
        return self.forward(tokens_NT)[0]

    def entropy(self, tokens_NT: Tensor) -> Tensor:
        """Return the entropy along each sequence in nats, (N,), differentiable.

        H(r) = sum over live t of H(P(. | r_1 ... r_{t-1}; theta)); its mean over r ~ P(.; theta) is the
        entropy of the whole distribution.

        Args:
            tokens_NT: Tokens, int64, (N, T).

        Raises:
            SpaceError: The shape, dtype or a token does not fit the space.
        """
        return self.forward(tokens_NT)[1]

    def forward(self, tokens_NT: Tensor) -> tuple[Tensor, Tensor]:
        """Return ``log_prob`` and ``entropy`` for the price of one pass.

        Raises:
            SpaceError: The shape, dtype or a token does not fit the space.
        """
        self._check(tokens_NT)
        live_NT = self.live(tokens_NT)
        tokens_NT = tokens_NT.masked_fill(~live_NT, PAD)
        log_NTV = self._log_probabilities(tokens_NT)
        chosen_NT = log_NTV.gather(-1, tokens_NT.unsqueeze(-1)).squeeze(-1)
        entropy_NT = -(log_NTV.exp() * log_NTV).sum(-1)
        return (chosen_NT * live_NT).sum(-1), (entropy_NT * live_NT).sum(-1)

    def live(self, tokens_NT: Tensor) -> Tensor:
        """Say for each token whether it means anything: bool, (N, T)."""
        return (self.parents < 0) | (tokens_NT[:, self.parents.clamp(min=0)] != 0)

    def _log_probabilities(self, tokens_NT: Tensor) -> Tensor:
        before_N1 = torch.full_like(tokens_NT[:, :1], self.token_embedding.num_embeddings - 1)
        rows_NT = torch.cat([before_N1, self._rows(tokens_NT)[:, :-1]], dim=1)
        x_NTD = self.token_embedding(rows_NT) + self._places()
        for block in self.blocks:
            x_NTD = block(x_NTD)
        logits_NTV = torch.einsum("ntd,tvd->ntv", self.norm(x_NTD), self.head[self.fields])
        return (logits_NTV + self._offset()).log_softmax(-1)

    def _sample(self, n: int, generator: torch.Generator | None) -> tuple[Tensor, Tensor]:
        length, dtype = len(self.fields), self.head.dtype
        draws_TN1 = torch.rand(length, n, 1, generator=generator, dtype=dtype, device=self.start.device)
        place_TD, offset_TV = self._places(), self._offset()
        fields, parents = self.fields.tolist(), self.parents.tolist()
        blocks = [cast(_Block, block) for block in self.blocks]
        caches = [block.cache(n, length) for block in blocks]
        tokens_NT = draws_TN1.new_full((n, length), PAD, dtype=torch.int64)
        total_N, previous_ND = draws_TN1.new_zeros(n), self.token_embedding.weight[-1].expand(n, -1)
        for t in range(length):
            x_ND = previous_ND + place_TD[t]
            for block, cache in zip(blocks, caches, strict=True):
                x_ND = block.step(x_ND, cache, t)
            logits_NV = torch.addmm(offset_TV[t], self.norm(x_ND), self.head[fields[t]].T)
            log_NV = logits_NV.log_softmax(-1)
            token_N = _drawn(log_NV, draws_TN1[t], int(self.sizes[t]))
            gain_N = log_NV.gather(-1, token_N.unsqueeze(-1)).squeeze(-1)
            if parents[t] >= 0:
                live_N = tokens_NT[:, parents[t]] != 0
                token_N, gain_N = token_N * live_N, gain_N * live_N
            tokens_NT[:, t] = token_N
            total_N += gain_N
            previous_ND = self.token_embedding(fields[t] * self.start.shape[1] + token_N)
        return tokens_NT, total_N

    def _places(self) -> Tensor:
        return cast(Tensor, self.field_embedding(self.fields) + self.site_embedding(self.sites))

    def _rows(self, tokens_NT: Tensor) -> Tensor:
        return self.fields * self.start.shape[1] + tokens_NT

    def _offset(self) -> Tensor:
        return self.start if self.bias is None else self.start + self.bias

    def _index(self, name: str, numbers: Iterable[int]) -> None:
        self._fixed(name, torch.tensor(tuple(numbers), dtype=torch.int64, device="cpu"))

    def _fixed(self, name: str, tensor: Tensor) -> None:
        self.register_buffer(name, tensor, persistent=False)

    def _check(self, tokens_NT: Tensor) -> None:
        length = len(self.fields)
        if tokens_NT.ndim != 2 or tokens_NT.shape[1] != length or tokens_NT.dtype != torch.int64:
            raise SpaceError(
                f"tokens are {tokens_NT.dtype} of shape {tuple(tokens_NT.shape)}; expected torch.int64 of "
                f"shape (N, {length})"
            )
        wrong_NT = (tokens_NT < 0) | (tokens_NT >= self.sizes)
        if wrong_NT.any():
            row, position = (int(i) for i in wrong_NT.nonzero()[0])
            raise SpaceError(
                f"token {position} of sequence {row} is {int(tokens_NT[row, position])}; expected 0 to "
                f"{int(self.sizes[position]) - 1}"
            )


class _Block(nn.Module):
    """One pre-norm layer: causal self-attention, then a feed-forward network."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.attention_norm = nn.LayerNorm(width, **_FLOAT32)
        self.qkv = nn.Linear(width, 3 * width, **_FLOAT32)
        self.out = nn.Linear(width, width, **_FLOAT32)
        self.feed_norm = nn.LayerNorm(width, **_FLOAT32)
        self.up = nn.Linear(width, 4 * width, **_FLOAT32)
        self.down = nn.Linear(4 * width, width, **_FLOAT32)

    def forward(self, x_NTD: Tensor) -> Tensor:
        """Transform all positions at once, each from itself and those before it."""
        q_NHTK, k_NHTK, v_NHTK = self._split(x_NTD)
        attended_NHTK = F.scaled_dot_product_attention(q_NHTK, k_NHTK, v_NHTK, is_causal=True)
        return self._finish(x_NTD, attended_NHTK.transpose(1, 2).flatten(2))

    def cache(self, n: int, length: int) -> Tensor:
        """Return room for the keys and values of n sequences: (2, N, H, T, K)."""
        width = self.out.in_features
        return self.out.weight.new_empty(2, n, self.heads, length, width // self.heads)

    def step(self, x_ND: Tensor, cache_2NHTK: Tensor, t: int) -> Tensor:
        """Transform position t alone; the cache holds what came before and takes up this position."""
        q_NH1K, k_NH1K, v_NH1K = self._split(x_ND.unsqueeze(1))
        cache_2NHTK[0, :, :, t : t + 1], cache_2NHTK[1, :, :, t : t + 1] = k_NH1K, v_NH1K
        keys_NHTK, values_NHTK = cache_2NHTK[:, :, :, : t + 1]
        scores_NH1T = q_NH1K @ keys_NHTK.transpose(-1, -2) / math.sqrt(q_NH1K.shape[-1])
        return self._finish(x_ND, (scores_NH1T.softmax(-1) @ values_NHTK).flatten(1))

    def _split(self, x_NTD: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        qkv = self.qkv(self.attention_norm(x_NTD)).unflatten(-1, (3, self.heads, -1))
        q_NHTK, k_NHTK, v_NHTK = qkv.permute(2, 0, 3, 1, 4)
        return q_NHTK, k_NHTK, v_NHTK

    def _finish(self, x: Tensor, attended: Tensor) -> Tensor:
        x = x + self.out(attended)
        return x + cast(Tensor, self.down(F.gelu(self.up(self.feed_norm(x)))))


def _drawn(log_NV: Tensor, uniform_N1: Tensor, size: int) -> Tensor:
    """Invert the distribution function; rounding may leave its end below 1, hence the clamp."""
    return (log_NV.exp().cumsum(-1) <= uniform_N1).sum(-1).clamp(max=size - 1)


def _start(choices: Sequence[Choice], values: int, prior: bool) -> Tensor:
    """Return the fixed logits: log of the starting bias, or 0 for uniform; (T, V)."""
    rows = [choice.prior if prior else (1.0,) * len(choice.values) for choice in choices]
    logits = [[math.log(p) if p > 0 else _NEVER for p in row] for row in rows]
    padded = [row + [_NEVER] * (values - len(row)) for row in logits]
    return torch.tensor(padded, dtype=torch.float32, device="cpu")


def _numbered(names: Iterable[str]) -> dict[str, int]:
    return {name: number for number, name in enumerate(dict.fromkeys(names))}
