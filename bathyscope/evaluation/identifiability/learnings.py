"""Learning again: on halves, on fewer pairs, without a bound, and from shifts that have no structure at all.

All further learnings keep the bound that the dictionary ended with; only their pairs and starts are other ones.
"""

import dataclasses
from collections.abc import Iterator
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from bathyscope.dictionaries.dictionary import Dictionary
from bathyscope.dictionaries.shifts.ascent import AscentSettings
from bathyscope.dictionaries.shifts.learn import learn_shifts
from bathyscope.dictionaries.shifts.settings import ShiftSettings
from bathyscope.errors import ConfigError
from bathyscope.evaluation.identifiability.settings import IdentifiabilitySettings
from bathyscope.evaluation.identifiability.significance import ColumnEvidence, significance


class Examined(NamedTuple):
    """A dictionary and its halves' verdict on it."""

    whole: Dictionary
    half_a: Dictionary
    half_b: Dictionary
    columns: list[ColumnEvidence]


def examine(
    shifts_PD: Float[Tensor, "P D"], settings: IdentifiabilitySettings, *, whole: Dictionary | None = None
) -> Examined:
    """Learn (unless `whole` was learnt already), learn again on two halves that share no pair, and compare."""
    n, needed = len(shifts_PD), 2 * settings.shifts.n_features
    if n < needed:
        raise ConfigError(
            f"{n} pairs are fewer than twice the {settings.shifts.n_features} columns: halves of them cannot be "
            "compared; give more pairs or fewer columns"
        )
    whole = learn_shifts(shifts_PD, settings.shifts) if whole is None else whole
    order_P = torch.randperm(n, generator=torch.Generator().manual_seed(settings.test_seed))
    a_PD, b_PD = shifts_PD[order_P[: n // 2]], shifts_PD[order_P[n // 2 :]]
    half_a, half_b = (
        learn_shifts(half_PD, again(whole, settings, number=number)) for number, half_PD in enumerate((a_PD, b_PD))
    )
    columns = significance(
        whole, half_a, half_b, a_PD, b_PD, level=settings.level, n_draws=settings.n_draws, seed=settings.test_seed
    )
    return Examined(whole, half_a, half_b, columns)


def again(whole: Dictionary, settings: IdentifiabilitySettings, *, number: int) -> ShiftSettings:
    """The settings of a further learning: the same bound, starts of its own."""
    return dataclasses.replace(
        settings.shifts,
        beta=whole.training["beta"],
        n_restarts=settings.n_restarts_again,
        seed=settings.shifts.seed + 101 + number,
    )


def without_some(
    shifts_PD: Float[Tensor, "P D"], whole: Dictionary, settings: IdentifiabilitySettings
) -> Iterator[Dictionary]:
    """Dictionaries of what is left when random pairs are removed."""
    for number in range(settings.n_removals):
        generator = torch.Generator().manual_seed(settings.test_seed + 1000 + number)
        order_P = torch.randperm(len(shifts_PD), generator=generator)
        kept_PD = shifts_PD[order_P[round(settings.removed * len(shifts_PD)) :]]
        yield learn_shifts(kept_PD, again(whole, settings, number=10 + number))


def without_bound(shifts_PD: Float[Tensor, "P D"], settings: IdentifiabilitySettings, *, number: int) -> Dictionary:
    """A linear autoencoder with unit rows, trained from random rows: what sparsity adds is what it lacks."""
    steps = dataclasses.replace(settings.shifts.ascent, n_steps=settings.free_steps)
    return learn_shifts(shifts_PD, free(settings.shifts, steps, seed=settings.shifts.seed + number))


def free(shifts: ShiftSettings, steps: AscentSettings, *, seed: int) -> ShiftSettings:
    """The settings of one restart from random rows under a bound that is never met."""
    return dataclasses.replace(shifts, start="tied", beta=1e9, n_restarts=1, refit=False, ascent=steps, seed=seed)


def normal_twin(shifts_PD: Float[Tensor, "P D"], *, seed: int) -> Float[Tensor, "P D"]:
    """As many normally distributed shifts with the same mean and covariance: dense, and without any structure."""
    wide_PD = shifts_PD.double()
    mean_D = wide_PD.mean(0)
    generator = torch.Generator().manual_seed(seed)
    p, d = wide_PD.shape
    if p < d:
        mix_PP = torch.randn(p, p, generator=generator, dtype=torch.float64) / p**0.5
        return (mean_D + mix_PP @ (wide_PD - mean_D)).float()
    value_D, vector_DD = torch.linalg.eigh((wide_PD - mean_D).T @ (wide_PD - mean_D) / p)
    normal_PD = torch.randn(p, d, generator=generator, dtype=torch.float64)
    return (mean_D + (normal_PD * value_D.clamp_min(0).sqrt()) @ vector_DD.T).float()


def random_encoder(whole: Dictionary, shifts_PD: Float[Tensor, "P D"], *, seed: int) -> Float[Tensor, "P C"]:
    """Codes of a random rotation of the dictionary's codes made round: as many columns, the same span, no learning."""
    codes_PC = whole.pre(shifts_PD).double()
    codes_PC = codes_PC - codes_PC.mean(0)
    value_C, vector_CC = torch.linalg.eigh(codes_PC.T @ codes_PC / len(codes_PC))
    kept = value_C > 1e-9 * value_C.max()
    round_PC = codes_PC @ (vector_CC[:, kept] / value_C[kept].sqrt())
    turn_CC = torch.linalg.qr(
        torch.randn(
            round_PC.shape[1],
            round_PC.shape[1],
            generator=torch.Generator().manual_seed(seed),
            dtype=torch.float64,
        )
    ).Q
    return (round_PC @ turn_CC).float()
