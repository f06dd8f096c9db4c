"""Judges that read the plain model's probabilities: has an answer to do with its instruction, and does it read well?

With S tokens y of an answer and an instruction i, per token and in nats,

    relation   (log P(y | i) - log P(y)) / S      how much likelier the instruction makes the answer
    fluency    log P(y) / S                       how likely the answer is as text

Both are cut into 0, 1 and 2 at levels learnt from answers of the plain model, sampled for this purpose: relation from
answers behind their own instruction and behind another's, fluency from answers as they are and with their tokens in
random order. Half of them set the levels, the other half say how often the ratings are right.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Float

from bathyscope.errors import ConfigError
from bathyscope.evaluation.steering.answers import SteeredAnswer
from bathyscope.evaluation.steering.judges.judge import BEST, Aspect, Known
from bathyscope.models.generate import generate
from bathyscope.models.log_probs import log_probs_behind
from bathyscope.models.model import Model
from bathyscope.models.prompts import prompt_tokens, special_tokens, text_beginning
from bathyscope.models.repetition import repetition

PER_INSTRUCTION = 6
"""Answers of the plain model that are sampled for each instruction; even, so that both halves get as many."""
FALSE_SHARE, TRUE_SHARE = 0.05, 0.25
"""Of what should be called no, the share that gets 1 or more; of what should be called yes, the share that gets 1 or
less."""
SOME_REPEATED, MOST_REPEATED = 0.25, 0.5
"""Shares of repeated three-token runs from which on an answer has a fluency of 1 at most, and of 0."""


@dataclass(frozen=True, slots=True)
class Levels:
    """Where a figure is cut: at least `some` is rated 1, at least `full` is rated 2."""

    some: float
    full: float

    @classmethod
    def between(cls, no_N: Float[np.ndarray, " N"], yes_M: Float[np.ndarray, " M"]) -> "Levels":
        """Levels that rate few known noes above 0, and most known yeses 2; `full` is never below `some`."""
        some = float(np.quantile(no_N, 1 - FALSE_SHARE))
        return cls(some, max(some, float(np.quantile(yes_M, TRUE_SHARE))))

    def rating(self, value: float) -> int:
        """0, 1 or 2."""
        return BEST if value >= self.full else int(value >= self.some)


@dataclass(frozen=True, slots=True)
class _Sample:
    """One answer of the plain model to instruction number `instruction`."""

    instruction: int
    tokens: tuple[int, ...]


@dataclass(slots=True, eq=False)
class MeanLogProbs:
    """Mean log-probabilities of rows of tokens; each row is read once behind each prefix, whoever asks."""

    model: Model
    _known: dict[tuple[tuple[int, ...], tuple[int, ...]], float] = field(init=False, default_factory=dict)

    def alone(self, rows: Sequence[Sequence[int]]) -> list[float]:
        """log P(y) / S of each row, as the beginning of a text; -inf for a row without tokens."""
        return self.behind(text_beginning(self.model), rows)

    def behind(self, prefix: Sequence[int], rows: Sequence[Sequence[int]]) -> list[float]:
        """The same behind the tokens of `prefix`."""
        before, wanted = tuple(prefix), [tuple(row) for row in rows]
        new = [row for row in dict.fromkeys(wanted) if (before, row) not in self._known]
        for row, log_p in zip(new, log_probs_behind(self.model, before, new), strict=True):
            self._known[before, row] = float(log_p.mean()) if row else -np.inf
        return [self._known[before, row] for row in wanted]


@dataclass(slots=True, eq=False)
class Likelihoods:
    """The plain model's figures about answers, and answers of its own to set levels on."""

    model: Model
    instructions: tuple[str, ...]
    """All instructions of the trials."""
    max_new_tokens: int
    """Length of the sampled answers."""
    seed: int
    samples: tuple[_Sample, ...] = field(init=False)
    """Answers of the plain model, `PER_INSTRUCTION` to each instruction in turn."""
    means: MeanLogProbs = field(init=False)
    """What has been read."""

    def __post_init__(self) -> None:
        self.means = MeanLogProbs(self.model)
        if len(self.instructions) < 2:
            raise ConfigError("these judges need two instructions or more to tell one from another")
        prompts = [text for _ in range(PER_INSTRUCTION) for text in self.instructions]
        answers = generate(
            self.model,
            prompts,
            max_new_tokens=self.max_new_tokens,
            temperature=1.0,
            seed=self.seed,
            batch_size=len(self.instructions),
        )
        rows = [(number % len(self.instructions), self.content(answer.tokens)) for number, answer in enumerate(answers)]
        self.samples = tuple(_Sample(instruction, tokens) for instruction, tokens in rows if tokens)

    def content(self, tokens: Sequence[int]) -> tuple[int, ...]:
        """The tokens without special ones, such as the end of an answer."""
        special = special_tokens(self.model)
        return tuple(token for token in tokens if token not in special)

    def alone(self, rows: Sequence[tuple[int, ...]]) -> list[float]:
        """log P(y) / S of each row, as the beginning of a text."""
        return self.means.alone(rows)

    def relation(self, instruction: str, rows: Sequence[tuple[int, ...]]) -> list[float]:
        """(log P(y | instruction) - log P(y)) / S of each row; -inf for a row without tokens."""
        behind = self.means.behind(prompt_tokens(self.model, instruction), rows)
        return [own - alone if row else -np.inf for row, own, alone in zip(rows, behind, self.alone(rows), strict=True)]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class RelationJudge:
    """Has the answer to do with its instruction?"""

    likelihoods: Likelihoods
    levels: Levels
    known: tuple[Known, ...]
    name: str = "likelihood"
    aspect: Aspect = "instruction"

    @classmethod
    def fit(cls, likelihoods: Likelihoods) -> "RelationJudge":
        """Levels from half of the sampled answers, behind their own instruction and behind the next one."""
        n, figures = len(likelihoods.instructions), list[tuple[bool, float, int]]()
        for number, instruction in enumerate(likelihoods.instructions):
            for shift in (0, 1):
                rows = [each.tokens for each in likelihoods.samples if (each.instruction + shift) % n == number]
                found = likelihoods.relation(instruction, rows)
                first = number * PER_INSTRUCTION
                figures += [(shift == 0, value, first + place) for place, value in enumerate(found)]
        levels = _levels(figures)
        known = [
            Known(is_true=is_own, rating=levels.rating(value), group=f"sample {place}")
            for is_own, value, place in figures
            if place % 2
        ]
        return cls(likelihoods=likelihoods, levels=levels, known=tuple(known))

    def rate(self, answers: Sequence[SteeredAnswer]) -> list[int | None]:
        """0, 1 or 2; 0 for an answer without words."""
        values = np.full(len(answers), -np.inf)
        rows = [self.likelihoods.content(answer.tokens) for answer in answers]
        for instruction in dict.fromkeys(answer.prompt for answer in answers):
            own = [number for number, answer in enumerate(answers) if answer.prompt == instruction]
            values[own] = self.likelihoods.relation(instruction, [rows[number] for number in own])
        return [self.levels.rating(value) for value in values.tolist()]

    def calibration(self) -> list[Known]:
        """The other half of the samples, behind their own instruction (yes) and behind another's (no)."""
        return list(self.known)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class FluencyJudge:
    """Does the answer read well?"""

    likelihoods: Likelihoods
    levels: Levels
    known: tuple[Known, ...]
    name: str = "likelihood"
    aspect: Aspect = "fluency"

    @classmethod
    def fit(cls, likelihoods: Likelihoods) -> "FluencyJudge":
        """Levels from half of the sampled answers, as they are and with their tokens in random order."""
        generator = np.random.default_rng(likelihoods.seed)
        rows = [each.tokens for each in likelihoods.samples]
        mixed = [tuple(row[i] for i in generator.permutation(len(row))) for row in rows]
        figures = [(True, value, place) for place, value in enumerate(likelihoods.alone(rows))]
        figures += [(False, value, place) for place, value in enumerate(likelihoods.alone(mixed))]
        levels = _levels(figures)
        judge = cls(likelihoods=likelihoods, levels=levels, known=())
        texts = [*zip(rows, [True] * len(rows), strict=True), *zip(mixed, [False] * len(rows), strict=True)]
        known = [
            Known(is_true=is_true, rating=judge.rating(row), group=f"sample {place % len(rows)}")
            for place, (row, is_true) in enumerate(texts)
            if (place % len(rows)) % 2
        ]
        return cls(likelihoods=likelihoods, levels=levels, known=tuple(known))

    def rate(self, answers: Sequence[SteeredAnswer]) -> list[int | None]:
        """0, 1 or 2; an answer that repeats itself is rated lower whatever its likelihood."""
        rows = [self.likelihoods.content(answer.tokens) for answer in answers]
        self.likelihoods.alone(rows)  # in batches
        return [self.rating(row) for row in rows]

    def rating(self, row: tuple[int, ...]) -> int:
        """The rating of one answer's tokens."""
        (value,), share = self.likelihoods.alone([row]), repetition(row)
        most = 0 if share >= MOST_REPEATED else 1 if share >= SOME_REPEATED else BEST
        return min(most, self.levels.rating(value))

    def calibration(self) -> list[Known]:
        """The other half of the samples, as they are (yes) and in random order (no)."""
        return list(self.known)


def _levels(figures: Sequence[tuple[bool, float, int]]) -> Levels:
    """Levels from the figures of even place: yes or no, value, place."""
    no, yes = (
        np.array([value for is_true, value, place in figures if is_true is wanted and place % 2 == 0])
        for wanted in (False, True)
    )
    return Levels.between(no, yes)
