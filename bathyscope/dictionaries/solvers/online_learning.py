"""Online dictionary learning (Mairal, Bach, Ponce and Sapiro 2009): no gradient, no learning rate.

per batch: C = codes of X on W;  A ← βA + CᵀC, B ← βB + CᵀX;  per row f: d_f ∝ d_f + (B_f - A_f @ W) / A_ff, ‖d_f‖ = 1
Each row is the best one for all codes so far, weighted by β_t = (1 - 1/t)^ρ. Memory: A holds F² numbers.
"""

import dataclasses
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, no_type_check

import torch
from jaxtyping import Float
from numpy.typing import NDArray
from torch import Tensor

from bathyscope.config import to_json
from bathyscope.dictionaries import start
from bathyscope.dictionaries.codes import Codes
from bathyscope.dictionaries.dead import Silence
from bathyscope.dictionaries.dictionary import Dictionary
from bathyscope.dictionaries.kernels.compiled import compiled
from bathyscope.dictionaries.kernels.rows import by_feature, gather_tokens
from bathyscope.dictionaries.rules import Pursuit
from bathyscope.dictionaries.solvers.fista import Fista
from bathyscope.dictionaries.solvers.orthogonal_pursuit import OrthogonalPursuit
from bathyscope.dictionaries.solvers.recode import Solver, solve
from bathyscope.dictionaries.source import checked
from bathyscope.dictionaries.survey import Survey
from bathyscope.dictionaries.trainee import Example
from bathyscope.dictionaries.weights import Weights
from bathyscope.errors import ConfigError
from bathyscope.progress import report

BLOCK_ROWS = 64
"""Rows whose `A_f @ W` is computed in one product; what changes within the block is put right row by row."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OnlineSettings:
    """Settings of `learn_online` and `refine_online`."""

    solver: Solver = field(default_factory=lambda: OrthogonalPursuit(k=32))
    """How tokens are coded while learning."""
    epochs: int = 1
    """Passes over the batches."""
    memory: float = 5.0
    """ρ; the larger, the sooner the codes of first, worse rows are forgotten; 0 forgets none."""
    dead_after_tokens: int = 20_000
    """Tokens of silence after which a feature is replaced by what is left of the worst reconstructed token."""
    start_rows: int = 16_384
    """Activations read ahead for the bias, and for the figures at the end."""
    bias_start: start.BiasStart = "geometric-median"
    """What `b_dec` is."""
    seed: int = 0
    """Seed of the first rows."""

    def __post_init__(self) -> None:
        if min(self.epochs, self.dead_after_tokens, self.start_rows) < 1:
            raise ConfigError("epochs, dead_after_tokens and start_rows must be at least 1")
        if not 0 <= self.memory < float("inf"):
            raise ConfigError(f"memory is {self.memory}: expected 0 or a positive exponent")


def learn_online(
    batches: Iterable[Tensor], n_features: int, *, settings: OnlineSettings = OnlineSettings()
) -> Dictionary:
    """A dictionary learnt from batches [N, D] in their order; it encodes by matching pursuit (`coding_rule`).

    Rows begin as random directions: tokens, the usual start, are mixtures of many features, and rows that begin as
    mixtures stay so for long. Raises ConfigError for batches that do not fit, with batch and row.
    """
    if n_features < 1:
        raise ConfigError(f"n_features is {n_features}: expected a positive number")
    head, stream = _read_ahead(batches, settings)
    sample_ND = torch.cat(head)
    b_dec_D = start.bias_start(sample_ND, settings.bias_start)
    generator = torch.Generator().manual_seed(settings.seed)
    W_FD = start.tied_start(n_features, sample_ND.shape[1], norm=1.0, generator=generator).W_dec_FD
    return _learn(W_FD, b_dec_D, stream, _total(batches, settings), settings, sample_ND)


def refine_online(
    dictionary: Dictionary, batches: Iterable[Tensor], *, settings: OnlineSettings = OnlineSettings()
) -> Dictionary:
    """The dictionary with its rows learnt further; `b_dec` stays, and it encodes by matching pursuit from now on."""
    head, stream = _read_ahead(batches, settings)
    W_FD = dictionary.W_dec.detach().float().clone()
    learnt = _learn(W_FD, dictionary.b_dec, stream, _total(batches, settings), settings, torch.cat(head))
    return dataclasses.replace(learnt, hookpoint=dictionary.hookpoint, model_identity=dictionary.model_identity)


def coding_rule(solver: Solver, l0: float) -> Pursuit:
    """The rule of the finished dictionary: `solver` where a rule can be it, else a pursuit with as many features."""
    match solver:
        case Pursuit():
            return solver
        case OrthogonalPursuit():
            return Pursuit(k=solver.k, residual_threshold=solver.residual_threshold, is_signed=solver.is_signed)
        case Fista():
            return Pursuit(k=max(1, round(l0)), is_signed=solver.is_signed)


@dataclass(slots=True)
class Statistics:
    """What all codes so far say about the rows."""

    A_FF: Float[Tensor, "F F"]
    """Weighted sum of CᵀC."""
    B_FD: Float[Tensor, "F D"]
    """Weighted sum of CᵀX."""

    def add(self, codes: Codes, x_ND: Float[Tensor, "N D"], *, keep: float) -> None:
        """Take in a batch; what was there counts `keep` times."""
        self.A_FF *= keep
        self.B_FD *= keep
        values, indices = codes.values_NK.contiguous(), codes.indices_NK.contiguous()
        _add_products(values.numpy(), indices.numpy(), self.A_FF.numpy())
        self.B_FD += gather_tokens(by_feature(values, indices, len(self.A_FF)), values, x_ND)

    def forget(self, features_M: Tensor) -> None:
        """Nothing is known of these features any more."""
        self.A_FF[features_M], self.A_FF[:, features_M], self.B_FD[features_M] = 0, 0, 0


def update_rows(W_FD: Float[Tensor, "F D"], statistics: Statistics) -> None:
    """One round of block coordinate descent, in place; rows without any code stay.

    Among rows of length 1 each step is the best one: tr(Wᵀ A W) / 2 - tr(Wᵀ B) never rises.
    """
    A_FF = statistics.A_FF
    for begin in range(0, len(W_FD), BLOCK_ROWS):
        of = slice(begin, begin + BLOCK_ROWS)
        left = statistics.B_FD[of] - A_FF[of] @ W_FD
        within = A_FF[of, of]
        for i in range(len(left)):
            weight = float(within[i, i])
            if weight <= 0:
                continue
            row = W_FD[begin + i]
            moved = torch.nn.functional.normalize(row + left[i] / weight, dim=0)
            left -= within[:, i, None] * (moved - row)
            W_FD[begin + i] = moved


def update_rows_reference(W_FD: Float[Tensor, "F D"], statistics: Statistics) -> None:
    """The definition, row by row."""
    for f in range(len(W_FD)):
        weight = float(statistics.A_FF[f, f])
        if weight > 0:
            left_D = statistics.B_FD[f] - statistics.A_FF[f] @ W_FD
            W_FD[f] = torch.nn.functional.normalize(W_FD[f] + left_D / weight, dim=0)


def _learn(
    W_FD: Tensor,
    b_dec_D: Tensor,
    stream: Iterator[Tensor],
    total: int,
    settings: OnlineSettings,
    sample_ND: Tensor,
) -> Dictionary:
    f, d = W_FD.shape
    statistics, silence = Statistics(W_FD.new_zeros(f, f), W_FD.new_zeros(f, d)), Silence(f)
    done, l0 = 0, 0.0
    for number, batch in enumerate(stream):
        x_ND = checked(batch, d_model=d, number=number).float() - b_dec_D
        codes = solve(x_ND, W_FD, settings.solver)
        statistics.add(codes, x_ND, keep=(1 - 1 / (number + 1)) ** settings.memory)
        residual_ND = x_ND - codes.dense() @ W_FD
        update_rows(W_FD, statistics)
        silence.update(codes.fires(), len(x_ND))
        n_dead = _replace_dead(W_FD, statistics, silence, residual_ND, settings.dead_after_tokens)
        done, l0 = done + len(x_ND), codes.l0()
        error = float(residual_ND.square().sum() / x_ND.square().sum().clamp_min(1e-30))
        report("learn online", done, total, "tokens", error=error, l0=l0, replaced=n_dead)
    weights = Weights(W_enc=W_FD.T.contiguous(), b_enc=W_FD.new_zeros(f), W_dec=W_FD, b_dec=b_dec_D.clone())
    training = {"tokens": done, "online": to_json(settings)}
    rule = coding_rule(settings.solver, l0)
    dictionary = Dictionary(weights=weights, rule=rule, subtract_b_dec=True, training=training)
    survey = Survey(dictionary, lambda batch_ND: Example(batch_ND, batch_ND))
    survey.add(sample_ND.float())
    return survey.result()


def _replace_dead(
    W_FD: Tensor, statistics: Statistics, silence: Silence, residual_ND: Tensor, after_tokens: int
) -> int:
    """Give dead features what is left of the worst reconstructed tokens; their count."""
    dead_M = silence.dead(after_tokens).nonzero()[: len(residual_ND), 0]
    if len(dead_M):
        worst_M = residual_ND.square().sum(1).topk(len(dead_M)).indices
        W_FD[dead_M] = torch.nn.functional.normalize(residual_ND[worst_M], dim=1)
        statistics.forget(dead_M)
        silence.tokens_F[dead_M] = 0
    return len(dead_M)


def _read_ahead(batches: Iterable[Tensor], settings: OnlineSettings) -> tuple[list[Tensor], Iterator[Tensor]]:
    """The first batches, and all of them again."""
    first = iter(batches)
    if first is batches and settings.epochs > 1:
        raise ConfigError(f"epochs is {settings.epochs}, but these batches can be read only once: give a list")
    head, n_rows, d_model = list[Tensor](), 0, 0
    for batch in first:
        d_model = d_model or (batch.shape[1] if batch.ndim == 2 else 0)
        head.append(checked(batch, d_model=d_model, number=len(head)).float())
        n_rows += len(batch)
        if n_rows >= settings.start_rows:
            break
    if not n_rows:
        raise ConfigError("there are no batches to learn from")
    return head, _passes(head, first, batches, settings.epochs)


def _passes(head: list[Tensor], rest: Iterator[Tensor], batches: Iterable[Tensor], epochs: int) -> Iterator[Tensor]:
    yield from head
    yield from rest
    for _ in range(epochs - 1):
        yield from batches


def _total(batches: Iterable[Tensor], settings: OnlineSettings) -> int:
    """Tokens in all, 0 where the batches do not say."""
    return settings.epochs * sum(map(len, batches)) if isinstance(batches, Sequence) else 0


@compiled(reorder=False)
@no_type_check
def _add_products(values: NDArray[Any], indices: NDArray[Any], out: NDArray[Any]) -> None:
    """out += CᵀC from the pairs."""
    for n in range(len(values)):
        for i in range(values.shape[1]):
            value, row = values[n, i], out[indices[n, i]]
            if value != 0:
                for j in range(values.shape[1]):
                    row[indices[n, j]] += value * values[n, j]
