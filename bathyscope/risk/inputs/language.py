"""`Language`: texts that a language model writes behind prompts: its answers, or prompts for another model."""

import contextlib
import dataclasses
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

from bathyscope.errors import ConfigError
from bathyscope.models.continuations import BEHIND, continuations
from bathyscope.models.forward import prompt_of
from bathyscope.models.log_probs import log_probs_behind
from bathyscope.models.model import Model
from bathyscope.models.prompts import stop_tokens
from bathyscope.risk.inputs.law import Law
from bathyscope.risk.inputs.writing import Answer, Written

Around = Callable[[], AbstractContextManager[Any]]
"""Makes the block inside which a model runs, such as `lambda: bs.steer(model, operations)`."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Language:
    """Tokens drawn from a model at a temperature, until it stops or `n_tokens` are written."""

    model: Model
    """Who writes."""
    prompts: Law
    """Behind what: a `Pool` of one prompt, a pool of many, a text with slots, …; each distinct one is read once."""
    n_tokens: int = 16
    """L, most tokens of a text, the stop token included."""
    temperature: float = 1.0
    """Of the draw; 1 is the model's own law."""
    around: Around = contextlib.nullcontext
    """Makes the block inside which the model writes and reads."""
    name: str = "answers"
    """What the law is called in reports."""

    def __post_init__(self) -> None:
        if self.n_tokens < 1 or not self.temperature > 0:
            raise ConfigError(
                f"{self.name}: {self.n_tokens} tokens at temperature {self.temperature}; expected at least 1, above 0"
            )

    def inside(self, around: Around, *, name: str) -> "Language":
        """The same model inside a block, such as a steered one: another law of the same texts."""
        return dataclasses.replace(self, around=around, name=name)

    def write(self, choices_NC: Int[Tensor, "N C"], generator: torch.Generator) -> Written:
        """A text behind each of these prompts."""
        empty_NL = torch.full((len(choices_NC), self.n_tokens), BEHIND)
        written = Written(choices_NC, empty_NL, torch.zeros(empty_NL.shape, dtype=torch.float64))
        return self._going_on(written, torch.arange(len(choices_NC)), 0, generator)

    def rewrite(self, written: Written, cut: int, generator: torch.Generator) -> Written:
        """The texts with all from token `cut` on written anew; one that ends before it stays as it is."""
        return self._going_on(written, (written.length_N > cut).nonzero()[:, 0], cut, generator)

    def log_prob(self, written: Written) -> Float[Tensor, " N"]:
        """Natural logarithm of each text's probability given its prompt, float64, whoever wrote it."""
        log_p_N = torch.zeros(len(written.tokens_NL), dtype=torch.float64)
        for prompt, members in self._by_prompt(written):
            rows = [_row(written.tokens_NL[number]) for number in members]
            with prompt_of(len(prompt)), self.around():
                found = log_probs_behind(self.model, prompt, rows, temperature=self.temperature)
            log_p_N[members] = torch.stack([steps.sum() for steps in found])
        return log_p_N

    def answers(self, written: Written) -> list[Answer]:
        """The rows as prompts and texts."""
        rows = [_row(tokens_L) for tokens_L in written.tokens_NL]
        texts = [str(self.model.tokenizer.decode(row, skip_special_tokens=True)) for row in rows]
        prompts = self.prompts.rows(written.choices_NC)
        return [Answer(tuple(p), tuple(row), text) for p, row, text in zip(prompts, rows, texts, strict=True)]

    def _going_on(self, written: Written, places: Int[Tensor, " M"], cut: int, generator: torch.Generator) -> Written:
        """The texts with those at `places` written from token `cut` on."""
        if not len(places):
            return written
        tokens_NL, log_p_NL = written.tokens_NL.clone(), written.log_p_NL.clone()
        with self.around():
            new = continuations(
                self.model,
                self.prompts.rows(written.choices_NC[places]),
                tokens_NL[places, :cut],
                n_tokens=self.n_tokens - cut,
                temperature=self.temperature,
                stops=stop_tokens(self.model),
                generator=generator,
            )
        tokens_NL[places, cut:], log_p_NL[places, cut:] = new.tokens_BT, new.log_p_BT
        return Written(written.choices_NC, tokens_NL, log_p_NL)

    def _by_prompt(self, written: Written) -> Iterator[tuple[list[int], list[int]]]:
        """Each distinct prompt with the numbers of its rows."""
        of_prompt: dict[tuple[int, ...], list[int]] = {}
        for number, prompt in enumerate(self.prompts.rows(written.choices_NC)):
            of_prompt.setdefault(tuple(prompt), []).append(number)
        yield from ((list(prompt), members) for prompt, members in of_prompt.items())


def _row(tokens_L: Int[Tensor, " L"]) -> list[int]:
    """The written tokens without what stands behind the end."""
    return [token for token in tokens_L.tolist() if token != BEHIND]
