"""`Passing`: what is known of the tokens of one forward, and what is remembered of a row between forwards.

Memory goes with the cache of a generation (`Forward.notes`), so two generations at once, or a new one after an old one,
share nothing. Without a cache each forward holds whole rows and nothing needs to be remembered.
"""

import logging
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property

import torch
from jaxtyping import Bool, Int
from torch import Tensor

from bathyscope.errors import ModelError
from bathyscope.models.forward import Forward
from bathyscope.models.model import Model
from bathyscope.models.roles import role_marks, roles_of

log = logging.getLogger(__name__)


@dataclass(slots=True)
class Memory:
    """What the next forward of the same rows needs to know."""

    prompt_columns: int | None = None
    """Columns that are prompt, once the first token behind it has passed."""
    roles: list[str | None] = field(default_factory=list[str | None])
    """The role whose message each row is in."""
    carried: dict[int, Tensor] = field(default_factory=dict[int, Tensor])
    """Clause number → what its gate or schedule carries on, per row."""


@dataclass(eq=False)
class Passing:
    """The tokens of one forward. B rows, S of their tokens; columns count padding, places do not."""

    model: Model
    forward: Forward
    shape: tuple[int, int]
    device: torch.device
    special: Int[Tensor, " T"]
    """Ids of tokens that are marks rather than text."""
    memory: Memory

    @cached_property
    def tokens_BS(self) -> Int[Tensor, "B S"] | None:
        """Token ids; None where embeddings were given."""
        tokens_BS = self.forward.tokens_BS
        return None if tokens_BS is None else tokens_BS.to(self.device)

    def require_tokens(self) -> Int[Tensor, "B S"]:
        """Token ids. Raises ModelError where embeddings were given."""
        if self.tokens_BS is None:
            raise ModelError("positions by token or role need token ids; the network was given embeddings")
        return self.tokens_BS

    @cached_property
    def is_real_BS(self) -> Bool[Tensor, "B S"]:
        """Everything but padding."""
        mask = self._mask
        whole_BS = torch.ones(self.shape, dtype=torch.bool, device=self.device)
        return whole_BS if mask is None else mask[:, -self.shape[1] :]

    @cached_property
    def is_special_BS(self) -> Bool[Tensor, "B S"]:
        """Marks rather than text."""
        if self.tokens_BS is None:
            return torch.zeros(self.shape, dtype=torch.bool, device=self.device)
        return torch.isin(self.tokens_BS, self.special.to(self.device))

    @cached_property
    def place_BS(self) -> Int[Tensor, "B S"]:
        """Place in its row, padding aside, from 0."""
        if self._mask is None:
            return self._column_S.expand(self.shape)
        return (self._mask.long().cumsum(1) - 1)[:, -self.shape[1] :]

    @cached_property
    def is_generated_BS(self) -> Bool[Tensor, "B S"]:
        """Whether a token stands behind the prompt."""
        columns = self._prompt_columns
        behind_S = torch.zeros_like(self._column_S, dtype=torch.bool) if columns is None else self._column_S >= columns
        return behind_S.expand(self.shape)

    @cached_property
    def step_BS(self) -> Int[Tensor, "B S"]:
        """Number of a generated token, from 0; below 0 in the prompt."""
        columns = self._prompt_columns
        return (self._column_S - (self.forward.past_length + self.shape[1] if columns is None else columns)).expand(
            self.shape
        )

    @cached_property
    def prompt_length_B(self) -> Int[Tensor, " B"] | None:
        """Tokens of each prompt, padding aside; None where it is not known yet."""
        columns, seen = self._prompt_columns, self.forward.past_length + self.shape[1]
        if columns is None:
            if self.forward.past_length:
                return None
            columns = seen
        if columns > seen:
            return None
        if self._mask is None:
            return torch.full((self.shape[0],), columns, device=self.device)
        return self._mask[:, :columns].long().sum(1)

    def has_role(self, roles: Sequence[str]) -> Bool[Tensor, "B S"]:
        """Whether a token belongs to a message of one of the roles."""
        return torch.tensor([[role in roles for role in row] for row in self._roles], device=self.device)

    @cached_property
    def _roles(self) -> list[list[str | None]]:
        marks = role_marks(self.model)
        before = self.memory.roles or [None] * self.shape[0]
        rows = self.require_tokens().tolist()
        found = [roles_of(row, marks, within=within) for row, within in zip(rows, before, strict=True)]
        self.memory.roles = [each.behind for each in found]
        is_prompt = not self.forward.past_length and self.forward.prompt_columns in (None, self.shape[1])
        if is_prompt and not any(each.behind or any(each.of_token) for each in found):
            log.warning("positions by role: no row of this prompt is a chat, so nothing is moved there")
        return [each.of_token for each in found]

    @cached_property
    def _mask(self) -> Bool[Tensor, "B C"] | None:
        """Real tokens over all columns so far; None when all are."""
        mask = self.forward.attention_mask
        if mask is None or mask.ndim != 2:
            return None
        return mask.to(self.device)[:, : self.forward.past_length + self.shape[1]].bool()

    @cached_property
    def _column_S(self) -> Int[Tensor, " S"]:
        return torch.arange(self.shape[1], device=self.device) + self.forward.past_length

    @cached_property
    def _prompt_columns(self) -> int | None:
        """Announced, or told from the first single token behind a cache; None while only prompt has passed."""
        if self.forward.prompt_columns is not None:
            return self.forward.prompt_columns
        is_single = self.shape[1] == 1 and self.forward.past_length > 0
        if self.memory.prompt_columns is None and is_single:
            self.memory.prompt_columns = self.forward.past_length
        return self.memory.prompt_columns
