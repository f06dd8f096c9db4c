"""`Arm`: one way of steering towards one concept, at the strengths that are tried."""

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from jaxtyping import Float
from torch import Tensor

from bathyscope.errors import ConfigError
from bathyscope.steering.clause import Clause
from bathyscope.steering.operations.add import Add
from bathyscope.steering.operations.operation import Operation
from bathyscope.steering.operations.strength import Strength
from bathyscope.steering.rewrites.rewrite import Rewrite

UNSTEERED = 0.0
"""The factor of an arm that has no strength: the plain model, a prompt that asks, or a paraphrase."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Arm:
    """What is done to the model, or to what it is asked, at each factor."""

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
    rewrites: Mapping[float, Rewrite] = field(default_factory=dict[float, Rewrite])
    """Factor → what the instruction becomes before the model is given it; at other factors it stays as it is."""

    def __post_init__(self) -> None:
        if not self.operations:
            raise ConfigError(f"{self.method} for {self.concept} has no factor to be tried at")
        if not set(self.rewrites) <= set(self.operations):
            raise ConfigError(f"{self.method} for {self.concept} rewrites at factors that it is not tried at")

    @classmethod
    def unsteered(cls, concept: str, method: str, *, system: str | None = None) -> "Arm":
        """The plain model, or one that is asked by a system prompt."""
        return cls(concept=concept, method=method, operations={UNSTEERED: ()}, system=system)

    @classmethod
    def rewriting(cls, concept: str, method: str, rewrites: Mapping[float, Rewrite]) -> "Arm":
        """The plain model, given something else than it was asked."""
        return cls(concept=concept, method=method, operations=dict.fromkeys(rewrites, ()), rewrites=rewrites)

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

    def at(self, factors: Iterable[float]) -> "Arm":
        """The same arm at some of its factors, in their old order."""
        kept = set(factors)
        return replace(
            self,
            operations={factor: acts for factor, acts in self.operations.items() if factor in kept},
            rewrites={factor: rewrite for factor, rewrite in self.rewrites.items() if factor in kept},
        )

    def given(self, factor: float, instruction: str) -> Sequence[str]:
        """What the model is given for an instruction: itself, or what the rewrite makes of it."""
        return self.rewrites[factor].texts(instruction) if factor in self.rewrites else (instruction,)

    def described(self) -> dict[str, Any]:
        """Everything that tells this arm from another, as JSON data for manifests."""
        rewrites = [{"factor": factor, **rewrite.identity} for factor, rewrite in self.rewrites.items()]
        return {
            "concept": self.concept,
            "method": self.method,
            "factors": list(self.operations),
            "system": self.system,
            **({"rewrites": rewrites} if rewrites else {}),
            **self.identity,
        }
