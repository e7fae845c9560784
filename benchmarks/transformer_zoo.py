"""Tiny models of Hugging Face's, with random weights, and a batch for each."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
import transformers

transformers.logging.set_verbosity_error()

TOKENS = 7
TEXT = {
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 64,
    "vocab_size": 50,
    "max_position_embeddings": 64,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": 2,
}
GROUPED = {**TEXT, "num_key_value_heads": 2, "head_dim": 8}
BOTH = {
    "d_model": 32,
    "encoder_layers": 2,
    "decoder_layers": 2,
    "encoder_attention_heads": 4,
    "decoder_attention_heads": 4,
    "encoder_ffn_dim": 64,
    "decoder_ffn_dim": 64,
    "vocab_size": 50,
    "max_position_embeddings": 64,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": 2,
    "decoder_start_token_id": 1,
}
T5 = {"d_model": 32, "num_layers": 2, "num_heads": 4, "d_ff": 64, "d_kv": 8, "vocab_size": 50}
IMAGES = {
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 64,
    "image_size": 16,
    "patch_size": 8,
}


@dataclass(frozen=True)
class Tiny:
    """How to build a model and what it takes."""

    model: str
    config: str
    options: Mapping[str, Any]
    batch: Callable[[], dict[str, torch.Tensor]]

    def build(self, **more: Any) -> torch.nn.Module:
        """Return the model, the same each time, without dropout of its own but for what ``more`` says."""
        torch.manual_seed(0)
        config = getattr(transformers, self.config)(**{**self.options, **more})
        return getattr(transformers, self.model)(config)


def draw(*shape: int) -> torch.Tensor:
    """Return ids of tokens, none of them special, the same each time."""
    return torch.randint(3, 50, shape, generator=torch.Generator().manual_seed(1))


def text() -> dict[str, torch.Tensor]:
    """Return what an encoder or a decoder takes."""
    return {"input_ids": draw(3, TOKENS)}


def pairs() -> dict[str, torch.Tensor]:
    """Return what an encoder with a decoder takes."""
    return {**text(), "decoder_input_ids": draw(3, 5)}


def images() -> dict[str, torch.Tensor]:
    """Return what a model of images takes."""
    return {"pixel_values": torch.randn(3, 3, 16, 16, generator=torch.Generator().manual_seed(1))}


def _text(name: str, options: Mapping[str, Any] = TEXT, **more: Any) -> Tiny:
    return Tiny(f"{name}Model", f"{name}Config", {**options, **more}, text)


TINY = {
    "bert": _text("Bert"),
    "roberta": _text("Roberta"),
    "electra": _text("Electra", embedding_size=32),
    "mpnet": _text("MPNet"),
    "deberta": _text("Deberta"),
    "deberta-v2": _text("DebertaV2"),
    "albert": _text("Albert", embedding_size=32),
    "distilbert": _text(
        "DistilBert", {"dim": 32, "n_layers": 2, "n_heads": 4, "hidden_dim": 64, "vocab_size": 50}
    ),
    "modernbert": _text("ModernBert"),
    "gpt2": _text("GPT2", {"n_embd": 32, "n_layer": 2, "n_head": 4, "vocab_size": 50}),
    "gpt-neo": _text(
        "GPTNeo",
        {
            "hidden_size": 32,
            "num_layers": 2,
            "num_heads": 4,
            "vocab_size": 50,
            "attention_types": [[["global", "local"], 1]],
            "max_position_embeddings": 64,
        },
    ),
    "gpt-neox": _text("GPTNeoX"),
    "gptj": _text("GPTJ", {"n_embd": 32, "n_layer": 2, "n_head": 4, "vocab_size": 50, "rotary_dim": 8}),
    "bloom": _text("Bloom"),
    "opt": _text("OPT", ffn_dim=64, word_embed_proj_dim=32),
    "llama": _text("Llama", GROUPED),
    "mistral": _text("Mistral", GROUPED),
    "mixtral": _text("Mixtral", GROUPED, num_local_experts=2, num_experts_per_tok=1),
    "qwen2": _text("Qwen2", GROUPED),
    "qwen3": _text("Qwen3", GROUPED),
    "gemma": _text("Gemma", GROUPED),
    "gemma2": _text("Gemma2", GROUPED),
    "gpt-oss": _text("GptOss", GROUPED, num_local_experts=2, num_experts_per_tok=1),
    "phi": _text("Phi"),
    "phi3": _text("Phi3", GROUPED),
    "t5": Tiny("T5Model", "T5Config", T5, pairs),
    "bart": Tiny("BartModel", "BartConfig", BOTH, pairs),
    "marian": Tiny("MarianModel", "MarianConfig", BOTH, pairs),
    "vit": Tiny("ViTModel", "ViTConfig", IMAGES, images),
    "deit": Tiny("DeiTModel", "DeiTConfig", IMAGES, images),
    "dinov2": Tiny("Dinov2Model", "Dinov2Config", IMAGES, images),
    "clip": Tiny("CLIPVisionModel", "CLIPVisionConfig", IMAGES, images),
}


def without_dropout(model: torch.nn.Module) -> torch.nn.Module:
    """Set every rate of the model's own dropout to 0, modules and attributes alike."""
    for module in model.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.0
        for name, value in vars(module).items():
            if "drop" in name and isinstance(value, float):
                setattr(module, name, 0.0)
    return model


def stream(model: torch.nn.Module, batch: Mapping[str, torch.Tensor]) -> torch.Tensor:
    """Return what leaves the model's last layer, or the logits."""
    output = model(**batch)
    return output.logits if "logits" in output else output.last_hidden_state
