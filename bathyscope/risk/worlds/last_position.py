"""Next-token logits of a one-layer GPT-2 under a product law, without its forward.

With one layer, keys and values depend on position and token alone. The law has few of them, so attention is a look-up:
one row of the MLP and of the unembedding is all that a sample costs. The network's own forward is the reference.
"""

from typing import Any, NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Int
from numpy.typing import NDArray
from torch import Tensor, nn

from bathyscope.errors import ModelError
from bathyscope.models.model import Model
from bathyscope.risk.inputs.product import ProductTokens
from bathyscope.risk.worlds.mixing import attended, options


class LastPosition:
    """Tables of one network and one law. Raises ModelError for a network that is no GPT-2 of one layer."""

    def __init__(self, model: Model, law: ProductTokens) -> None:
        if model.network.config.model_type != "gpt2" or model.n_layers != 1:
            raise ModelError(f"{model.name} is no GPT-2 of one layer: only there attention is a look-up")
        self._network: Any = model.network
        self._block: Any = model.network.get_submodule("transformer.h.0")
        self.n_vocabulary = model.n_vocabulary
        self._alias = _alias(law)
        self._tabulate(law)

    def draw(self, n: int, *, generator: torch.Generator) -> Int[Tensor, "N C"]:
        """`n` independent rows of options from the law."""
        uniform_NC = torch.rand(n, len(self._alias.keep_CK), dtype=torch.float64, generator=generator)
        return torch.from_numpy(options(uniform_NC.numpy(), *self._alias))

    @torch.inference_mode()
    def logits(self, choices_NC: Int[Tensor, "N C"]) -> Float[Tensor, "N V"]:
        """Logits of the token after the last position."""
        taken_NHW = attended(choices_NC.numpy(), self._weight_LCKH, self._values_CKHW)
        x_ND = self._last_KD[choices_NC[:, -1]] + self._block.attn.c_proj(torch.from_numpy(taken_NHW).flatten(1))
        x_ND = x_ND + self._block.mlp(self._block.ln_2(x_ND))
        return self._network.lm_head(self._network.transformer.ln_f(x_ND))

    @torch.inference_mode()
    def _tabulate(self, law: ProductTokens) -> None:
        """Residual stream of the last position's options; attention and values of every position's options."""
        attention, width = self._block.attn, max(len(ids_K) for ids_K in law.support)
        ids_CK = torch.stack([nn.functional.pad(ids_K, (0, width - len(ids_K))) for ids_K in law.support])
        positions_C1 = torch.arange(law.n_positions)[:, None]
        x_CKD = self._network.transformer.wte(ids_CK) + self._network.transformer.wpe(positions_C1)
        three_CKHW = [
            part_CKD.unflatten(-1, (attention.num_heads, attention.head_dim))
            for part_CKD in attention.c_attn(self._block.ln_1(x_CKD)).chunk(3, dim=-1)
        ]
        query_CKHW, key_CKHW, value_CKHW = three_CKHW
        scores_LCKH = torch.einsum("lhw,ckhw->lckh", query_CKHW[-1], key_CKHW) / attention.head_dim**0.5
        self._weight_LCKH = (scores_LCKH - scores_LCKH.amax((1, 2), keepdim=True)).exp().contiguous().numpy()
        self._values_CKHW = value_CKHW.contiguous().numpy()
        self._last_KD = x_CKD[-1]


class _Alias(NamedTuple):
    """Tables of the alias method (Vose 1991): columns of equal width, each shared by at most two options."""

    keep_CK: NDArray[np.float64]
    """Share of each column that is its own option's."""
    other_CK: NDArray[np.int64]
    """The option that has the rest of the column."""
    n_options_C: NDArray[np.int64]
    """Columns of each choice."""


def _alias(law: ProductTokens) -> _Alias:
    n_options_C = np.array([len(log_p_K) for log_p_K in law.log_p])
    keep_CK = np.ones((len(n_options_C), n_options_C.max()))
    other_CK = np.zeros(keep_CK.shape, np.int64)
    for keep_K, other_K, log_p_K in zip(keep_CK, other_CK, law.log_p, strict=True):
        n = len(log_p_K)
        left_K = log_p_K.exp().numpy() * n
        for _ in range(n - 1):  # fill the emptiest open column from the fullest option, and close it
            open_K = np.flatnonzero(keep_K[:n] == 1)
            poor, rich = open_K[left_K[open_K].argmin()], open_K[left_K[open_K].argmax()]
            if poor == rich or left_K[poor] >= 1:
                break
            keep_K[poor], other_K[poor] = left_K[poor], rich
            left_K[rich] -= 1 - left_K[poor]
    return _Alias(keep_CK, other_CK, n_options_C)
