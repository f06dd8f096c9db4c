"""Where an operation acts and which model its directions come from: told by its dictionary, or given as `at`."""

from collections.abc import Mapping

from bathyscope.dictionaries.dictionary import Dictionary
from bathyscope.steering.operations.features import hookpoint_of


class OfDictionary:
    """An operation whose field `dictionary` says both."""

    __slots__ = ()
    dictionary: Dictionary

    @property
    def hookpoint(self) -> str:
        """The hookpoint that the dictionary was trained on."""
        return hookpoint_of(self.dictionary)

    @property
    def model_identity(self) -> Mapping[str, str] | None:
        """The model that the dictionary was trained on."""
        return self.dictionary.model_identity


class AtHookpoint:
    """An operation with bare directions, whose field `at` says where."""

    __slots__ = ()
    at: str

    @property
    def hookpoint(self) -> str:
        """The hookpoint given as `at`."""
        return self.at

    @property
    def model_identity(self) -> Mapping[str, str] | None:
        """None: a bare vector does not say where it was read."""
        return None
