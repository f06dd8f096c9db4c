"""A random GPT-2 over few inputs, so that every one of them can be looked at and probabilities are exact."""

import functools
import itertools
from dataclasses import dataclass

import torch
from tiny import tiny_tokenizer
from torch import Tensor
from transformers import GPT2Config, GPT2LMHeadModel

from bathyscope.models.model import Model
from bathyscope.risk.events.logit import ArgmaxToken, margin
from bathyscope.risk.inputs.law import log_prob
from bathyscope.risk.inputs.product import ProductTokens, fixed

N_VOCABULARY, N_OPTIONS, N_FREE = 32, 10, 3


@dataclass(frozen=True, kw_only=True)
class Enumerable:
    """A model, a law of 1,000 inputs, and for each token the exact probability that it is the likeliest next one."""

    model: Model
    law: ProductTokens
    choices_NC: Tensor
    log_p_N: Tensor
    margin_NV: Tensor
    p_V: Tensor

    def rare(self, low: float = 1e-7, high: float = 1e-3) -> list[ArgmaxToken]:
        """Events with a probability in this range, rarest first."""
        return [ArgmaxToken(int(t)) for t in self.p_V.argsort() if low < self.p_V[t] < high]


@functools.cache
def enumerable(seed: int = 0) -> Enumerable:
    """Made in about a tenth of a second."""
    model, law = _model(seed), _law()
    choices_NC = torch.tensor([(0, *rest) for rest in itertools.product(range(N_OPTIONS), repeat=N_FREE)])
    with torch.no_grad():
        logits_NV = model.network(**law.inputs(model, choices_NC)).logits[:, -1].double()
    margin_NV = torch.stack([margin(logits_NV, [token]) for token in range(N_VOCABULARY)], dim=1)
    log_p_N = log_prob(law, choices_NC)
    p_V = ((margin_NV >= 0) * log_p_N.exp()[:, None]).sum(0)
    return Enumerable(model=model, law=law, choices_NC=choices_NC, log_p_N=log_p_N, margin_NV=margin_NV, p_V=p_V)


def _law() -> ProductTokens:
    weight_K = (1.0 + torch.arange(N_OPTIONS, dtype=torch.float64)) ** -2.5
    support, log_p = fixed([N_VOCABULARY - 1])
    orders = [torch.arange(N_OPTIONS), torch.arange(N_OPTIONS) * 3, torch.arange(N_OPTIONS) * 2 + 5]
    laws = [(weight_K / weight_K.sum()).log().roll(shift) for shift in (0, 3, 5)]
    return ProductTokens(support=(*support, *orders), log_p=(*log_p, *laws), name="enumerable")


def _model(seed: int) -> Model:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        config = GPT2Config(
            vocab_size=N_VOCABULARY, n_positions=8, n_embd=16, n_layer=2, n_head=2, bos_token_id=0, eos_token_id=0
        )
        network = GPT2LMHeadModel(config)
        with torch.no_grad():
            for parameter in network.parameters():
                if parameter.ndim > 1:
                    parameter.copy_(torch.randn_like(parameter) * 0.4)
    network.eval().requires_grad_(False)
    identity = {"name": "enumerable", "sha256": f"{seed:02x}" * 32, "dtype": "float32", "description": "random weights"}
    return Model(network=network, tokenizer=tiny_tokenizer(), name="enumerable", identity=identity)
