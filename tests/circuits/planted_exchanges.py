"""Exchanges of random rows whose wanted answers come from a planted subspace: the truth that an alignment must find."""

import torch
from torch import Tensor

from bathyscope.circuits.interchange import Exchanges, exchanges
from bathyscope.circuits.subspace import Site, Subspace, activations_at, random_subspace, written
from bathyscope.models.model import Model

SITE = Site("h.1", (5,))


def planted(rank: int = 1) -> Subspace:
    """The subspace that answers depend on."""
    return random_subspace(SITE, rank=rank, d_model=32, seed=77)


def exchanged(model: Model, subspace: Subspace, *, n: int, n_answer: int = 1, seed: int = 0) -> Exchanges:
    """Random rows; wanted is what the model says when `subspace` is exchanged, decoded token by token."""
    generator = torch.Generator().manual_seed(seed)
    base, source = torch.randint(60, 120, (2, n, 6), generator=generator).unbind(0)
    source_answer = greedy(model, source, n_answer)
    whole_source = torch.cat([source, source_answer[:, :-1]], dim=1)
    with torch.no_grad():
        values = subspace.components(activations_at(model, subspace.site, whole_source))
        with written(model, subspace, values):
            wanted = greedy(model, base, n_answer)
    return exchanges(base, source, source_answer_PA=source_answer, wanted_PA=wanted)


@torch.no_grad()
def greedy(model: Model, rows: Tensor, n_answer: int) -> Tensor:
    """The likeliest tokens, one after the other."""
    n_prompt = rows.shape[1]
    for _ in range(n_answer):
        logits = model.network(input_ids=rows, use_cache=False).logits
        rows = torch.cat([rows, logits[:, -1].argmax(-1, keepdim=True)], dim=1)
    return rows[:, n_prompt:]


def changed(model: Model, among: Exchanges) -> Exchanges:
    """The pairs whose wanted answer is not what the base says by itself."""
    n_answer = among.wanted_PA.shape[1]
    plain = greedy(model, among.base_PS[:, : among.base_PS.shape[1] - n_answer + 1], n_answer)
    return among[(plain != among.wanted_PA).any(1).nonzero()[:, 0]]
