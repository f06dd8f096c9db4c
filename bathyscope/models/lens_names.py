"""TransformerLens hook names beside the module paths whose outputs they are.

A name appears only where a module's output is exactly that activation: `hook_resid_mid` or `attn.hook_z` are sums and
inputs inside a block, so they have no entry. `hook_resid_pre` of block i is the output of block i - 1.
"""

from collections.abc import Collection
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class _Family:
    """Module names of one family of decoders; `attention` and `mlp` are what is added to the residual stream."""

    blocks: str
    """Name of the list of blocks."""
    embedding: str
    """Token embedding (TransformerLens `hook_embed`)."""
    stream_start: str
    """Module whose output enters the first block."""
    attention: str
    mlp: str
    mlp_pre: str
    """Projection into the hidden layer of the MLP, before its non-linearity (the gate, where there is one)."""


_FAMILIES = (
    # Gemma-2, Gemma-3, OLMo-2: norms between each sublayer and the stream; what is added is the norm's output
    _Family(
        blocks="layers",
        embedding="embed_tokens",
        stream_start="embed_tokens",
        attention="post_attention_layernorm",
        mlp="post_feedforward_layernorm",
        mlp_pre="mlp.gate_proj",
    ),
    # Llama, Mistral, Qwen-2, Qwen-3, SmolLM2
    _Family(
        blocks="layers",
        embedding="embed_tokens",
        stream_start="embed_tokens",
        attention="self_attn",
        mlp="mlp",
        mlp_pre="mlp.gate_proj",
    ),
    # GPT-2
    _Family(blocks="h", embedding="wte", stream_start="drop", attention="attn", mlp="mlp", mlp_pre="mlp.c_fc"),
    # GPT-NeoX, Pythia
    _Family(
        blocks="layers",
        embedding="embed_in",
        stream_start="emb_dropout",
        attention="attention",
        mlp="mlp",
        mlp_pre="mlp.dense_h_to_4h",
    ),
)


def lens_names(hookpoints: Collection[str]) -> dict[str, str]:
    """TransformerLens name → module path, for the model that has these `hookpoints`; empty for unknown families."""
    known = set(hookpoints)
    for family in _FAMILIES:
        first = f"{family.blocks}.0"
        if {family.embedding, first, f"{first}.{family.attention}", f"{first}.{family.mlp}"} <= known:
            return {lens: path for lens, path in _family_names(family, known).items() if path in known}
    return {}


def lens_name(hookpoint: str, hookpoints: Collection[str]) -> str | None:
    """The TransformerLens name of a module path, or None where TransformerLens has no name for it."""
    found = [lens for lens, path in lens_names(hookpoints).items() if path == hookpoint]
    return next((lens for lens in found if not lens.endswith("resid_pre")), found[0] if found else None)


def _family_names(family: _Family, known: set[str]) -> dict[str, str]:
    table = {"hook_embed": family.embedding}
    before, layer = family.stream_start, 0
    while (block := f"{family.blocks}.{layer}") in known:
        table[f"blocks.{layer}.hook_resid_pre"] = before
        table[f"blocks.{layer}.hook_attn_out"] = f"{block}.{family.attention}"
        table[f"blocks.{layer}.hook_mlp_out"] = f"{block}.{family.mlp}"
        table[f"blocks.{layer}.mlp.hook_pre"] = f"{block}.{family.mlp_pre}"
        table[f"blocks.{layer}.hook_resid_post"] = block
        before, layer = block, layer + 1
    return table
