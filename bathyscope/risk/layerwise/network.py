"""Networks as plain weights: dense layers one after the other, for inputs that are standard normal."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import torch
from jaxtyping import Float
from torch import Tensor, nn

from bathyscope.errors import ConfigError, ModelError

Activation = Literal["relu", "gelu", "identity"]
"""What is applied to each neuron; `gelu` is the exact one, x·Φ(x)."""
GAIN = {"relu": 2.0, "gelu": 2.0, "identity": 1.0}
"""Variance of a random weight times the width that it reads (He et al. 2015, Delving Deep into Rectifiers, eq. 10)."""


@dataclass(frozen=True, slots=True, eq=False)
class Dense:
    """One layer: `activation(W x + b)`."""

    W_DI: Float[Tensor, "D I"]
    """Weights, a row for each of D neurons, over I inputs."""
    b_D: Float[Tensor, " D"]
    """Biases."""
    activation: Activation = "identity"
    """Applied to each neuron."""

    def __post_init__(self) -> None:
        if self.activation not in get_args(Activation):
            known = ", ".join(get_args(Activation))
            raise ConfigError(f"activation {self.activation!r} is unknown; expected one of: {known}")
        if self.W_DI.dim() != 2 or self.b_D.shape != self.W_DI.shape[:1]:
            raise ConfigError(
                f"a layer's weights have shape {tuple(self.W_DI.shape)} and its biases {tuple(self.b_D.shape)}; "
                "expected [D, I] and [D]"
            )
        if not (self.W_DI.isfinite().all() and self.b_D.isfinite().all()):
            raise ConfigError("a layer has weights or biases that are NaN or infinite")


@dataclass(frozen=True, slots=True, eq=False)
class Network:
    """Dense layers one after the other. Inputs are drawn from N(0, I)."""

    layers: tuple[Dense, ...]
    """In the order in which they are applied."""

    def __post_init__(self) -> None:
        if not self.layers:
            raise ConfigError("a network has no layers; give at least one")
        for number, (below, above) in enumerate(zip(self.layers, self.layers[1:], strict=False)):
            if below.W_DI.shape[0] != above.W_DI.shape[1]:
                raise ConfigError(
                    f"layer {number} has {below.W_DI.shape[0]} neurons and layer {number + 1} reads "
                    f"{above.W_DI.shape[1]}: give layers that fit"
                )

    @property
    def n_inputs(self) -> int:
        """Width of the input."""
        return self.layers[0].W_DI.shape[1]

    @property
    def n_outputs(self) -> int:
        """Width of the output."""
        return self.layers[-1].W_DI.shape[0]

    def __call__(self, x_NI: Float[Tensor, "N I"]) -> Float[Tensor, "N D"]:
        """Outputs for the rows of `x_NI`, in its precision."""
        return run(self.layers, x_NI)


def run(layers: Sequence[Dense], x_NI: Float[Tensor, "N I"]) -> Float[Tensor, "N D"]:
    """What the layers make of the rows of `x_NI`, in its precision."""
    for layer in layers:
        x_NI = apply(layer.activation, torch.addmm(layer.b_D.to(x_NI), x_NI, layer.W_DI.to(x_NI).T))
    return x_NI


def apply(activation: Activation, z: Float[Tensor, "..."]) -> Float[Tensor, "..."]:
    """The activation of each entry."""
    match activation:
        case "relu":
            return z.relu()
        case "gelu":
            return nn.functional.gelu(z)
        case "identity":
            return z


def as_network(model: Network | nn.Sequential) -> Network:
    """The network itself, or what a torch model of `Linear`, `ReLU`, exact `GELU` and `Identity` computes, in float64.

    Raises ModelError naming the first module that is something else, ConfigError where a parameter is not finite.
    """
    return model if isinstance(model, Network) else Network(tuple(_layers(model)))


def _layers(model: nn.Sequential) -> Iterator[Dense]:
    linear: nn.Linear | None = None
    for name, module in model.named_children():
        match module:
            case nn.Linear():
                if linear is not None:
                    yield _dense(linear, "identity")
                linear = module
            case nn.Identity():
                continue
            case nn.ReLU() | nn.GELU(approximate="none") if linear is not None:
                yield _dense(linear, "relu" if isinstance(module, nn.ReLU) else "gelu")
                linear = None
            case _:
                raise ModelError(
                    f"module {name} is {module}; expected Linear layers, each followed by ReLU, exact GELU or nothing"
                )
    if linear is not None:
        yield _dense(linear, "identity")


def _dense(linear: nn.Linear, activation: Activation) -> Dense:
    W_DI = linear.weight.detach().double().cpu()
    b_D = W_DI.new_zeros(len(W_DI)) if linear.bias is None else linear.bias.detach().double().cpu()
    return Dense(W_DI, b_D, activation)


def random_network(
    *, width: int, n_hidden: int, seed: int, activation: Activation = "relu", is_linear_last: bool = False
) -> Network:
    """Square layers with independent normal weights of variance `GAIN / width` and no biases.

    `n_hidden` layers have the activation; with `is_linear_last` one more follows that has none.
    """
    generator = torch.Generator().manual_seed(seed)
    layers: list[Dense] = []
    names: list[Activation] = [activation] * n_hidden
    if is_linear_last:
        names.append("identity")
    for name in names:
        W_DI = torch.randn(width, width, generator=generator, dtype=torch.float64) * math.sqrt(GAIN[activation] / width)
        layers.append(Dense(W_DI, W_DI.new_zeros(width), name))
    return Network(tuple(layers))
