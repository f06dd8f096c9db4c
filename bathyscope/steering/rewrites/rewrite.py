"""`Rewrite`: what an arm makes of an instruction before the model is given it."""

from collections.abc import Mapping, Sequence
from typing import Protocol, runtime_checkable


@runtime_checkable
class Rewrite(Protocol):
    """Anything that turns an instruction into other texts."""

    @property
    def identity(self) -> Mapping[str, str]:
        """What tells it from another one, for manifests."""
        ...

    def texts(self, instruction: str) -> Sequence[str]:
        """One text or more, each of which the model answers; the same ones whenever the same is asked."""
        ...
