"""`Slots`: a text with slots, each filled independently from a list of texts of any length."""

import string
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from jaxtyping import Float, Int
from torch import Tensor

from bathyscope.errors import ConfigError
from bathyscope.models.model import Model
from bathyscope.models.padding import padded_inputs
from bathyscope.models.prompts import prompt_tokens
from bathyscope.risk.inputs.pool import log_shares


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Slots:
    """One choice for each slot, in the order in which slots first stand in the text.

    A slot that stands twice is filled alike. Different fillings may give the same tokens; each counts by itself.
    """

    model: Model
    """Whose tokenizer and chat template turn texts into tokens."""
    text: str
    """Such as `My {relative} is {age} years old.`; `{{` is a brace."""
    fillings: Mapping[str, Sequence[str] | Mapping[str, float]]
    """Slot → its texts, equally likely, or text → weight."""
    chat: bool | None = None
    """Whether the text is a user's message in the model's chat template; None: exactly when there is one."""
    system: str | None = None
    """A message before the user's."""
    name: str = "slots"
    """What the law is called in reports."""
    log_p: tuple[Float[Tensor, " _"], ...] = field(init=False)
    """For each slot the natural logarithm of each filling's probability, float64."""

    def __post_init__(self) -> None:
        names = self.slots
        if set(names) != set(self.fillings) or not names:
            raise ConfigError(
                f"{self.name}: the text has slots {sorted(names)}, fillings were given for {sorted(self.fillings)}; "
                "each slot needs its own, and there must be one"
            )
        laws: list[Tensor] = []
        for slot in names:
            given = self.fillings[slot]
            if isinstance(given, str):
                raise ConfigError(f"{self.name}: the fillings of {slot} must be a list of texts, found one text")
            weights = list(given.values()) if isinstance(given, Mapping) else [1.0] * len(given)
            laws.append(log_shares(weights, len(given), f"{self.name}, slot {slot}"))
        object.__setattr__(self, "log_p", tuple(laws))

    @property
    def slots(self) -> tuple[str, ...]:
        """Names of the slots, in the order of the choices."""
        try:
            parts = list(string.Formatter().parse(self.text))
        except ValueError as error:
            raise ConfigError(f"{self.name}: {error} in {self.text!r}; write a brace as {{{{ or }}}}") from error
        plain = [slot for _, slot, form, turned in parts if slot is not None and not form and not turned]
        marked = sum(slot is not None for _, slot, _, _ in parts)
        if len(plain) != marked or not all(slot.isidentifier() for slot in plain):
            raise ConfigError(f"{self.name}: a slot is a name in braces and nothing else, found {self.text!r}")
        return tuple(dict.fromkeys(plain))

    def texts(self, choices_NC: Int[Tensor, "N C"]) -> list[str]:
        """The text of each row of choices."""
        options = {slot: list(self.fillings[slot]) for slot in self.slots}
        return [
            self.text.format(**{slot: options[slot][number] for slot, number in zip(options, row, strict=True)})
            for row in choices_NC.tolist()
        ]

    def rows(self, choices_NC: Int[Tensor, "N C"]) -> list[list[int]]:
        """The token ids of each text, chat template included."""
        return [prompt_tokens(self.model, text, chat=self.chat, system=self.system) for text in self.texts(choices_NC)]

    def inputs(self, model: Model, choices_NC: Int[Tensor, "N C"]) -> Mapping[str, Any]:
        """`input_ids`, mask and positions, padded on the left."""
        return padded_inputs(model, self.rows(choices_NC))
