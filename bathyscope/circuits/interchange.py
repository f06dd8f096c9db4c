"""Interchange interventions: a base run with one part of its state taken from a source run, read at the output.

A causal model says what the output must become when one of its variables is taken from the source. The share of pairs
for which the network agrees is the interchange-intervention accuracy (Geiger et al. 2021, arXiv 2106.02997). Knows
nothing of the causal model itself: wanted answers are given.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from bathyscope.circuits.subspace import Subspace, activations_at, written
from bathyscope.errors import ConfigError
from bathyscope.models.model import Model

CHUNK = 2048
"""Exchanges run at once when nothing is learnt."""


@dataclass(frozen=True, slots=True, eq=False)
class Exchanges:
    """Base and source rows of equal length, and the answer that the causal model gives for each pair."""

    base_PS: Int[Tensor, "P S"]
    """Prompt tokens, then the wanted answer without its last token."""
    source_PS: Int[Tensor, "P S"]
    """Prompt tokens of the source, then its own answer without the last token."""
    wanted_PA: Int[Tensor, "P A"]
    """The answer's tokens under the intervention."""

    def __post_init__(self) -> None:
        if self.base_PS.shape != self.source_PS.shape or len(self.base_PS) != len(self.wanted_PA):
            shapes = [tuple(part.shape) for part in (self.base_PS, self.source_PS, self.wanted_PA)]
            raise ConfigError(f"base, source and wanted answers do not belong together: shapes {shapes}")
        answer_PA = self.base_PS[:, self.base_PS.shape[1] - self.wanted_PA.shape[1] + 1 :]
        if not torch.equal(answer_PA, self.wanted_PA[:, :-1]):
            raise ConfigError("base rows must end with the wanted answer but for its last token: use `exchanges`")

    def __len__(self) -> int:
        return len(self.base_PS)

    def __getitem__(self, which: Int[Tensor, " M"] | slice) -> "Exchanges":
        return Exchanges(self.base_PS[which], self.source_PS[which], self.wanted_PA[which])


def exchanges(
    base_PS: Int[Tensor, "P S"],
    source_PS: Int[Tensor, "P S"],
    *,
    source_answer_PA: Int[Tensor, "P A"],
    wanted_PA: Int[Tensor, "P A"],
) -> Exchanges:
    """Exchanges from prompts, the source's own answers and the causal model's answers."""
    return Exchanges(
        torch.cat([base_PS, wanted_PA[:, :-1]], dim=1),
        torch.cat([source_PS, source_answer_PA[:, :-1]], dim=1),
        wanted_PA,
    )


@torch.no_grad()
def interchange(model: Model, subspace: Subspace, among: Exchanges) -> Bool[Tensor, " P"]:
    """For each pair whether the greedy answer, with the source's component in place, is the wanted one, every token.

    One forward on prompt and wanted answer decides it: as long as the tokens so far are right, the greedy run has seen
    the same ones. The mean is the interchange-intervention accuracy.
    """
    found: list[Tensor] = []
    for first in range(0, len(among), CHUNK):
        part = among[slice(first, first + CHUNK)]
        x_PQD = activations_at(model, subspace.site, part.source_PS)
        logits_PAV = answer_logits(model, subspace, part, x_PQD)
        found.append((logits_PAV.argmax(-1).cpu() == part.wanted_PA.cpu()).all(1))
    return torch.cat(found)


@torch.no_grad()
def intervene(
    model: Model, subspace: Subspace, values_QR: Float[Tensor, "Q R"], rows_NS: Int[Tensor, "N S"], *, n_answer: int
) -> Bool[Tensor, " N"]:
    """The same with one fixed component in every row: do(variable := value). Rows are prompts and wanted answers."""
    found: list[Tensor] = []
    with written(model, subspace, values_QR[None]):
        for part_NS in rows_NS.split(CHUNK):
            logits_NAV = model.network(input_ids=part_NS[:, :-1], use_cache=False).logits[:, -n_answer:]
            found.append((logits_NAV.argmax(-1) == part_NS[:, -n_answer:]).all(1).cpu())
    return torch.cat(found)


@torch.no_grad()
def interchange_token_by_token(model: Model, subspace: Subspace, among: Exchanges) -> Bool[Tensor, " P"]:
    """The plain reference of `interchange`: the answer is decoded one token after the other."""
    n_answer = among.wanted_PA.shape[1]
    rows_PS = among.base_PS[:, : among.base_PS.shape[1] - n_answer + 1]
    values_PQR = subspace.components(activations_at(model, subspace.site, among.source_PS))
    with written(model, subspace, values_PQR):
        for _ in range(n_answer):
            logits_PSV = model.network(input_ids=rows_PS, use_cache=False).logits
            rows_PS = torch.cat([rows_PS, logits_PSV[:, -1].argmax(-1, keepdim=True)], dim=1)
    return (rows_PS[:, -n_answer:] == among.wanted_PA).all(1)


def answer_logits(model: Model, subspace: Subspace, among: Exchanges, x_PQD: Tensor) -> Float[Tensor, "P A V"]:
    """Logits of the answer's tokens in the base run, with the component of `x_PQD` in place."""
    with written(model, subspace, subspace.components(x_PQD)):
        logits_PSV = model.network(input_ids=among.base_PS.to(model.device), use_cache=False).logits
    return logits_PSV[:, -among.wanted_PA.shape[1] :]
