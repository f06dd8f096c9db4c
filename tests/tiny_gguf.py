"""A tiny Llama written as a GGUF file, with the weights that reading it must give back."""

from pathlib import Path

import numpy as np
import torch
from gguf import GGMLQuantizationType, GGUFWriter, LlamaFileType, TokenType
from gguf.quants import dequantize, quantize
from tiny import byte_letters
from transformers import LlamaConfig, LlamaForCausalLM

N_HEADS, N_KEY_HEADS, D_HEAD = 4, 2, 8
TOKENS = [*byte_letters(), "he", "ĠĠ", "<|end|>", "<|turn|>"]
CHAT_TEMPLATE = "{% for m in messages %}<|turn|>{{ m.content }}<|end|>{% endfor %}<|turn|>"
CONFIG = LlamaConfig(
    vocab_size=len(TOKENS),
    hidden_size=N_HEADS * D_HEAD,
    intermediate_size=64,
    num_hidden_layers=2,
    num_attention_heads=N_HEADS,
    num_key_value_heads=N_KEY_HEADS,
    max_position_embeddings=128,
    tie_word_embeddings=True,
    rms_norm_eps=1e-5,
)
NAMES = {
    "model.embed_tokens": "token_embd",
    "model.norm": "output_norm",
    "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output",
    "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
    "input_layernorm": "attn_norm",
    "post_attention_layernorm": "ffn_norm",
    "model.layers": "blk",
}


def write_tiny_gguf(file: Path, *, split: str = "smollm") -> LlamaForCausalLM:
    """Write `file` with Q4_1 weights; returns the network whose weights are what Q4_1 keeps of them."""
    torch.manual_seed(4)
    network = LlamaForCausalLM(CONFIG).eval()
    writer = GGUFWriter(file, "llama")
    _write_settings(writer, split)
    with torch.no_grad():
        for name, weight in network.named_parameters():
            if weight.ndim == 1:
                weight.copy_(1 + 0.1 * torch.randn_like(weight))
                writer.add_tensor(_gguf_name(name), weight.numpy())
            else:
                weight.copy_(torch.randn_like(weight) * 0.3)
                data = quantize(_interleaved(name, weight.numpy()), GGMLQuantizationType.Q4_1)
                writer.add_tensor(_gguf_name(name), data, raw_dtype=GGMLQuantizationType.Q4_1)
                kept = dequantize(data, GGMLQuantizationType.Q4_1).reshape(weight.shape)
                weight.copy_(torch.from_numpy(_halves(name, kept)))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return network


def _write_settings(writer: GGUFWriter, split: str) -> None:
    writer.add_name("tiny")
    writer.add_file_type(LlamaFileType.MOSTLY_Q4_1)
    writer.add_context_length(128)
    writer.add_block_count(2)
    writer.add_embedding_length(32)
    writer.add_feed_forward_length(64)
    writer.add_head_count(N_HEADS)
    writer.add_head_count_kv(N_KEY_HEADS)
    writer.add_rope_dimension_count(D_HEAD)
    writer.add_rope_freq_base(10000.0)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_vocab_size(len(TOKENS))
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre(split)
    writer.add_token_list(TOKENS)
    writer.add_token_types([TokenType.NORMAL] * (len(TOKENS) - 2) + [TokenType.CONTROL] * 2)
    writer.add_token_merges(["h e", "Ġ Ġ"])
    writer.add_eos_token_id(len(TOKENS) - 2)
    writer.add_add_bos_token(False)
    writer.add_chat_template(CHAT_TEMPLATE)


def _gguf_name(name: str) -> str:
    for ours, theirs in NAMES.items():
        name = name.replace(ours, theirs)
    return name


def _interleaved(name: str, weight: np.ndarray) -> np.ndarray:
    """llama.cpp turns neighbouring pairs of a head's dimensions, transformers turns its two halves."""
    heads = _heads(name)
    if heads is None:
        return weight
    return np.ascontiguousarray(weight.reshape(heads, 2, D_HEAD // 2, -1).swapaxes(1, 2).reshape(weight.shape))


def _halves(name: str, weight: np.ndarray) -> np.ndarray:
    heads = _heads(name)
    if heads is None:
        return weight
    return np.ascontiguousarray(weight.reshape(heads, D_HEAD // 2, 2, -1).swapaxes(1, 2).reshape(weight.shape))


def _heads(name: str) -> int | None:
    return {"q_proj": N_HEADS, "k_proj": N_KEY_HEADS}.get(name.split(".")[-2])
