"""What steering costs: how far predictions on neutral text move, and what the model no longer knows.

On text that has nothing to do with the steering: KL(plain ‖ steered) of the next token, and perplexity as steered.
On questions: the share in which the right answer is likelier, per token, than a wrong one (chance is a half).
Knows nothing of how the model is steered: it is given a block to measure inside of.
"""

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from bathyscope import progress
from bathyscope.activations.pairs.answers import Answers
from bathyscope.activations.pairs.pair import Pair
from bathyscope.errors import ConfigError
from bathyscope.evaluation.intervals import Interval, bootstrap
from bathyscope.evaluation.scores import Score, score
from bathyscope.models.log_probs import log_probs_behind
from bathyscope.models.model import Model
from bathyscope.models.padding import padded_inputs
from bathyscope.models.prompts import text_tokens

PLAIN = "plain model"
Block = Callable[[], AbstractContextManager[Any]]
"""Opens a block inside which the model is steered."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SideEffectSettings:
    """What is measured on."""

    sets: tuple[str, ...] = ("piqa", "sciq", "hellaswag", "openbookqa")
    """Question sets of the material `olmo-answers`; none leaves questions out."""
    n_questions: int = 60
    """Questions of each set."""
    batch_size: int = 16
    """Texts read at once."""
    seed: int = 0
    """Seed of the questions and of the bootstrap."""

    def __post_init__(self) -> None:
        if min(self.n_questions, self.batch_size) < 1:
            raise ConfigError("n_questions and batch_size must be at least 1")


def side_effects(
    model: Model,
    steered: Mapping[str, Block],
    texts: Sequence[str],
    *,
    settings: SideEffectSettings = SideEffectSettings(),
) -> list[Score]:
    """For the plain model and for each named block: perplexity and KL on `texts`, accuracy on each question set.

    Intervals are over texts and over questions; `accuracy lost` is paired with the plain model's. Raises ConfigError
    without texts or blocks, or for an unknown question set.
    """
    if not texts or not steered or PLAIN in steered:
        raise ConfigError(f"side effects need neutral texts and a steered block; none may be called {PLAIN!r}")
    blocks: dict[str, Block] = {PLAIN: nullcontext, **steered}
    rows = _on_text(model, blocks, texts, settings)
    right: dict[str, dict[str, np.ndarray]] = {}
    for name in settings.sets:
        pairs = Answers(sets=(name,)).draw(n=settings.n_questions, seed=settings.seed).pairs
        for number, (subject, block) in enumerate(blocks.items()):
            with block():
                right.setdefault(name, {})[subject] = right_answers(model, pairs)
            progress.report(f"side effects: {name}", number + 1, len(blocks), "ways")
    for name, by_subject in right.items():
        for subject, is_right_Q in by_subject.items():
            rows.append(_row(subject, f"accuracy · {name}", _mean(is_right_Q, settings.seed), unit="questions"))
            if subject != PLAIN:
                lost = _mean(by_subject[PLAIN] - is_right_Q, settings.seed)
                rows.append(_row(subject, f"accuracy lost · {name}", lost, unit="questions"))
    for subject in steered if right else ():
        lost_Q = np.concatenate([by_subject[PLAIN] - by_subject[subject] for by_subject in right.values()])
        rows.append(_row(subject, "accuracy lost", _mean(lost_Q, settings.seed), unit="questions"))
    return rows


def right_answers(model: Model, pairs: Sequence[Pair]) -> Float[np.ndarray, " Q"]:
    """1 where the right answer is likelier per token than the wrong one, as the model is steered now."""
    found: list[float] = []
    for pair in pairs:
        prefix = text_tokens(model, pair.prefix)
        answers = [_continued(model, pair.prefix, len(prefix), answer) for answer in (pair.before, pair.after)]
        wrong, right = (float(log_p.mean()) for log_p in log_probs_behind(model, prefix, answers))
        found.append(float(right > wrong))
    return np.array(found)


def _continued(model: Model, prefix: str, n_prefix: int, answer: str) -> list[int]:
    """Tokens of the answer where it stands behind the prefix; at least one."""
    return text_tokens(model, prefix + answer)[n_prefix:] or text_tokens(model, answer)[-1:]


def _on_text(
    model: Model, blocks: Mapping[str, Block], texts: Sequence[str], settings: SideEffectSettings
) -> list[Score]:
    """Perplexity of each way, and KL to the plain model, text by text."""
    rows = [text_tokens(model, text) for text in texts]
    rows = [row for row in rows if len(row) > 1]
    sums: dict[str, list[tuple[float, float, float]]] = {subject: [] for subject in blocks}
    for first in range(0, len(rows), settings.batch_size):
        batch = rows[first : first + settings.batch_size]
        plain = _log_probs(model, batch)
        for subject, block in blocks.items():
            with block():
                own = plain if subject == PLAIN else _log_probs(model, batch)
            for row, plain_SV, own_SV in zip(batch, plain, own, strict=True):
                targets_S = torch.tensor(row[1:])
                loss = -float(own_SV.gather(1, targets_S[:, None]).sum())
                kl = float((plain_SV.exp() * (plain_SV - own_SV)).sum())
                sums[subject].append((loss, kl, float(len(targets_S))))
        progress.report("side effects: text", min(first + len(batch), len(rows)), len(rows), "texts")
    found: list[Score] = []
    for subject, of_text in sums.items():
        table = np.array(of_text)
        loss = bootstrap(table, lambda t: np.exp(t[..., 0] / t[..., 2])[()], seed=settings.seed)
        found.append(_row(subject, "perplexity on neutral text", loss, unit="texts"))
        if subject != PLAIN:
            kl = bootstrap(table, lambda t: t[..., 1] / t[..., 2], seed=settings.seed)
            found.append(_row(subject, "KL on neutral text", kl, unit="texts"))
    return found


def _log_probs(model: Model, rows: Sequence[Sequence[int]]) -> list[Float[Tensor, "_ V"]]:
    """Of each row of S tokens the log-probabilities of all next tokens behind the first S - 1."""
    with torch.inference_mode():
        logits_BSV = model.network(**padded_inputs(model, rows, side="right"), use_cache=False).logits
    return [
        logits_SV[: len(row) - 1].float().log_softmax(-1).cpu() for row, logits_SV in zip(rows, logits_BSV, strict=True)
    ]


def _mean(values: Float[np.ndarray, " Q"], seed: int) -> Interval:
    return bootstrap(np.stack([values, np.ones(len(values))], axis=1), lambda t: t[..., 0] / t[..., 1], seed=seed)


def _row(subject: str, metric: str, interval: Interval, *, unit: str) -> Score:
    return score(subject, metric, interval, unit=unit, split="side effects")
