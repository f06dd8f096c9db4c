"""`Positions`: which tokens an operation moves, said explicitly. What is excluded always subtracts."""

from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Bool
from torch import Tensor

from bathyscope.errors import ConfigError, ModelError
from bathyscope.models.model import Model
from bathyscope.models.roles import ROLES, role_marks
from bathyscope.steering.numbers import is_whole
from bathyscope.steering.passing import Passing


@dataclass(frozen=True, slots=True, kw_only=True)
class Positions:
    """Tokens that satisfy every condition that is given, without those of `exclude`."""

    part: Literal["all", "prompt", "generation"] = "all"
    """Where in a generation; without a generation every token is prompt."""
    tokens: tuple[int, ...] = ()
    """Token ids; none given means any."""
    roles: tuple[str, ...] = ()
    """Whose messages in a chat: system, user, assistant; none given means any, text outside messages too."""
    start: int | None = None
    """First token, counted from 0 within the part, padding aside; negative counts from the end of the prompt."""
    stop: int | None = None
    """Token behind the last one, counted like `start`."""
    special: bool = False
    """Whether special tokens (BOS, chat marks) are moved too: they carry attention sinks."""
    exclude: "tuple[Positions, ...]" = ()
    """Tokens that are left alone in any case."""

    def __post_init__(self) -> None:
        lists: dict[str, object] = {"tokens": self.tokens, "roles": self.roles, "exclude": self.exclude}
        for name, given in lists.items():
            if not isinstance(given, list | tuple):
                raise ConfigError(f"{name} is {given!r}, expected a list; write [{given!r}]")
        if not all(is_whole(token) and token >= 0 for token in self.tokens):
            raise ConfigError(f"tokens {self.tokens}: give token ids, whole numbers from 0")
        if not all(isinstance(others, Positions) for others in self.exclude):
            raise ConfigError(f"exclude is {self.exclude}, expected Positions")
        if self.part not in ("all", "prompt", "generation"):
            raise ConfigError(f"part is {self.part!r}, expected all, prompt or generation")
        unknown = [role for role in self.roles if role not in ROLES]
        if unknown:
            raise ConfigError(f"no role is named {unknown[0]!r}; expected some of: {', '.join(ROLES)}")
        ends = [end for end in (self.start, self.stop) if end is not None]
        if not all(map(is_whole, ends)):
            raise ConfigError(f"start {self.start} and stop {self.stop}: give whole numbers, or None")
        if any(end < 0 for end in ends) and self.part != "prompt":
            raise ConfigError("start and stop below 0 count from the end of the prompt: give part='prompt' with them")
        if len(ends) == 2 and (ends[0] < 0) == (ends[1] < 0) and ends[0] >= ends[1]:
            raise ConfigError(f"start {ends[0]} is not before stop {ends[1]}: no token is between them")

    def require_known(self, model: Model) -> None:
        """Raise ConfigError for a token id that the model does not have, ModelError where it has no roles to tell."""
        unknown = [token for token in self.tokens if token >= model.n_vocabulary]
        if unknown:
            raise ConfigError(f"there is no token {unknown[0]}: ids of {model.name} go to {model.n_vocabulary - 1}")
        if self.roles:
            role_marks(model)
        for others in self.exclude:
            others.require_known(model)

    def mask(self, passing: Passing) -> Bool[Tensor, "B S"]:
        """Which of the passing tokens are meant; never padding."""
        meant_BS = passing.is_real_BS if self.special else passing.is_real_BS & ~passing.is_special_BS
        if self.part != "all":
            meant_BS = meant_BS & (passing.is_generated_BS == (self.part == "generation"))
        if self.tokens:
            meant_BS = meant_BS & torch.isin(
                passing.require_tokens(), torch.tensor(self.tokens, device=meant_BS.device)
            )
        if self.roles:
            meant_BS = meant_BS & passing.has_role(self.roles)
        if self.start is not None or self.stop is not None:
            meant_BS = meant_BS & self._window(passing)
        for others in self.exclude:
            meant_BS = meant_BS & ~others.mask(passing)
        return meant_BS

    def _window(self, passing: Passing) -> Bool[Tensor, "B S"]:
        place_BS = passing.step_BS if self.part == "generation" else passing.place_BS
        inside_BS = torch.ones_like(passing.is_real_BS)
        for end, is_start in ((self.start, True), (self.stop, False)):
            if end is None:
                continue
            edge_B1 = torch.full_like(place_BS[:, :1], end)
            if end < 0:
                if passing.prompt_length_B is None:
                    raise ModelError(
                        "positions counted from the end of the prompt need its length: generate with "
                        "bathyscope.generate, or give the whole prompt in one forward"
                    )
                edge_B1 = passing.prompt_length_B[:, None] + end
            inside_BS = inside_BS & ((place_BS >= edge_B1) if is_start else (place_BS < edge_B1))
        return inside_BS


EVERYWHERE = Positions()
"""Every token but special ones, of prompt and generation."""
