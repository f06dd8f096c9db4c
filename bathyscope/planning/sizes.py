"""`Sizes`: all numbers that decide what work costs, wherever it runs."""

from dataclasses import dataclass

from bathyscope.activations.shards import TORCH_DTYPES
from bathyscope.planning.settings import PlanSettings
from bathyscope.planning.shape import ModelShape


@dataclass(frozen=True, slots=True, kw_only=True)
class Sizes:
    """What the work is."""

    shape: ModelShape
    """The model."""
    depth: int
    """Blocks that run until the last hookpoint."""
    n_places: int
    """Hookpoints that are read."""
    n_features: int
    """F, features of the dictionary."""
    k: int
    """K, active features per token."""
    n_tokens: int
    """Tokens that are collected."""
    epochs: int
    """Passes of training."""
    context: int
    """Tokens that attention sees."""
    stored_bytes: int
    """Bytes of a stored number."""
    n_indexed: int
    """Tokens that are indexed."""
    forwards: int
    """Rows that a risk estimate sends through the model."""
    prompt_tokens: int
    """Tokens of such a row."""

    @property
    def d_model(self) -> int:
        """Width of a row."""
        return self.shape.d_model

    @property
    def row_bytes(self) -> int:
        """Bytes of one token's stored rows, at all hookpoints."""
        return self.n_places * self.d_model * self.stored_bytes


def sizes_of(settings: PlanSettings, shape: ModelShape) -> Sizes:
    """What `settings` ask of a model. Raises ModelError for a hookpoint behind its last block."""
    return Sizes(
        shape=shape,
        depth=max(shape.depth(name) for name in settings.hookpoint),
        n_places=sum(shape.n_places(name) for name in settings.hookpoint),
        n_features=settings.n_features,
        k=settings.k,
        n_tokens=settings.tokens,
        epochs=settings.epochs,
        context=settings.context,
        stored_bytes=TORCH_DTYPES[settings.stored].itemsize,
        n_indexed=settings.indexed,
        forwards=settings.forwards,
        prompt_tokens=settings.prompt_tokens,
    )
