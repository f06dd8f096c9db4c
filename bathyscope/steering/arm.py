"""`Arm`: one way of steering towards one concept, at the strengths that are tried."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Float
from torch import Tensor

from bathyscope.errors import ConfigError
from bathyscope.steering.clause import Clause
from bathyscope.steering.operations.add import Add
from bathyscope.steering.operations.operation import Operation
from bathyscope.steering.operations.strength import Strength

UNSTEERED = 0.0
"""The factor of an arm that has no strength: the plain model, or a prompt that asks."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Arm:
    """What is done to the model, at each factor."""

    concept: str
    """What it should make the model speak of."""
    method: str
    """What the way is called, such as `difference of means`."""
    operations: Mapping[float, Sequence[Operation | Clause]]
    """Factor → what acts on the model; nothing for the plain model and for a prompt."""
    identity: Mapping[str, str] = field(default_factory=dict[str, str])
    """What tells this arm from another of the same name, for manifests: a direction's checksum, a feature's number."""
    system: str | None = None
    """System prompt that goes before every instruction."""

    def __post_init__(self) -> None:
        if not self.operations:
            raise ConfigError(f"{self.method} for {self.concept} has no factor to be tried at")

    @classmethod
    def unsteered(cls, concept: str, method: str, *, system: str | None = None) -> "Arm":
        """The plain model, or one that is asked by a system prompt."""
        return cls(concept=concept, method=method, operations={UNSTEERED: ()}, system=system)

    @classmethod
    def adding(
        cls,
        concept: str,
        method: str,
        direction_D: Float[Tensor, " D"],
        *,
        factors: Sequence[float],
        typical: float,
        hookpoint: str,
        identity: Mapping[str, str] | None = None,
    ) -> "Arm":
        """The direction added at every token, `factors` in typical norms of the hookpoint (`typical_norm`).

        Raises ConfigError for a direction without length or with values that are no numbers.
        """
        digest = hashlib.sha256(np.ascontiguousarray(direction_D.float().cpu().numpy()).tobytes()).hexdigest()
        operations = {
            factor: (Add(direction_D, Strength.of_norm(factor, typical, hookpoint=hookpoint), hookpoint),)
            for factor in factors
        }
        named = {"direction": digest, "hookpoint": hookpoint, "unit": f"{typical:.6g}", **(identity or {})}
        return cls(concept=concept, method=method, operations=operations, identity=named)
