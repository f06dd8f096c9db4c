"""The way out of the residual stream: final norm and unembedding.

logits = final_norm(x) @ unembedding.T, for models without a logit bias or soft cap (all of Llama, Mistral, Qwen,
Gemma-3, GPT-2, GPT-NeoX; Gemma-2 caps its logits afterwards, which keeps their order).
"""

from jaxtyping import Float
from torch import Tensor, nn

from bathyscope.errors import ModelError
from bathyscope.models.model import Model

_FINAL_NORMS = ("norm", "ln_f", "final_layer_norm", "final_layernorm", "norm_f")


def unembedding(model: Model) -> Float[Tensor, "V D"]:
    """Row v writes token v: the network's own tensor, not a copy (for tied models the embedding, too)."""
    head = model.network.get_output_embeddings()
    if not isinstance(head, nn.Module) or not isinstance(head.weight, Tensor):
        raise ModelError(f"{model.name} ({type(model.network).__name__}) has no unembedding")
    return head.weight


def final_norm(model: Model) -> nn.Module:
    """The module that normalises the residual stream before the unembedding; call it on [..., D]."""
    children = dict(model.body.named_children())
    for name in _FINAL_NORMS:
        if name in children:
            return children[name]
    raise ModelError(f"{model.name} ({type(model.network).__name__}) has no final norm among {', '.join(children)}")
