"""What `index_features` keeps for each feature."""

from dataclasses import dataclass
from typing import Literal

from bathyscope.errors import ConfigError


@dataclass(frozen=True, slots=True, kw_only=True)
class IndexSettings:
    """Settings of `index_features`."""

    split: Literal["held_out", "train", "all"] = "held_out"
    """Documents of the activation store to index; a text given instead of a store is indexed whole."""
    n_tokens: int = 100_000
    """Tokens to read when a text is given instead of a store."""
    window: int = 32
    """Tokens of an example."""
    window_before: int = 20
    """Tokens of an example before the one it is about (a causal model has seen only these)."""
    top: int = 12
    """Examples of highest activation."""
    per_tenth: int = 3
    """Random examples from each tenth of the range (0, max]."""
    near_misses: int = 5
    """Examples of highest pre-activation without any firing."""
    silent: int = 3
    """Random examples without any firing."""
    per_document: int = 2
    """Most top examples, and most near misses, from one document."""
    n_logits: int = 10
    """Tokens that the direction raises most, and lowers most."""
    n_neighbours: int = 8
    """Nearest features by decoder cosine, and by co-firing."""
    cofiring_tokens: int = 200_000
    """Co-firing is counted on at most this many tokens, evenly spaced."""
    batch_tokens: int = 4096
    """Tokens encoded at once; fewer for wide dictionaries. Changes speed and memory only."""
    seed: int = 0
    """Seed of the random examples."""

    def __post_init__(self) -> None:
        if not 0 <= self.window_before < self.window:
            raise ConfigError(f"window_before is {self.window_before}, expected 0 to {self.window - 1} (window − 1)")
        for name in ("n_tokens", "top", "per_document", "n_logits", "n_neighbours", "cofiring_tokens", "batch_tokens"):
            if getattr(self, name) < 1:
                raise ConfigError(f"{name} is {getattr(self, name)}, expected at least 1")
        for name in ("per_tenth", "near_misses", "silent"):
            if getattr(self, name) < 0:
                raise ConfigError(f"{name} is {getattr(self, name)}, expected 0 or more")


DEFAULTS = IndexSettings()
"""The settings as they are."""
