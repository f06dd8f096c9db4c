"""A dictionary's tensors, and the folding that makes every kind look alike.

After folding the decoder rows have length 1, no activation scale is left, and a code is the length that its feature
adds to the reconstruction, in units of the model's own activations. Knows nothing of which features are kept.
"""

import dataclasses
from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor

from bathyscope.errors import ArtifactError, ConfigError

TENSORS = ("W_enc", "b_enc", "W_dec", "b_dec", "threshold", "gain", "W_skip")
EQUAL_ROWS = 1e-4
"""Relative difference in length up to which decoder rows count as equally long."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Weights:
    """`pre = x @ W_enc + b_enc` (or `(x - b_dec) @ W_enc + b_enc`), `x̂ = c @ W_dec + b_dec (+ x @ W_skip)`.

    The output may lie elsewhere than the input and have another width O; O = D where they are the same place.
    """

    W_enc: Float[Tensor, "D F"]
    """Encoder; column f reads feature f."""
    b_enc: Float[Tensor, " F"]
    """Encoder bias."""
    W_dec: Float[Tensor, "F O"]
    """Decoder; row f is the direction that feature f writes."""
    b_dec: Float[Tensor, " O"]
    """Decoder bias: the reconstruction when nothing fires."""
    threshold: Float[Tensor, " F"] | None = None
    """Least pre-activation that counts, for rules that use one; float32 even when the rest is not."""
    gain: Float[Tensor, " F"] | None = None
    """Code per unit of kept pre-activation, 1 when None: where decoder rows differed in length and the rule compares
    features, folding the lengths into the encoder would keep other features, so they stand here."""
    W_skip: Float[Tensor, "D O"] | None = None
    """Linear path from the input to the output, beside the features (skip transcoders)."""

    def __post_init__(self) -> None:
        d, f = self.W_enc.shape if self.W_enc.ndim == 2 else (-1, -1)
        o = self.W_dec.shape[1] if self.W_dec.ndim == 2 and self.b_dec.shape == self.W_dec.shape[1:] else d
        wanted = {"W_enc": (d, f), "b_enc": (f,), "W_dec": (f, o), "b_dec": (o,), "W_skip": (d, o)}
        wanted |= {"threshold": (f,), "gain": (f,)}
        for name, tensor in self.tensors().items():
            if tuple(tensor.shape) != wanted[name]:
                raise ArtifactError(
                    f"{name} has shape {tuple(tensor.shape)}, expected {wanted[name]} from W_enc [D, F]"
                )

    def tensors(self) -> dict[str, Tensor]:
        """The tensors by name, without those that are None."""
        found = {name: getattr(self, name) for name in TENSORS}
        return {name: tensor for name, tensor in found.items() if tensor is not None}

    def to(self, device: str) -> "Weights":
        """The same weights on `device`."""
        return dataclasses.replace(self, **{name: tensor.to(device) for name, tensor in self.tensors().items()})


def fold(weights: Weights, *, scale: float, compares_features: bool = False) -> Weights:
    """Neutral weights (float32, contiguous, detached) of a dictionary trained on `scale · x`.

    With n_f = ‖d_f‖ / scale: `W_enc[:,f]·scale·n_f`, `b_enc·n_f`, `threshold·n_f`, `d_f/‖d_f‖`, `b_dec/scale`,
    `W_skip` as it is, computed in float64. A row of length 0 stays 0 and its feature never fires: n_f = 0.
    Pre-activations change by the factor n_f, so a rule that compares features with each other (top-k) would keep
    other ones when decoder rows differ in length: with `compares_features` that raises ConfigError.
    """
    norm_F = weights.W_dec.detach().double().norm(dim=1)
    if compares_features and float(norm_F.max()) > (1 + EQUAL_ROWS) * float(norm_F.min()):
        raise ConfigError(
            f"decoder rows from {float(norm_F.min()):.4g} to {float(norm_F.max()):.4g} long cannot be folded: a rule "
            "that compares features would keep other ones; train with unit rows"
        )
    n_F = norm_F / scale
    factors = {"W_enc": scale * n_F, "b_enc": n_F, "W_dec": 1 / norm_F.clamp_min(1e-30)[:, None], "b_dec": 1 / scale}
    factors |= {"threshold": n_F, "W_skip": 1.0}
    return Weights(**{name: _times(tensor, factors[name]) for name, tensor in weights.tensors().items()})


def _times(tensor: Tensor, factor: Tensor | float) -> Tensor:
    """The product computed in float64, one tensor at a time, as float32."""
    return (tensor.detach().double() * factor).float().contiguous()
