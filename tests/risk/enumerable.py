"""A problem small enough to try every input: a random GPT-2 over twelve tokens, read behind four positions."""

import functools
import math

import torch
from tiny import tiny_tokenizer
from transformers import GPT2Config, GPT2LMHeadModel

from bathyscope.models.model import Model
from bathyscope.risk.events.logit import ArgmaxToken, next_logits
from bathyscope.risk.inputs.law import log_prob
from bathyscope.risk.inputs.product import ProductTokens, fixed
from bathyscope.risk.problem import Problem

N_TOKENS = 12
N_OPTIONS = 7
N_FREE = 4


@functools.cache
def enumerable_model() -> Model:
    """A GPT-2 with rather large random weights, so that what it says depends on what it reads."""
    config = GPT2Config(
        vocab_size=N_TOKENS,
        n_positions=8,
        n_embd=16,
        n_layer=2,
        n_head=2,
        resid_pdrop=0.0,
        embd_pdrop=0.0,
        attn_pdrop=0.0,
        initializer_range=0.12,
        bos_token_id=0,
        eos_token_id=0,
    )
    with torch.random.fork_rng():
        torch.manual_seed(3)
        network = GPT2LMHeadModel(config).eval().requires_grad_(False)
    return Model(network=network, tokenizer=tiny_tokenizer(), name="enumerable", identity={"name": "random"})


def enumerable_law() -> ProductTokens:
    """Token 0, then four positions of seven tokens each, the later ones rarer and rarer."""
    generator = torch.Generator().manual_seed(4)
    support, log_p = fixed([0])
    for _ in range(N_FREE):
        ids = (torch.randperm(N_TOKENS - 1, generator=generator)[:N_OPTIONS] + 1).sort().values
        weights = torch.tensor([math.exp(-1.2 * rank) for rank in range(N_OPTIONS)], dtype=torch.float64)
        weights = weights[torch.randperm(N_OPTIONS, generator=generator)]
        support, log_p = (*support, ids), (*log_p, (weights / weights.sum()).log())
    return ProductTokens(support=support, log_p=log_p, name="four positions")


@functools.cache
def truths() -> dict[int, float]:
    """Token → exact probability that it is the likeliest next one, those above 0."""
    law, model = enumerable_law(), enumerable_model()
    free = torch.cartesian_prod(*[torch.arange(N_OPTIONS)] * N_FREE)
    choices_NC = torch.cat([torch.zeros(len(free), 1, dtype=torch.long), free], dim=1)
    with torch.no_grad():
        winner_N = next_logits(model, law.inputs(model, choices_NC)).argmax(1)
    mass = torch.zeros(N_TOKENS, dtype=torch.float64).index_add_(0, winner_N, log_prob(law, choices_NC).exp())
    return {token: float(p) for token, p in enumerate(mass) if p > 0}


def rare_token() -> int:
    """The token of the rarest event above 1e-5."""
    return min((p, token) for token, p in truths().items() if p > 1e-5)[1]


def problem(token: int | None = None) -> Problem:
    """Is the likeliest next token this one (default: the rare one)?"""
    token = rare_token() if token is None else token
    return Problem(model=enumerable_model(), inputs=enumerable_law(), event=ArgmaxToken(token))
