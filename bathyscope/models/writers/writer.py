"""`Writer`: whatever answers prompts with texts; here a local model. An endpoint is in `endpoint`."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from bathyscope.errors import ConfigError
from bathyscope.models.generate import generate
from bathyscope.models.model import Model


@dataclass(frozen=True, slots=True)
class Answer:
    """What a writer answered."""

    text: str
    """The answer, as it came."""
    ended: bool
    """False when it was cut off by a limit."""


@runtime_checkable
class Writer(Protocol):
    """Answers prompts, a batch in each call."""

    @property
    def identity(self) -> Mapping[str, str | float]:
        """What decides its answers, for manifests: never a key."""
        ...

    @property
    def materials(self) -> tuple[Mapping[str, str], ...]:
        """Materials it is made from."""
        ...

    def write(self, prompts: Sequence[str]) -> list[Answer]:
        """One answer per prompt, in their order. Raises ModelError when they cannot be had."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class LocalWriter:
    """A model on this machine."""

    model: Model
    """The model; its chat template is used if it has one."""
    max_new_tokens: int = 96
    """Longest answer."""
    temperature: float = 0.0
    """0 takes the likeliest token; above, tokens are drawn."""
    seed: int = 0
    """Seed of the draws."""

    def __post_init__(self) -> None:
        if self.max_new_tokens < 1 or not 0 <= self.temperature < float("inf"):
            raise ConfigError("max_new_tokens is at least 1, temperature at least 0")

    @property
    def identity(self) -> dict[str, str | float]:
        """The weights and how tokens are chosen."""
        settings = {"max_new_tokens": self.max_new_tokens, "temperature": self.temperature, "seed": self.seed}
        return {"writer": "local", **self.model.identity, **settings}

    @property
    def materials(self) -> tuple[Mapping[str, str], ...]:
        """Those of the model."""
        return self.model.materials

    def write(self, prompts: Sequence[str]) -> list[Answer]:
        """Answers of the model; draws depend on the seed and on the prompts of the batch alone."""
        content = hashlib.sha256("\0".join([str(self.seed), *prompts]).encode()).digest()
        seed = int.from_bytes(content[:4], "little")
        found = generate(
            self.model,
            prompts,
            max_new_tokens=self.max_new_tokens,
            temperature=self.temperature,
            seed=seed,
            batch_size=max(1, len(prompts)),
        )
        return [Answer(each.text, each.ended) for each in found]
