"""How the layers of Hugging Face's models are built: which module has which part, by name.

Two tables, one of attentions and one of feed-forward blocks. A layer is known if it has an attention of the
one and a feed-forward of the other, so that models of one build share a row: Llama's serves Mistral, Qwen2,
Gemma and many more. Names are relative to the layer.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from torch import nn

Order = Literal["blocks", "heads"]
"""How a fused projection lays out query, key and value on its last axis: one block each, or head by head
(query, key and value of the first head, then of the second)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Projection:
    """One projection of an attention.

    Attributes:
        name: The module, relative to the attention.
        roles: What it projects to, in this order.
        order: How they lie on its output's last axis, where there are several.
    """

    name: str
    roles: tuple[str, ...]
    order: Order = "blocks"


@dataclass(frozen=True, slots=True, kw_only=True)
class Attention:
    """One attention of a layer.

    Attributes:
        place: The module.
        projections: Those to query, key and value.
        output: The projection of its output, relative to the layer.
        cross: Its keys and values come from another sequence than its queries.
        classes: Class names it may have; empty for any. What lies where in a fused projection cannot be
            told from names alone.
    """

    place: str
    projections: tuple[Projection, ...]
    output: str
    cross: bool = False
    classes: tuple[str, ...] = ()

    def is_in(self, layer: nn.Module) -> bool:
        """Say whether a layer has it."""
        attention = submodule(layer, self.place)
        if attention is None or submodule(layer, self.output) is None:
            return False
        if any(submodule(attention, projection.name) is None for projection in self.projections):
            return False
        return not self.classes or any(cls.__name__ in self.classes for cls in type(attention).__mro__)


def submodule(module: nn.Module, name: str) -> nn.Module | None:
    """Return the module of a dotted name; None if there is none."""
    for part in name.split("."):
        child = module._modules.get(part)
        if child is None:
            return None
        module = child
    return module


def attentions_of(layer: nn.Module) -> Sequence[Attention]:
    """Return a layer's attention and, if there is one, its attention to another sequence."""
    return tuple(found for table in (_SELF, _CROSS) if (found := _first(table, layer)) is not None)


def feed_forward_of(layer: nn.Module) -> str | None:
    """Return the name of the last projection of a layer's feed-forward, or else of the whole of it."""
    return next((name for name in _FEED_FORWARDS if submodule(layer, name) is not None), None)


def is_in_row(layer: nn.Module) -> bool:
    """Say whether a layer's feed-forward sees the tokens of all samples in one row, (N * T, C)."""
    return any(cls.__name__ in _IN_ROW for cls in type(layer).__mro__)


def _first(table: Sequence[Attention], layer: nn.Module) -> Attention | None:
    return next((attention for attention in table if attention.is_in(layer)), None)


def _apart(query: str, key: str, value: str) -> tuple[Projection, ...]:
    names = {"query": query, "key": key, "value": value}
    return tuple(Projection(name=name, roles=(role,)) for role, name in names.items())


def _proj(place: str, output: str, *, cross: bool = False) -> Attention:
    projections = _apart("q_proj", "k_proj", "v_proj")
    return Attention(place=place, projections=projections, output=f"{place}.{output}", cross=cross)


def _fused(place: str, name: str, output: str, *classes: str, order: Order = "blocks") -> Attention:
    projection = Projection(name=name, roles=("query", "key", "value"), order=order)
    return Attention(place=place, projections=(projection,), output=output, classes=classes)


def _places() -> Iterator[Attention]:
    """Yield attentions whose four projections are called q_proj, k_proj, v_proj and as in the loop."""
    for place in ("self_attn", "attention", "attn", "attn.attention"):
        for output in ("o_proj", "out_proj", "dense"):
            yield _proj(place, output)


_SELF = (
    # Llama, Mistral, Qwen, Gemma, Phi; BART, OPT, CLIP, Whisper; ViT, DeiT, DINOv2, Wav2Vec2; GPT-J, GPT-Neo
    *_places(),
    # BERT, RoBERTa, ELECTRA
    Attention(
        place="attention.self",
        projections=_apart("query", "key", "value"),
        output="attention.output.dense",
    ),
    # vision Transformers of the first releases of version 5
    Attention(
        place="attention.attention",
        projections=_apart("query", "key", "value"),
        output="attention.output.dense",
    ),
    # DeBERTa v2
    Attention(
        place="attention.self",
        projections=_apart("query_proj", "key_proj", "value_proj"),
        output="attention.output.dense",
    ),
    # ALBERT
    Attention(place="attention", projections=_apart("query", "key", "value"), output="attention.dense"),
    # DistilBERT
    Attention(place="attention", projections=_apart("q_lin", "k_lin", "v_lin"), output="attention.out_lin"),
    # MPNet
    Attention(place="attention.attn", projections=_apart("q", "k", "v"), output="attention.attn.o"),
    # T5
    Attention(
        place="layer.0.SelfAttention",
        projections=_apart("q", "k", "v"),
        output="layer.0.SelfAttention.o",
    ),
    _fused("attn", "c_attn", "attn.c_proj", "GPT2Attention", "DecisionTransformerGPT2Attention"),
    _fused("attn", "Wqkv", "attn.Wo", "ModernBertAttention"),
    _fused("attn", "Wqkv", "attn.out_proj", "MptAttention"),
    _fused("self_attn", "qkv_proj", "self_attn.o_proj", "Phi3Attention"),
    _fused("attention", "query_key_value", "attention.dense", "GPTNeoXAttention", order="heads"),
    _fused("self_attention", "query_key_value", "self_attention.dense", "BloomAttention", order="heads"),
    # DeBERTa
    _fused(
        "attention.self",
        "in_proj",
        "attention.output.dense",
        "DisentangledSelfAttention",
        order="heads",
    ),
)

_CROSS = (
    _proj("encoder_attn", "out_proj", cross=True),  # BART, Whisper
    Attention(
        place="layer.1.EncDecAttention",  # T5
        projections=_apart("q", "k", "v"),
        output="layer.1.EncDecAttention.o",
        cross=True,
    ),
    Attention(
        place="crossattention.self",  # BERT as a decoder
        projections=_apart("query", "key", "value"),
        output="crossattention.output.dense",
        cross=True,
    ),
    Attention(
        place="crossattention",  # GPT-2 as a decoder
        projections=(
            Projection(name="q_attn", roles=("query",)),
            Projection(name="c_attn", roles=("key", "value")),
        ),
        output="crossattention.c_proj",
        cross=True,
        classes=("GPT2Attention",),
    ),
)

_IN_ROW = ("OPTDecoderLayer",)
_FEED_FORWARDS = (
    "output.dense",  # BERT
    "mlp.down_proj",  # Llama
    "mlp.fc2",  # ViT
    "mlp.c_proj",  # GPT-2
    "mlp.fc_out",  # GPT-J
    "mlp.dense_4h_to_h",  # GPT-NeoX, BLOOM
    "mlp.Wo",  # ModernBERT
    "fc2",  # BART
    "ffn.lin2",  # DistilBERT
    "ffn.down_proj",  # MPT
    "ffn_output",  # ALBERT
    "layer.2.DenseReluDense.wo",  # T5's decoder
    "layer.1.DenseReluDense.wo",  # T5's encoder
    "feed_forward.output_dense",  # Wav2Vec2
    "mlp",  # mixtures of experts
)
