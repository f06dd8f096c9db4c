"""`DecoderRow`: the direction of one feature of a sparse dictionary, chosen by its label, by AUROC or by its output."""

import dataclasses
from collections import Counter
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from jaxtyping import Float
from torch import Tensor

from bathyscope import progress
from bathyscope.dictionaries.dictionary import Dictionary
from bathyscope.errors import ConfigError
from bathyscope.features.logits import logit_tokens
from bathyscope.steering.gain import gain, plain_answers, slope
from bathyscope.steering.operations.clamp import Clamp
from bathyscope.vectors.columns import feature_auroc
from bathyscope.vectors.examples import Examples
from bathyscope.vectors.learner import Learned, Lesson

NEUTRAL = ("Tell me something.", "Describe a place that you like.", "What is on the table?", "Give me some advice.")


@dataclass(frozen=True, slots=True, kw_only=True)
class DecoderRow:
    """`u = d_f`, the unit decoder row of one feature.

    `auroc`: the feature whose codes tell true texts from false ones best on the teaching half. `output`: of
    `n_candidates`, the one that raises words most when it is held (Arad et al. 2025, arXiv 2505.20063: a feature that
    is easy to read is not thereby a good handle). The output score here is the gain in log P(words) over a random
    direction that moves just as far, in nats. The words are the feature's own, those that its direction raises most, or
    the tokens that true texts have more often than false ones: half-way through a network a direction is not yet a
    word. With the texts' words half of the candidates are those that tell the texts best and half those whose held
    value raises the words fastest to first order (`slope`), among all features that fire more on true texts.
    """

    feature: int | None = None
    """A feature chosen elsewhere, such as by the words of its explanation; None chooses one."""
    by: Literal["auroc", "output"] = "auroc"
    """How one is chosen."""
    n_candidates: int = 10
    """Features whose output is tried, for `output`."""
    words: Literal["direction", "texts"] = "direction"
    """Whose words are to rise, for `output`: the direction's own, or the true texts'."""
    n_words: int = 5
    """How many of them."""
    prompts: tuple[str, ...] = NEUTRAL
    """Prompts on whose plain answers outputs are tried; none should be about the concept."""
    max_new_tokens: int = 12
    """Length of those answers."""
    strength: float = 1.0
    """Value at which a feature is held, in multiples of its observed maximum."""

    def __post_init__(self) -> None:
        if min(self.n_candidates, self.n_words, self.max_new_tokens) < 1 or not self.prompts:
            raise ConfigError("n_candidates, n_words and max_new_tokens must be at least 1, and a prompt must be given")

    def learn(self, lesson: Lesson) -> Learned:
        """The row. Raises ConfigError for an unknown feature, or when no feature tells the texts apart."""
        dictionary = lesson.require_dictionary("a decoder row")
        if self.feature is not None:
            return dataclasses.replace(_row(dictionary, self.feature, {"by": "label"}), from_labels=False)
        area_F = feature_auroc(lesson.examples, dictionary, lesson.pool)
        ranked = np.argsort(-area_F, kind="stable")
        if area_F[ranked[0]] <= 0.5:
            raise ConfigError("no feature of the dictionary fires more on true texts than on false ones")
        best = int(ranked[0])
        if self.by == "auroc":
            return _row(dictionary, best, {"by": "auroc", "AUROC on the teaching half": float(area_F[best])})
        able = [feature for feature in ranked.tolist() if area_F[feature] > 0.5 and _has_maximum(dictionary, feature)]
        if not able:
            raise ConfigError("no feature that tells the texts apart has an observed maximum to hold it at")
        gains = self._gains(lesson, dictionary, able)
        told = {str(feature): value for feature, value in gains.items()}
        return _row(dictionary, max(gains, key=lambda feature: gains[feature]), {"by": "output", "gains": told})

    def _gains(self, lesson: Lesson, dictionary: Dictionary, able: list[int]) -> dict[int, float]:
        """Output score of each candidate among the able, which stand in order of AUROC."""
        model = lesson.require_model("the choice by output")
        plain = plain_answers(
            model, self.prompts, hookpoint=lesson.hookpoint, max_new_tokens=self.max_new_tokens, seed=lesson.seed
        )
        against: list[int] = []
        if self.words == "texts":
            words, against = typical_tokens(lesson.examples, n=self.n_words)
            candidates = self._candidates(dictionary, able, slope(model, plain, targets=words, against=against))
            targets = [words] * len(candidates)
        else:
            candidates = able[: self.n_candidates]
            targets = logit_tokens(model, dictionary.W_dec[candidates], n=self.n_words).top_tokens.tolist()
        found: dict[int, float] = {}
        for number, feature in enumerate(candidates):
            clamp = Clamp(dictionary, (feature,), self.strength)
            measured = gain(model, clamp, plain, targets=targets[number], against=against, seed=lesson.seed + feature)
            found[feature] = measured.value
            progress.report("output score", number + 1, len(candidates), "features")
        return found

    def _candidates(self, dictionary: Dictionary, able: list[int], slope_D: Float[Tensor, " D"]) -> list[int]:
        """Half of them by AUROC, half by what the first order says of the held value."""
        assert dictionary.max_activation is not None  # the able have one
        held_F = (dictionary.W_dec.cpu().float() @ slope_D) * dictionary.max_activation.cpu()
        by_slope = sorted(able, key=lambda feature: (-float(held_F[feature]), feature))
        by_auroc = able[: self.n_candidates - self.n_candidates // 2]
        return list(dict.fromkeys([*by_auroc, *by_slope]))[: self.n_candidates]


def typical_tokens(examples: Examples, *, n: int) -> tuple[list[int], list[int]]:
    """The `n` tokens that most more true texts than false ones hold, and `n` of the reverse; ties by the lower id."""
    more: Counter[int] = Counter()
    for tokens, is_true in zip(examples.tokens, examples.labels_T.tolist(), strict=True):
        for token in set(tokens):
            more[token] += 1 if is_true else -1
    ranked = sorted(more, key=lambda token: (-more[token], token))
    true, false = ranked[:n], sorted(more, key=lambda token: (more[token], token))[:n]
    return true, [token for token in false if token not in true]


def _has_maximum(dictionary: Dictionary, feature: int) -> bool:
    return dictionary.max_activation is not None and float(dictionary.max_activation[feature]) > 0


def _row(dictionary: Dictionary, feature: int, notes: dict[str, Any]) -> Learned:
    return Learned(
        direction_D=dictionary.direction(feature).detach().cpu(),
        notes={"feature": feature, "dictionary": dictionary.digest, **notes},
    )
