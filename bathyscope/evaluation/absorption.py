"""First-letter absorption: how often a feature for a letter stays silent because a narrower feature has taken it over.

A probe reads a word's first letter from the activation at the word. The letter's main features are those that tell the
letter best, alone or together. A word is absorbed when the probe is right, the main features are all silent, and one
other feature that is aligned with the probe carries the letter: cos(d_g, p) ≥ min_cosine and
c_g·⟨d_g, p⟩ ≥ min_share·⟨x - b_dec, p⟩   (Chanin et al. 2024, arXiv 2409.14507; SAEBench, arXiv 2503.09532).
SAEBench takes ⟨x, p⟩ instead; with b_dec taken off, the share is of what the codes have to explain.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from bathyscope import artifacts, progress
from bathyscope.artifacts import Recipe
from bathyscope.dictionaries.dictionary import Dictionary
from bathyscope.errors import ConfigError
from bathyscope.evaluation.extras import require_science
from bathyscope.evaluation.intervals import Interval
from bathyscope.evaluation.letters import LetterProbes, fit_letter_probes, word_activations, words_by_letter
from bathyscope.evaluation.nulls import random_dictionary
from bathyscope.evaluation.place import common_hookpoint
from bathyscope.evaluation.probes import column_probe, f1_score, mean_over_groups
from bathyscope.evaluation.scores import Score, read_scores, score, write_scores
from bathyscope.models.model import Model


@dataclass(frozen=True, slots=True, kw_only=True)
class AbsorptionSettings:
    """Which words are read, and what counts as absorbed."""

    template: str = "The first letter of the word"
    """What stands before the word; the word follows behind a space, its activation is read."""
    words_per_letter: int = 150
    """Most words of one letter; half of them choose features and fit the probe, half are counted."""
    min_words: int = 40
    """Letters with fewer words are left out."""
    min_f1: float = 0.02
    """A further main feature must raise F1 on the choosing half by this much."""
    max_main: int = 5
    """Most main features of one letter."""
    min_cosine: float = 0.025
    """Least cosine of the absorbing feature with the probe."""
    min_share: float = 0.4
    """Least share of the letter that the absorbing feature (or up to three, for the fraction) carries."""
    n_directions: int = 3
    """Random directions in the place of each letter's probe, for the null."""
    seed: int = 0
    """Seed of the choice of words, the random directions, the random dictionary and the bootstrap."""

    def __post_init__(self) -> None:
        if not 20 <= self.min_words <= self.words_per_letter:
            raise ConfigError("min_words must be at least 20 and at most words_per_letter")
        if min(self.max_main, self.n_directions) < 1:
            raise ConfigError("max_main and n_directions must be at least 1")
        if not 0 < self.min_share <= 1:
            raise ConfigError(f"min_share is {self.min_share}, expected above 0 and at most 1")


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class WordOutcomes:
    """What was found for the words of one letter, W of them."""

    is_absorbed_W: Bool[np.ndarray, " W"]
    """One other feature carries the letter while the main ones are silent."""
    fraction_W: Float[np.ndarray, " W"]
    """Share of the letter that other features carry in place of the main ones, between 0 and 1."""
    is_silent_W: Bool[np.ndarray, " W"]
    """None of the main features fires."""


def absorption(
    model: Model,
    dictionaries: Mapping[str, Dictionary],
    *,
    out: str | Path,
    hookpoint: str | None = None,
    parents: Mapping[str, Path] | None = None,
    settings: AbsorptionSettings = AbsorptionSettings(),
) -> list[Score]:
    """Absorption rate, fraction and silent share of every dictionary beside a random one and random directions.

    Words are the tokens of a space and at least three letters a–z of the model's vocabulary. All figures are over words
    of the held-out half whose letter the probe reads rightly. The folder `out` is of kind `scores`. Raises ConfigError
    when no letter has enough words.
    """
    out = Path(out)
    require_science("absorption")
    hookpoint = common_hookpoint(model, dictionaries, hookpoint, purpose="absorption")
    recipe = Recipe(
        kind="scores",
        config={
            "subject": "first-letter absorption",
            "model": dict(model.identity),
            "hookpoint": hookpoint,
            "dictionaries": {name: each.digest for name, each in dictionaries.items()},
            "settings": settings,
        },
        seed=settings.seed,
        parents=parents or {},
        materials=tuple(model.materials),
    )
    if not artifacts.is_finished(out, recipe):
        words = words_by_letter(
            model, per_letter=settings.words_per_letter, min_words=settings.min_words, seed=settings.seed
        )
        with artifacts.draft(out, recipe) as work:
            x_WD = word_activations(model, hookpoint, words.tokens_W, template=settings.template)
            probes = fit_letter_probes(words, x_WD)
            if not any(probes.is_counted(letter).any() for letter in range(len(words.letters))):
                raise ConfigError(f"{hookpoint}: the probe reads no held-out word's letter rightly; try another layer")
            rows = _probe_rows(probes, seed=settings.seed)
            subjects = dict(dictionaries) | _nulls(
                dictionaries, x_WD[torch.from_numpy(words.is_train_W)], settings.seed
            )
            for number, (name, dictionary) in enumerate(subjects.items()):
                rows += dictionary_rows(name, dictionary, probes, x_WD, settings)
                progress.report("absorption", number + 1, len(subjects), "dictionaries")
            write_scores(work.path, rows)
    return read_scores(out)


def dictionary_rows(
    name: str, dictionary: Dictionary, probes: LetterProbes, x_WD: Float[Tensor, "W D"], settings: AbsorptionSettings
) -> list[Score]:
    """Score rows of one dictionary: with the probes' directions, and with random directions in their place."""
    codes_WF = dictionary.encode(x_WD).dense()
    generator = torch.Generator().manual_seed(settings.seed)
    found: list[WordOutcomes] = []
    by_chance: list[WordOutcomes] = []
    n_main: list[int] = []
    for letter, direction_D in enumerate(probes.directions_LD):
        main = main_features(codes_WF, probes, letter, settings)
        n_main.append(len(main))
        counted_W = torch.from_numpy(probes.is_counted(letter))
        found.append(outcomes(dictionary, x_WD[counted_W], codes_WF[counted_W], direction_D, main, settings))
        for _ in range(settings.n_directions):
            random_D = torch.nn.functional.normalize(torch.randn(len(direction_D), generator=generator), dim=0)
            by_chance.append(outcomes(dictionary, x_WD[counted_W], codes_WF[counted_W], random_D, main, settings))
    chance = f"{name}, random directions"
    main_row = score(
        name, "main features per letter", _mean(np.array(n_main, np.float64), settings.seed), unit="letters"
    )
    return [*_rows(name, found, settings.seed), *_rows(chance, by_chance, settings.seed), main_row]


def main_features(
    codes_WF: Float[Tensor, "W F"], probes: LetterProbes, letter: int, settings: AbsorptionSettings
) -> Int[np.ndarray, " M"]:
    """The features that tell the letter best on the choosing half: k-sparse probes for k = 1, 2, … while F1 rises.

    Candidates in order of how much stronger they fire on the letter's words than on others (size of the code, so that
    signed codes count); a feature of another letter, strong where this letter is not, is none.
    """
    train_W = probes.is_train_W
    x_WF, labels_W = codes_WF.abs().numpy()[train_W], probes.letters_W[train_W] == letter
    order_F = np.argsort(x_WF[~labels_W].mean(0) - x_WF[labels_W].mean(0), kind="stable")
    best, n_best = -1.0, 1
    for k in range(1, min(settings.max_main, x_WF.shape[1]) + 1):
        f1 = f1_score(column_probe(x_WF, labels_W, order_F[:k], penalty=1.0).scores(x_WF) > 0, labels_W)
        if k > 1 and f1 < best + settings.min_f1:
            break
        best, n_best = f1, k
    return order_F[:n_best]


def outcomes(
    dictionary: Dictionary,
    x_WD: Float[Tensor, "W D"],
    codes_WF: Float[Tensor, "W F"],
    direction_D: Float[Tensor, " D"],
    main: Int[np.ndarray, " M"],
    settings: AbsorptionSettings,
) -> WordOutcomes:
    """Which words are absorbed, for one letter's (or a random) direction of length 1."""
    others_F = torch.ones(dictionary.n_features, dtype=torch.bool)
    others_F[torch.from_numpy(main)] = False
    along_F = dictionary.W_dec @ direction_D
    is_aligned_F = others_F & (
        torch.nn.functional.cosine_similarity(dictionary.W_dec, direction_D[None]) >= settings.min_cosine
    )
    whole_W = (x_WD - dictionary.b_dec) @ direction_D
    parts_WF = codes_WF * along_F
    carried_WF = (parts_WF * is_aligned_F).clamp_min(0)
    is_silent_W = ~(codes_WF[:, ~others_F] != 0).any(1)
    is_carried_W = (whole_W > 0) & (carried_WF.amax(1) >= settings.min_share * whole_W)
    main_W = parts_WF[:, ~others_F].sum(1)
    three_W = carried_WF.topk(min(3, carried_WF.shape[1]), dim=1).values.sum(1)
    left_W = torch.minimum(three_W, whole_W - main_W)
    is_partly_W = (whole_W > 0) & (main_W < whole_W) & (three_W >= settings.min_share * whole_W)
    fraction_W = torch.where(main_W <= 0, 1.0, left_W / (left_W + main_W).clamp_min(1e-30)).clamp(0, 1) * is_partly_W
    return WordOutcomes(
        is_absorbed_W=(is_silent_W & is_carried_W).numpy(),
        fraction_W=fraction_W.double().numpy(),
        is_silent_W=is_silent_W.numpy(),
    )


def _rows(subject: str, found: list[WordOutcomes], seed: int) -> list[Score]:
    figures = {
        "absorption rate": [each.is_absorbed_W.astype(np.float64) for each in found],
        "absorption fraction": [each.fraction_W for each in found],
        "main features silent": [each.is_silent_W.astype(np.float64) for each in found],
    }
    rows: list[Score] = []
    for metric, values in figures.items():
        rows.append(score(subject, metric, _mean(np.concatenate(values), seed), unit="words"))
    return rows


def _probe_rows(probes: LetterProbes, *, seed: int) -> list[Score]:
    """How often the probe is right on the held-out half, and how often the commonest letter alone would be."""
    report_W = ~probes.is_train_W
    right_W = (probes.predicted_W == probes.letters_W)[report_W].astype(np.float64)
    common_W = (probes.letters_W == np.bincount(probes.letters_W).argmax())[report_W].astype(np.float64)
    return [
        score("residual probe", "letter accuracy", _mean(right_W, seed), unit="words"),
        score("commonest letter", "letter accuracy", _mean(common_W, seed), unit="words"),
    ]


def _mean(values_W: Float[np.ndarray, " W"], seed: int) -> Interval:
    return mean_over_groups(values_W, np.arange(len(values_W)), seed=seed)


def _nulls(dictionaries: Mapping[str, Dictionary], x_WD: Float[Tensor, "W D"], seed: int) -> dict[str, Dictionary]:
    """A random dictionary as large and as sparse as the first of the given ones."""
    if not dictionaries:
        return {}
    like = next(iter(dictionaries.values()))
    k = max(1, round(like.encode(x_WD).l0()))
    return {"random dictionary": random_dictionary(like, x_WD, k=k, seed=seed)}
