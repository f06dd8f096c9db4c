"""Steering operations: each says by how much it would move the activations it is shown.

An operation is a frozen value with a hookpoint and a `delta`; `steer` adds the deltas. Knows dictionaries and
directions; knows nothing of models, positions or generation.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, Protocol, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor

from bathyscope.dictionaries.dictionary import Dictionary
from bathyscope.errors import ConfigError


@runtime_checkable
class Operation(Protocol):
    """What `steer` accepts: anything with a hookpoint and a delta."""

    @property
    def hookpoint(self) -> str:
        """Module name whose output is moved."""
        ...

    @property
    def model_identity(self) -> Mapping[str, str] | None:
        """The model that the directions come from, or None when any model will do."""
        ...

    def delta(self, x_ND: Float[Tensor, "N D"]) -> Float[Tensor, "N D"]:
        """The change to add to `x_ND` (float32), token by token; exact zeros where nothing is to change."""
        ...


@dataclass(frozen=True, slots=True)
class Amplify:
    """Scale what is present of some features: `X' = X + α·ReLU(X S) Sᵀ`, S = chosen unit decoder rows as columns.

    α = -1 erases (for a single or orthogonal directions ReLU(X' S) = 0 afterwards), α = 0 changes nothing (Wu et al.
    2025, arXiv 2502.15576). With `read="encoder"` the dictionary's own codes take the place of ReLU(X S):
    `x + α Σ_f c_f(x) d_f`, the form for dictionaries whose encoder is not the decoder's transpose.
    """

    dictionary: Dictionary
    """Where the directions (and the encoder) come from."""
    features: tuple[int, ...] | list[int]
    """Feature numbers to scale."""
    alpha: float
    """Multiple of what is present to add: -1 erases, 1 doubles."""
    read: Literal["directions", "encoder"] = "directions"
    """What counts as present: the projection on the directions, or the dictionary's codes."""

    def __post_init__(self) -> None:
        _check(self.dictionary, self.features)

    @property
    def hookpoint(self) -> str:
        """The hookpoint that the dictionary was trained on."""
        assert self.dictionary.hookpoint is not None
        return self.dictionary.hookpoint

    @property
    def model_identity(self) -> Mapping[str, str] | None:
        """The model that the dictionary was trained on."""
        return self.dictionary.model_identity

    def delta(self, x_ND: Float[Tensor, "N D"]) -> Float[Tensor, "N D"]:
        """α times the present part of the features, along their directions."""
        directions_MD = self.dictionary.W_dec[list(self.features)]
        if self.read == "directions":
            present_NM = torch.relu(x_ND @ directions_MD.T)
        else:
            present_NM = _codes_of(self.dictionary, x_ND, self.features)
        return self.alpha * (present_NM @ directions_MD)


@dataclass(frozen=True, slots=True)
class Clamp:
    """Hold features at a value: `x' = x + Σ_f (t_f - c_f(x)) d_f`, t_f = strength × the feature's observed maximum.

    A delta on the activation, not a reconstruction: what the dictionary does not explain stays in place (the error
    term is kept), as in Scaling Monosemanticity (Templeton et al. 2024, methods: feature steering).
    """

    dictionary: Dictionary
    """Where codes, directions and observed maxima come from."""
    features: tuple[int, ...] | list[int]
    """Feature numbers to hold."""
    strength: float
    """Target in multiples of each feature's observed maximum on training data; 0 switches the features off."""

    def __post_init__(self) -> None:
        _check(self.dictionary, self.features)
        observed = self.dictionary.max_activation
        if observed is None:
            raise ConfigError(
                "this dictionary carries no observed maxima, so a strength in multiples of them has no meaning"
            )
        silent = [f for f in self.features if float(observed[f]) <= 0]
        if silent and self.strength != 0:
            raise ConfigError(
                f"feature {silent[0]} never fired on training data: its maximum is 0, choose another feature"
            )

    @property
    def hookpoint(self) -> str:
        """The hookpoint that the dictionary was trained on."""
        assert self.dictionary.hookpoint is not None
        return self.dictionary.hookpoint

    @property
    def model_identity(self) -> Mapping[str, str] | None:
        """The model that the dictionary was trained on."""
        return self.dictionary.model_identity

    def delta(self, x_ND: Float[Tensor, "N D"]) -> Float[Tensor, "N D"]:
        """The move from the present codes to the targets, along the directions."""
        features = list(self.features)
        assert self.dictionary.max_activation is not None
        targets_M = self.strength * self.dictionary.max_activation[features]
        present_NM = _codes_of(self.dictionary, x_ND, self.features)
        return (targets_M - present_NM) @ self.dictionary.W_dec[features]


@dataclass(frozen=True, slots=True, eq=False)
class Add:
    """Add a fixed vector: `x' = x + amount · u`, u = `direction_D` scaled to unit length."""

    direction_D: Float[Tensor, " D"]
    """Direction in the space of the hookpoint; its length is ignored."""
    amount: float
    """Length of the added vector, in units of the activations; state it as a multiple of the layer's typical norm."""
    at: str
    """Hookpoint."""

    def __post_init__(self) -> None:
        if self.direction_D.ndim != 1 or not bool(self.direction_D.norm() > 0):
            raise ConfigError(f"a direction is one non-zero vector [D], found shape {tuple(self.direction_D.shape)}")

    @property
    def hookpoint(self) -> str:
        """The hookpoint given as `at`."""
        return self.at

    @property
    def model_identity(self) -> Mapping[str, str] | None:
        """None: a bare vector does not say where it was read."""
        return None

    def delta(self, x_ND: Float[Tensor, "N D"]) -> Float[Tensor, "N D"]:
        """The same vector for every token."""
        unit_D = self.direction_D.float() / self.direction_D.float().norm()
        return (self.amount * unit_D).expand_as(x_ND)


@dataclass(frozen=True, slots=True)
class RandomDirection:
    """The control of another operation: moves each token just as far, along one random direction.

    `x' = x + ‖Δ(x)‖ · u` with u uniform on the unit sphere, drawn once from `seed`.
    """

    of: "Amplify | Clamp | Add"
    """The operation whose length of move is copied."""
    seed: int
    """Seed of the direction."""

    @property
    def hookpoint(self) -> str:
        """The hookpoint of the copied operation."""
        return self.of.hookpoint

    @property
    def model_identity(self) -> Mapping[str, str] | None:
        """The model of the copied operation."""
        return self.of.model_identity

    def delta(self, x_ND: Float[Tensor, "N D"]) -> Float[Tensor, "N D"]:
        """The copied operation's length, token by token, along the random direction."""
        generator = torch.Generator().manual_seed(self.seed)
        unit_D = torch.randn(x_ND.shape[-1], generator=generator)
        return self.of.delta(x_ND).norm(dim=-1, keepdim=True) * (unit_D / unit_D.norm()).to(x_ND.device)


def _codes_of(dictionary: Dictionary, x_ND: Tensor, features: tuple[int, ...] | list[int]) -> Tensor:
    """Codes of the chosen features only, [N, M]."""
    codes = dictionary.encode(x_ND)
    return torch.stack([(codes.values_NK * (codes.indices_NK == f)).sum(1) for f in features], dim=1)


def _check(dictionary: Dictionary, features: tuple[int, ...] | list[int]) -> None:
    dictionary.require_one_place("steering")
    if dictionary.hookpoint is None:
        raise ConfigError("this dictionary does not say which hookpoint it was trained on, so it cannot steer a model")
    if dictionary.normalise is not None:
        raise ConfigError(
            f"this dictionary normalises each token ({dictionary.normalise}): its codes are not lengths in the model's "
            "activations, so it cannot steer by them; use Add with one of its directions"
        )
    wrong = [f for f in features if not 0 <= f < dictionary.n_features]
    if not features or wrong:
        raise ConfigError(f"features {wrong or 'none'}: give numbers from 0 to {dictionary.n_features - 1}")
