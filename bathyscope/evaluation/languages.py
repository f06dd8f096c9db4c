"""A card of languages: does one feature fire on the same sentence in several languages, or is it of one language?

The same verses are read in n languages. A text's features are those that fire on any of its tokens.

    overlap(a, b)    = mean over verses of |features of the verse in a ∩ in b| / |∪|, beside another verse's in b
    agreement(f)     = the lowest, over pairs of languages, of phi over verses between firing in a and firing in b
    of one language  = fires on at least `min_rate` of one language's verses and `one_language` of its firing is there

What fires everywhere overlaps whatever the verse, and long verses fire more: only what lies above other verses of like
length counts. Features are called language-free or of one language on one half of the chapters; the other half says how
many of the calls hold.
"""

import itertools
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
import torch
from jaxtyping import Bool, Float, Int

from bathyscope import artifacts, progress
from bathyscope.activations.pairs.parallel import Verses, parallel_verses
from bathyscope.artifacts import Recipe
from bathyscope.dictionaries.dictionary import Dictionary
from bathyscope.dictionaries.signs import require_positive_codes
from bathyscope.errors import ConfigError
from bathyscope.evaluation.intervals import Interval, bootstrap, by_document
from bathyscope.evaluation.language_page import NAME, OTHER, SAME, LanguageFeature, Sort, language_page
from bathyscope.evaluation.place import common_hookpoint
from bathyscope.evaluation.pooling import pool, text_rows
from bathyscope.evaluation.scores import Score, read_scores, score, write_scores
from bathyscope.evaluation.stability import mean_over_features
from bathyscope.models.model import Model

FEATURES, CARD = "features.jsonl", "card.md"
LIKE_LENGTH = 10
"""Verses of like length: neighbours in order of length, which are shuffled among each other."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LanguageSettings:
    """Which verses are read, and what a feature is called."""

    material: Literal["catholic-bible", "quran"] = "catholic-bible"
    """The parallel text: the Bible in English, Portuguese and Latin, or the Quran in French and Spanish."""
    n_verses: int = 400
    """Verses, the same in every language."""
    min_chars: int = 40
    """Verses shorter than this in some language are left out."""
    max_chars: int = 300
    """Verses longer than this in some language are left out."""
    min_rate: float = 0.05
    """Share of a language's verses on which a feature must fire to be called anything."""
    one_language: float = 0.9
    """A feature is of one language when at least this share of its firing verses are in it."""
    quantile: float = 0.99
    """A feature is language-free when its agreement is above this quantile of those on shuffled verses."""
    n_shuffles: int = 5
    """Random orders of the verses for that null."""
    context: int = 128
    """Tokens of a verse that are read, BOS included."""
    tokens_per_batch: int = 2048
    """Tokens of one forward pass, padding included."""
    sink_multiple: float = 10.0
    """Leave out tokens whose norm is above this multiple of the median, as collected activations do; 0 keeps them."""
    seed: int = 0
    """Seed of the choice of verses, the halves, the shuffles and the bootstrap."""

    def __post_init__(self) -> None:
        if self.n_verses < 40 or self.n_shuffles < 1:
            raise ConfigError("n_verses must be at least 40 and n_shuffles at least 1")
        if not 0 < self.min_rate < 1 or not 0.5 < self.one_language <= 1 or not 0 < self.quantile < 1:
            raise ConfigError("min_rate and quantile are between 0 and 1, one_language is above a half and at most 1")


class _Calls(NamedTuple):
    """What half of the verses says of each feature."""

    rates_LF: Float[np.ndarray, "L F"]
    agreement_F: Float[np.ndarray, " F"]
    bar: float
    """The null's quantile, which the agreement of a language-free feature exceeds."""
    is_free_F: Bool[np.ndarray, " F"]
    language_F: Int[np.ndarray, " F"]
    """Number of the language of a feature of one language, −1 for the others."""


def language_card(
    model: Model,
    dictionary: Dictionary,
    *,
    out: str | Path,
    parents: Mapping[str, Path] | None = None,
    settings: LanguageSettings = LanguageSettings(),
) -> list[Score]:
    """The card's rows, also in the folder `out` (kind `scores`): `card.md` to read, `features.jsonl` with every call.

    Raises ConfigError when too few verses fit or the dictionary does not belong to the model.
    """
    out = Path(out)
    dictionary.require_selection("a card of languages")
    require_positive_codes(dictionary, "a card of languages")
    hookpoint = common_hookpoint(model, {NAME: dictionary}, None, purpose="a card of languages")
    verses = parallel_verses(settings.material, min_chars=settings.min_chars, max_chars=settings.max_chars)
    recipe = Recipe(
        kind="scores",
        config={
            "subject": "card of languages",
            "model": dict(model.identity),
            "hookpoint": hookpoint,
            "dictionary": dictionary.digest,
            "settings": settings,
        },
        seed=settings.seed,
        parents=parents or {},
        materials=(*model.materials, verses.record),
    )
    if not artifacts.is_finished(out, recipe):
        if len(verses.keys) < settings.n_verses:
            raise ConfigError(
                f"{settings.material} has {len(verses.keys)} verses of {settings.min_chars} to {settings.max_chars} "
                f"characters in all its languages, {settings.n_verses} are asked; lower n_verses"
            )
        drawn = _drawn(verses, n=settings.n_verses, seed=settings.seed)
        chapters = [verses.keys[i].rpartition(".")[0] for i in drawn]
        with artifacts.draft(out, recipe) as work:
            fires_LVF = np.stack(
                [
                    _fires(model, dictionary, hookpoint, [texts[i] for i in drawn], language, settings)
                    for language, texts in verses.texts.items()
                ]
            )
            rows, features = card(list(verses.texts), fires_LVF, chapters, settings)
            write_scores(work.path, rows)
            lines = "".join(json.dumps(asdict(feature), sort_keys=True) + "\n" for feature in features)
            artifacts.write_atomic(work.path / FEATURES, lines.encode())
            title = f"{settings.n_verses} verses of {settings.material}"
            artifacts.write_atomic(work.path / CARD, language_page(rows, features, title=title).encode())
    return read_scores(out)


def read_language_features(path: Path) -> list[LanguageFeature]:
    """The called features of a finished folder. Raises ArtifactError for another kind or an altered file."""
    manifest = artifacts.read_manifest(path, kind="scores")
    text = artifacts.check_file(path, manifest, FEATURES).read_text()
    return [LanguageFeature(**json.loads(line)) for line in text.splitlines() if line]


def card(
    languages: Sequence[str], fires_LVF: Bool[np.ndarray, "L V F"], chapters: Sequence[str], settings: LanguageSettings
) -> tuple[list[Score], list[LanguageFeature]]:
    """All rows and calls, from where each feature fires: verse v in language l, verses in order of length."""
    _, groups_V = np.unique(chapters, return_inverse=True)
    rows = list(_overlaps(languages, fires_LVF, groups_V, settings))
    is_choosing_V = np.random.default_rng(settings.seed).permutation(int(groups_V.max()) + 1)[groups_V] % 2 == 0
    choosing, report = (calls(fires_LVF[:, half], settings) for half in (is_choosing_V, ~is_choosing_V))
    return [*rows, *_held(languages, choosing, report, settings)], _features(languages, choosing, report)


def calls(fires_LVF: Bool[np.ndarray, "L V F"], settings: LanguageSettings) -> _Calls:
    """What some verses say of each feature."""
    rates_LF = fires_LVF.mean(axis=1)
    often_F = rates_LF.max(axis=0) >= settings.min_rate
    agreement_F = agreement(fires_LVF)
    generator = np.random.default_rng(settings.seed)
    null = [agreement(_shuffled(fires_LVF, generator))[often_F] for _ in range(settings.n_shuffles)]
    bar = float(np.quantile(np.concatenate(null), settings.quantile)) if often_F.any() else 1.0
    share_LF = rates_LF / np.maximum(rates_LF.sum(axis=0), 1e-12)
    is_one_F = often_F & (share_LF.max(axis=0) >= settings.one_language)
    return _Calls(
        rates_LF=rates_LF,
        agreement_F=agreement_F,
        bar=bar,
        is_free_F=often_F & ~is_one_F & (agreement_F > bar),
        language_F=np.where(is_one_F, share_LF.argmax(axis=0), -1),
    )


def agreement(fires_LVF: Bool[np.ndarray, "L V F"]) -> Float[np.ndarray, " F"]:
    """The lowest correlation over verses between firing in two languages; 0 where a feature does not vary in one."""
    values = fires_LVF.astype(np.float64)
    values -= values.mean(axis=1, keepdims=True)
    spread_LF = np.sqrt((values**2).sum(axis=1))
    phis = [
        (values[a] * values[b]).sum(axis=0) / np.maximum(spread_LF[a] * spread_LF[b], 1e-12)
        for a, b in itertools.combinations(range(len(values)), 2)
    ]
    return np.min(phis, axis=0)


def _drawn(verses: Verses, *, n: int, seed: int) -> list[int]:
    """Numbers of `n` verses drawn at random, shortest first (all languages counted)."""
    chosen = np.random.default_rng(seed).permutation(len(verses.keys))[:n].tolist()
    return sorted(chosen, key=lambda i: (sum(len(texts[i]) for texts in verses.texts.values()), i))


def _fires(
    model: Model,
    dictionary: Dictionary,
    hookpoint: str,
    texts: Sequence[str],
    language: str,
    settings: LanguageSettings,
) -> Bool[np.ndarray, "V F"]:
    pooled = pool(
        model,
        hookpoint,
        text_rows(model, texts, context=settings.context),
        {NAME: dictionary},
        tokens_per_batch=settings.tokens_per_batch,
        sink_multiple=settings.sink_multiple,
        after_batch=lambda n: progress.report(f"verses: {language}", n, len(texts), "verses"),
    )
    return torch.gt(pooled.codes[NAME], 0).numpy()


def _shuffled(fires_LVF: Bool[np.ndarray, "L V F"], generator: np.random.Generator) -> Bool[np.ndarray, "L V F"]:
    """Every language's verses in an order of its own, among verses of like length."""
    n = fires_LVF.shape[1]
    blocks = [np.arange(start, min(start + LIKE_LENGTH, n)) for start in range(0, n, LIKE_LENGTH)]
    orders = [np.concatenate([generator.permutation(block) for block in blocks]) for _ in fires_LVF]
    return np.stack([fires_VF[order] for fires_VF, order in zip(fires_LVF, orders, strict=True)])


def _overlaps(
    languages: Sequence[str],
    fires_LVF: Bool[np.ndarray, "L V F"],
    groups_V: Int[np.ndarray, " V"],
    settings: LanguageSettings,
) -> list[Score]:
    """Overlap of each pair of languages on the same verse and on the next longer one, and the difference."""
    rows: list[Score] = []
    other_V = np.roll(np.arange(fires_LVF.shape[1]), 1)
    for a, b in itertools.combinations(range(len(languages)), 2):
        pair = f"{languages[a]}-{languages[b]}"
        same_V = _jaccard(fires_LVF[a], fires_LVF[b])
        beside_V = _jaccard(fires_LVF[a], fires_LVF[b][other_V])
        for subject, values_V in ((SAME, same_V), (OTHER, beside_V), ("difference", same_V - beside_V)):
            interval = _mean(values_V, groups_V, settings.seed)
            rows.append(score(subject, f"overlap · {pair}", interval, unit="chapters", split="all verses"))
    return rows


def _jaccard(one_VF: Bool[np.ndarray, "V F"], other_VF: Bool[np.ndarray, "V F"]) -> Float[np.ndarray, " V"]:
    """Features of both over features of either, verse by verse; 0 where neither has any."""
    both, either = (one_VF & other_VF).sum(axis=1), (one_VF | other_VF).sum(axis=1)
    return both / np.maximum(either, 1)


def _mean(values_V: Float[np.ndarray, " V"], groups_V: Int[np.ndarray, " V"], seed: int) -> Interval:
    sums_G2 = by_document(groups_V, np.stack([values_V, np.ones(len(values_V))], axis=1))
    return bootstrap(sums_G2, lambda t: t[..., 0] / t[..., 1], seed=seed)


def _held(languages: Sequence[str], choosing: _Calls, report: _Calls, settings: LanguageSettings) -> list[Score]:
    """How many features are called what, and which share of the calls the reporting half makes, too."""
    n_features = len(choosing.is_free_F)
    found = [
        _count(NAME, "alive on the verses", np.any(choosing.rates_LF > 0, axis=0), settings.seed),
        _count(NAME, "language-free", choosing.is_free_F, settings.seed),
    ]
    sorts = {"language-free": (choosing.is_free_F, report.is_free_F)}
    for number, language in enumerate(languages):
        sorts[f"of {language} alone"] = (choosing.language_F == number, report.language_F == number)
        found.append(_count(NAME, f"of {language} alone", choosing.language_F == number, settings.seed))
    for sort, (called_F, again_F) in sorts.items():
        if called_F.any():
            found.append(_count(NAME, f"called again · {sort}", again_F[called_F], settings.seed))
            by_chance = np.full(n_features, again_F.mean())
            found.append(_count("any feature", f"called again · {sort}", by_chance, settings.seed))
    return found


def _count(subject: str, metric: str, called: np.ndarray, seed: int) -> Score:
    """The share of features for which something holds, with an interval from resampling features."""
    interval = mean_over_features(called.astype(np.float64), seed)
    return score(subject, metric, interval, unit="features", split="halves of the chapters")


def _features(languages: Sequence[str], choosing: _Calls, report: _Calls) -> list[LanguageFeature]:
    """The called features, language-free ones by agreement first, then those of each language by rate."""
    free = np.flatnonzero(choosing.is_free_F)
    free = free[np.argsort(-choosing.agreement_F[free], kind="stable")]
    found = [_feature(languages, report, f, "language-free", None, bool(report.is_free_F[f])) for f in free.tolist()]
    for number, language in enumerate(languages):
        own = np.flatnonzero(choosing.language_F == number)
        for feature in own[np.argsort(-choosing.rates_LF[number, own], kind="stable")].tolist():
            holds = bool(report.language_F[feature] == number)
            found += [_feature(languages, report, feature, "one language", language, holds)]
    return found


def _feature(
    languages: Sequence[str], report: _Calls, feature: int, sort: Sort, language: str | None, holds: bool
) -> LanguageFeature:
    rates = {name: round(float(report.rates_LF[i, feature]), 6) for i, name in enumerate(languages)}
    agreed = round(float(report.agreement_F[feature]), 6)
    return LanguageFeature(feature=feature, sort=sort, language=language, agreement=agreed, rates=rates, holds=holds)
