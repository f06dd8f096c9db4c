"""`LocalWriter`: a model of this machine, asked for texts or for the probabilities of a few words."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from bathyscope.errors import ConfigError
from bathyscope.models.generate import generate
from bathyscope.models.model import Model
from bathyscope.models.prefix import Prefix
from bathyscope.models.prompts import prompt_tokens
from bathyscope.models.writers.writer import Answer, Question, Verdict


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
    prefix: Prefix = field(default_factory=Prefix, repr=False, compare=False)
    """What it has read last: questions that begin alike are read from where they differ."""

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

    @property
    def fills(self) -> bool:
        """It reads all places of a question in one go."""
        return True

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
        return [Answer(each.text, each.ended, len(each.prompt_tokens), len(each.tokens)) for each in found]

    def choose(self, questions: Sequence[Question]) -> list[Verdict]:
        """Probabilities of the choices as the next token. Raises ConfigError for a choice of several tokens."""
        return [self._verdict(question) for question in questions]

    def _verdict(self, question: Question) -> Verdict:
        choices = [self._only_token(choice) for choice in question.choices]
        row, places = prompt_tokens(self.model, question.prompt), list[int]()
        for number, piece in enumerate(question.pieces):
            before = question.filler if number else ""
            row += self._tokens(before) + self._tokens(piece)
            places.append(len(row) - 1)
        log_p_GV, n_read = self.prefix.next_log_probs(self.model, row, places=places)
        return Verdict(p=tuple(tuple(row) for row in log_p_GV[:, choices].exp().tolist()), n_read=n_read)

    def _tokens(self, text: str) -> list[int]:
        return [int(token) for token in self.model.tokenizer(text, add_special_tokens=False)["input_ids"]]

    def _only_token(self, choice: str) -> int:
        tokens = self._tokens(choice)
        if len(tokens) != 1:
            raise ConfigError(f"{choice!r} is {len(tokens)} tokens of {self.model.name}; a choice must be a single one")
        return tokens[0]
