"""Two-digit addition as a world: every sum, its causal model, and what the model answers under an intervention.

carry = [u₁ + u₂ ≥ 10],  units = (u₁ + u₂) mod 10,  tens = t₁ + t₂ + carry (0 to 19),  answer = 10·tens + units

A sum is written as nine tokens, `16+25=041`: digits are tokens, the answer has three digits, most significant first.
The base can be smaller than 10, for quick trials. Knows nothing of networks.
"""

from dataclasses import dataclass
from typing import Literal, NamedTuple

import torch
from jaxtyping import Bool, Int
from torch import Tensor

from bathyscope.errors import ConfigError

VOCABULARY = "0123456789+="
"""Token number → character; digits are their own numbers."""
PLUS, EQUALS = 10, 11
PROMPT, ANSWER = 6, 3
"""Tokens of `16+25=` and of `041`."""
POSITIONS = {"t1": 0, "u1": 1, "plus": 2, "t2": 3, "u2": 4, "equals": 5, "hundreds": 6, "tens": 7, "units": 8}
"""Where each token stands. The answer's first digit is read at `equals`, its second one at `hundreds`."""

Wrong = Literal["first number is large", "odd tens", "shuffled carry"]
"""Variables with values 0 and 1 that addition does not have in the carry's place."""


class Variables(NamedTuple):
    """The causal model's variables of N sums."""

    carry_N: Int[Tensor, " N"]
    """1 where the units reach the base."""
    units_N: Int[Tensor, " N"]
    """Last digit of the answer."""
    tens_N: Int[Tensor, " N"]
    """The answer without its last digit, 0 to 19."""


class Intervention(NamedTuple):
    """A causal variable, and the value that it is held at in each sum."""

    variable: Literal["carry", "units", "tens"]
    value_N: Int[Tensor, " N"]


class Crossing(NamedTuple):
    """Pairs of a base sum, and a source sum whose variable is not what the base has."""

    base_P: Int[Tensor, " P"]
    """Number of the sum that is run."""
    source_P: Int[Tensor, " P"]
    """Number of the sum that the variable's value comes from."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Addition:
    """Every sum of two two-digit numbers. Sums are numbered: base² · first + second."""

    base: int = 10
    """Number of digits, 2 to 10."""

    def __post_init__(self) -> None:
        if not 2 <= self.base <= 10:
            raise ConfigError(f"base {self.base}: digits are tokens 0 to 9, expected a base from 2 to 10")

    @property
    def n_sums(self) -> int:
        """Number of different sums."""
        return self.base**4

    def sums(self) -> Int[Tensor, "N 2"]:
        """Both numbers of each sum, 0+0 first."""
        number_N = torch.arange(self.n_sums)
        return torch.stack([number_N // self.base**2, number_N % self.base**2], dim=1)

    def number_of(self, first: int, second: int) -> int:
        """The number of one sum."""
        self._digits(torch.tensor([[first, second]]))
        return first * self.base**2 + second

    def split(self, *, held_out: float, seed: int) -> tuple[Int[Tensor, " N"], Int[Tensor, " M"]]:
        """Numbers of all sums in two sorted parts, a random share `held_out` of them in the second one."""
        n_held = round(self.n_sums * held_out)
        if not 0 < n_held < self.n_sums:
            raise ConfigError(f"a share of {held_out} held out leaves one side empty: expected one within (0, 1)")
        order_N = torch.randperm(self.n_sums, generator=torch.Generator().manual_seed(seed))
        return order_N[n_held:].sort().values, order_N[:n_held].sort().values

    def prompts(self, sums_N2: Int[Tensor, "N 2"]) -> Int[Tensor, "N 6"]:
        """Tokens of `16+25=`."""
        t1_N, u1_N, t2_N, u2_N = self._digits(sums_N2)
        plus_N, equals_N = torch.full_like(t1_N, PLUS), torch.full_like(t1_N, EQUALS)
        return torch.stack([t1_N, u1_N, plus_N, t2_N, u2_N, equals_N], dim=1)

    def variables(self, sums_N2: Int[Tensor, "N 2"]) -> Variables:
        """The causal model run forwards."""
        t1_N, u1_N, t2_N, u2_N = self._digits(sums_N2)
        carry_N = (u1_N + u2_N >= self.base).long()
        return Variables(carry_N, (u1_N + u2_N) % self.base, t1_N + t2_N + carry_N)

    def answers(self, sums_N2: Int[Tensor, "N 2"], intervention: Intervention | None = None) -> Int[Tensor, "N 3"]:
        """Answer tokens of the causal model, one variable held at given values where there is an intervention.

        A carry held at 0 changes the tens and leaves the units: 16 + 25 is 31 then. Raises ConfigError for a value that
        the variable cannot take.
        """
        carry_N, units_N, tens_N = self.variables(sums_N2)
        if intervention is not None:
            highest = {"carry": 1, "units": self.base - 1, "tens": 2 * self.base - 1}
            value_N = _within(intervention, highest[intervention.variable])
            match intervention.variable:
                case "carry":
                    tens_N = tens_N - carry_N + value_N
                case "units":
                    units_N = value_N
                case "tens":
                    tens_N = value_N
        return torch.stack([tens_N // self.base, tens_N % self.base, units_N], dim=1)

    def rows(self, sums_N2: Int[Tensor, "N 2"], intervention: Intervention | None = None) -> Int[Tensor, "N 9"]:
        """Tokens of whole sums, `16+25=041`."""
        return torch.cat([self.prompts(sums_N2), self.answers(sums_N2, intervention)], dim=1)

    def wrong(self, name: Wrong, *, seed: int = 0) -> Int[Tensor, " N"]:
        """For every sum the value of a variable that is not the carry: what an alignment must fail to find.

        `shuffled carry` deals the carries out at random (the only one that draws from `seed`).
        """
        t1_N, _, t2_N, _ = self._digits(self.sums())
        match name:
            case "first number is large":
                return (2 * t1_N >= self.base).long()
            case "odd tens":
                return (t1_N + t2_N) % 2
            case "shuffled carry":
                order_N = torch.randperm(self.n_sums, generator=torch.Generator().manual_seed(seed))
                return self.variables(self.sums()).carry_N[order_N]

    def _digits(self, sums_N2: Int[Tensor, "N 2"]) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """t₁, u₁, t₂, u₂."""
        highest = self.base**2 - 1
        wrong_M2 = sums_N2[((sums_N2 < 0) | (sums_N2 > highest)).any(1)]
        if len(wrong_M2):
            first, second = wrong_M2[0].tolist()
            raise ConfigError(f"{first} + {second} is no two-digit sum here: expected numbers from 0 to {highest}")
        first_N, second_N = sums_N2.unbind(1)
        return first_N // self.base, first_N % self.base, second_N // self.base, second_N % self.base


def crossing(
    value_N: Int[Tensor, " N"],
    carry_N: Int[Tensor, " N"],
    among_M: Int[Tensor, " M"],
    *,
    n_sources: int,
    seed: int,
    same_carry: bool = False,
) -> Crossing:
    """Every sum of `among_M` as base, each with `n_sources` random sums of `among_M` whose value is not its carry.

    `value_N` is the variable taken from the source (0 or 1): the carry itself, or a wrong one in its place. What is
    wanted thus always differs from what the base run says by itself. With `same_carry`, for wrong variables, sources
    have the base's carry: otherwise an exchange of the carry would give what is wanted in half of the pairs. Raises
    ConfigError when there is no such source.
    """
    generator = torch.Generator().manual_seed(seed)
    base_P = among_M.repeat_interleave(n_sources)
    source_P = torch.empty_like(base_P)
    for carry in (0, 1):
        fits_M: Bool[Tensor, " M"] = value_N[among_M] == 1 - carry
        others = among_M[fits_M & (carry_N[among_M] == carry)] if same_carry else among_M[fits_M]
        is_here_P: Bool[Tensor, " P"] = carry_N[base_P] == carry
        if len(others) == 0:
            raise ConfigError(f"none of these sums can be a source for a base with carry {carry}: no pair crosses")
        source_P[is_here_P] = others[torch.randint(len(others), (int(is_here_P.sum()),), generator=generator)]
    return Crossing(base_P, source_P)


def _within(intervention: Intervention, highest: int) -> Int[Tensor, " N"]:
    value_N = intervention.value_N
    if bool(((value_N < 0) | (value_N > highest)).any()):
        raise ConfigError(f"{intervention.variable} cannot be {value_N.tolist()[:5]}: expected 0 to {highest}")
    return value_N
