"""Which features are worth steering: those whose clamp makes the model write what the feature reads.

Selection runs on its own prompts; what is reported later runs on others. A feature that is easy to read is not thereby
a good handle (Arad et al. 2025, arXiv 2505.20063), so the choice is by output, beside a random direction.
"""

import itertools
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from bathyscope import artifacts, progress
from bathyscope.artifacts import Draft, Recipe
from bathyscope.dictionaries.dictionary import Dictionary
from bathyscope.errors import ConfigError
from bathyscope.features.index import FeatureIndex
from bathyscope.models.model import Model
from bathyscope.steering.gain import gain, plain_answers
from bathyscope.steering.operations.clamp import Clamp
from bathyscope.steering.operations.features import hookpoint_of
from bathyscope.steering.targets import read_tokens, writes_what_it_reads

FILE = "candidates.jsonl"


@dataclass(frozen=True, slots=True, kw_only=True)
class ChooseSettings:
    """Settings of `choose_features`."""

    prompts: tuple[str, ...]
    """Prompts on which features are chosen; report on others."""
    n_features: int = 3
    """Features to return."""
    n_candidates: int = 40
    """Features tried: of those that fire on words, the ones whose direction raises the very tokens they fire on."""
    min_density: float = 2e-4
    """Rarest feature tried, as a share of tokens."""
    max_density: float = 2e-2
    """Commonest feature tried."""
    min_letters: int = 4
    """Letters that a token needs to count as a word."""
    strength: float = 1.0
    """Clamp target during selection, in multiples of the observed maximum."""
    max_new_tokens: int = 16
    """Length of the plain answers on which effects are measured."""
    seed: int = 0
    """Seed of the random directions."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """One tried feature with its selection figures."""

    feature: int
    """Feature number."""
    gain: float
    """Mean shift of log P(tokens it reads) minus the same under a random direction of equal length, in nats."""
    kl: float
    """Mean KL to the unsteered model, in nats per token."""


def choose_features(
    model: Model,
    dictionary: Dictionary,
    index: FeatureIndex,
    *,
    out: Path,
    parents: dict[str, Path],
    settings: ChooseSettings,
) -> list[Candidate]:
    """The best features by gain, best first, no two of them decoder neighbours (cosine > 0.5).

    Every tried feature stands in `candidates.jsonl` of the folder `out` (kind `candidates`), best first.
    Raises ConfigError when no feature has a density in the allowed range.
    """
    recipe = Recipe(
        kind="candidates", config=settings, seed=settings.seed, parents=parents, materials=tuple(model.materials)
    )
    if not artifacts.is_finished(out, recipe):
        features = _promising(model, dictionary, index, settings)
        with artifacts.draft(out, recipe) as work:
            tried = _try(model, dictionary, index, features, settings, work)
            lines = [json.dumps(asdict(t), sort_keys=True) for t in sorted(tried, key=lambda t: (-t.gain, t.feature))]
            artifacts.write_atomic(work.path / FILE, ("\n".join(lines) + "\n").encode())
    return _distinct(dictionary, read_candidates(out), settings.n_features)


def read_candidates(path: Path) -> list[Candidate]:
    """The rows of a finished folder of kind `candidates`, best first. Raises ArtifactError for anything else."""
    manifest = artifacts.read_manifest(path, kind="candidates")
    text = artifacts.check_file(path, manifest, FILE).read_text()
    return [Candidate(**json.loads(line)) for line in text.splitlines() if line]


def _try(
    model: Model,
    dictionary: Dictionary,
    index: FeatureIndex,
    features: Sequence[int],
    settings: ChooseSettings,
    work: Draft,
) -> list[Candidate]:
    """Selection figures of every feature; checkpointed after each."""
    plain = plain_answers(
        model,
        settings.prompts,
        hookpoint=hookpoint_of(dictionary),
        max_new_tokens=settings.max_new_tokens,
        seed=settings.seed,
    )
    tried = [Candidate(**row) for row in (work.state() or {"tried": []})["tried"]]
    for feature in features[len(tried) :]:
        targets, clamp = read_tokens(index, feature), Clamp(dictionary, (feature,), settings.strength)
        found = gain(model, clamp, plain, targets=targets, seed=settings.seed + feature)
        tried.append(Candidate(feature=feature, gain=found.value, kl=found.kl))
        work.checkpoint({"tried": [asdict(t) for t in tried]})
        progress.report("choose", len(tried), len(features), "features", best_gain=max(t.gain for t in tried))
    return tried


def _promising(model: Model, dictionary: Dictionary, index: FeatureIndex, settings: ChooseSettings) -> list[int]:
    """Features of allowed density that fire on words, those that write what they read first."""
    density_F = index.features["density"].to_numpy()
    is_allowed_F = (density_F >= settings.min_density) & (density_F <= settings.max_density)
    if dictionary.max_activation is not None:  # what fired on the indexed text alone has no observed maximum
        is_allowed_F &= dictionary.max_activation.cpu().numpy() > 0
    allowed = np.flatnonzero(is_allowed_F)
    if len(allowed) == 0:
        raise ConfigError(
            f"no feature that fired in training has a density between {settings.min_density} and "
            f"{settings.max_density}; widen the range"
        )
    scores_F = writes_what_it_reads(model, dictionary, index)
    ranked = sorted(allowed.tolist(), key=lambda f: (-scores_F[f], f))
    on_words = (f for f in ranked if _fires_on_words(index, f, settings.min_letters))
    return list(itertools.islice(on_words, settings.n_candidates)) or ranked[: settings.n_candidates]


def _fires_on_words(index: FeatureIndex, feature: int, min_letters: int) -> bool:
    """Whether most of the tokens at its peaks are words of at least `min_letters` letters."""
    words = [text.strip() for text in index.token_strings(read_tokens(index, feature))]
    return sum(word.isalpha() and len(word) >= min_letters for word in words) * 2 > len(words)


def _distinct(dictionary: Dictionary, ranked: Sequence[Candidate], n: int) -> list[Candidate]:
    kept: list[Candidate] = []
    for candidate in ranked:
        direction_D = dictionary.W_dec[candidate.feature]
        if all(float(direction_D @ dictionary.W_dec[other.feature]) < 0.5 for other in kept):
            kept.append(candidate)
        if len(kept) == n:
            break
    return kept
