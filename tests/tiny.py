"""Tiny random language models with a byte tokenizer, built in memory: no download, milliseconds."""

import functools
from collections.abc import Callable
from typing import Any

import torch
from transformers import (
    Gemma3ForCausalLM,
    Gemma3TextConfig,
    GPT2Config,
    GPT2LMHeadModel,
    GPTNeoXConfig,
    GPTNeoXForCausalLM,
    LlamaConfig,
    LlamaForCausalLM,
    MistralConfig,
    MistralForCausalLM,
    PreTrainedModel,
    PreTrainedTokenizerFast,
    Qwen3Config,
    Qwen3ForCausalLM,
)

from bathyscope.models.model import Model

N_LAYERS = 3
D_MODEL = 32
CONTEXT = 128
SPECIAL = ("<|pad|>", "<|bos|>", "<|im_start|>", "<|im_end|>")
N_VOCABULARY = 256 + len(SPECIAL)

CHAT_TEMPLATE = (
    "{{ bos_token }}{% for message in messages %}<|im_start|>{{ message.role }}\n{{ message.content }}<|im_end|>\n"
    "{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)

SHARED: dict[str, Any] = {
    "vocab_size": N_VOCABULARY,
    "hidden_size": D_MODEL,
    "num_hidden_layers": N_LAYERS,
    "num_attention_heads": 4,
    "max_position_embeddings": CONTEXT,
    "pad_token_id": 256,
    "bos_token_id": 257,
    "eos_token_id": 259,
}
GATED: dict[str, Any] = {**SHARED, "intermediate_size": 48, "num_key_value_heads": 2, "head_dim": 8}


def _llama() -> PreTrainedModel:
    return LlamaForCausalLM(LlamaConfig(**GATED, tie_word_embeddings=True))


def _mistral() -> PreTrainedModel:
    return MistralForCausalLM(MistralConfig(**GATED, sliding_window=5))


def _qwen3() -> PreTrainedModel:
    return Qwen3ForCausalLM(Qwen3Config(**GATED))


def _gemma3() -> PreTrainedModel:
    layer_types = ["sliding_attention", "sliding_attention", "full_attention"]
    return Gemma3ForCausalLM(
        Gemma3TextConfig(**GATED, sliding_window=5, layer_types=layer_types, query_pre_attn_scalar=8)
    )


def _gpt2() -> PreTrainedModel:
    return GPT2LMHeadModel(GPT2Config(**SHARED))


def _gpt_neox() -> PreTrainedModel:
    return GPTNeoXForCausalLM(GPTNeoXConfig(**SHARED, intermediate_size=48))


EMBEDDING_SCALE = {"gemma3": 0.2}
"""Gemma multiplies its embeddings by √d_model."""

ARCHITECTURES: dict[str, Callable[[], PreTrainedModel]] = {
    "llama": _llama,
    "mistral": _mistral,
    "qwen3": _qwen3,
    "gemma3": _gemma3,
    "gpt2": _gpt2,
    "gpt_neox": _gpt_neox,
}
"""Every architecture that the contract tests run over; Mistral and Gemma-3 have sliding windows of 5 tokens."""


def tiny_model(architecture: str = "llama", seed: int = 0) -> Model:
    """A fresh random model of `architecture`: 3 layers, width 32, vocabulary of 256 bytes and 4 special tokens."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = ARCHITECTURES[architecture]()
        with torch.no_grad():  # HF starts at std 0.02, where every logit is alike and attention is flat
            for name, parameter in network.named_parameters():
                is_embedding = "emb" in name or "wte" in name
                scale = EMBEDDING_SCALE.get(architecture, 0.5) if is_embedding else 0.25
                if parameter.ndim > 1:
                    parameter.copy_(torch.randn_like(parameter) * scale)
    network.eval().requires_grad_(False)
    name = f"tiny-{architecture}-{seed}"
    identity = {"name": name, "sha256": f"{seed:02x}" * 32, "dtype": "float32", "description": "random weights"}
    return Model(network=network, tokenizer=tiny_tokenizer(), name=name, identity=identity)


def tiny_tokenizer() -> PreTrainedTokenizerFast:
    """A tokenizer with one token per byte (ids 0–255), which can encode any text, and a ChatML template.

    Texts start with `<|bos|>` unless `add_special_tokens=False`.
    """
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=_byte_tokenizer(),
        pad_token=SPECIAL[0],
        bos_token=SPECIAL[1],
        eos_token=SPECIAL[3],
        additional_special_tokens=[SPECIAL[2]],
    )
    tokenizer.chat_template = CHAT_TEMPLATE
    return tokenizer


@functools.cache
def _byte_tokenizer() -> Any:
    from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, processors

    vocabulary = {letter: byte for byte, letter in enumerate(byte_letters())}
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens([AddedToken(token, special=True) for token in SPECIAL])
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{SPECIAL[1]} $A", pair=f"{SPECIAL[1]} $A $B", special_tokens=[(SPECIAL[1], 257)]
    )
    return tokenizer


def byte_letters() -> list[str]:
    """The letter that byte-level BPE writes for each byte 0–255 (Radford et al. 2019, GPT-2 `bytes_to_unicode`)."""
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = [byte for byte in range(256) if byte not in printable]
    letters = {byte: chr(byte) for byte in printable} | {byte: chr(256 + n) for n, byte in enumerate(others)}
    return [letters[byte] for byte in range(256)]
