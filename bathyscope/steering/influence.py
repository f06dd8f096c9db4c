"""What a feature does to the model's words when it is held: the output side of what it is said to mean.

Held at a multiple of its observed maximum, a feature that means what its words say makes these words likelier. Beside
it stand random directions and other features, each moving every token just as far: what they do is not its doing.
A feature that is easy to read is not thereby a good handle (Arad et al. 2025, arXiv 2505.20063).
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from bathyscope import artifacts, progress
from bathyscope.artifacts import Recipe
from bathyscope.dictionaries.dictionary import Dictionary
from bathyscope.errors import ConfigError
from bathyscope.models.generate import generate
from bathyscope.models.model import Model
from bathyscope.steering.effects import answer_log_probs, effects
from bathyscope.steering.operations.clamp import Clamp
from bathyscope.steering.operations.operation import Operation
from bathyscope.steering.operations.random_direction import RandomDirection
from bathyscope.steering.steer import steer

KIND = "influence"
FILE = "influence.jsonl"

Arm = Literal["feature", "random direction", "other feature"]


@dataclass(frozen=True, slots=True, kw_only=True)
class InfluenceSettings:
    """How features are held, and on what."""

    prompts: tuple[str, ...] = (
        "Tell me something.",
        "What did you do today?",
        "Describe a place that you like.",
        "What should I read next?",
        "Write the first sentence of a story.",
        "Give me some advice.",
        "What is on the table?",
        "Explain something that you know well.",
    )
    """Prompts whose plain answers are read again with the feature held; none should be about the features."""
    strength: float = 1.0
    """Value at which a feature is held, in multiples of its observed maximum."""
    max_new_tokens: int = 16
    """Length of the plain answers."""
    n_random: int = 8
    """Random directions that move every token just as far."""
    n_others: int = 8
    """Other features along whose directions every token is moved just as far."""
    seed: int = 0
    """Seed of the answers, the random directions and the choice of other features."""

    def __post_init__(self) -> None:
        if not self.prompts or not all(prompt.strip() for prompt in self.prompts):
            raise ConfigError("influence needs at least one prompt, and none of them empty")
        if min(self.max_new_tokens, self.n_random) < 1 or self.n_others < 0:
            raise ConfigError("max_new_tokens and n_random must be at least 1, n_others at least 0")


@dataclass(frozen=True, slots=True, kw_only=True)
class Influence:
    """One row of `influence.jsonl`: one feature or control on one plain answer."""

    feature: int
    """The feature asked about; of a control, the one whose length of move it copies."""
    arm: Arm
    """Along what the tokens were moved."""
    control: int
    """Number of the random direction (0, 1, …) or of the other feature; −1 for the feature itself."""
    prompt: int
    """Number of the prompt."""
    shift: float
    """log P(any of the target tokens) held minus plain, averaged over the answer, in nats."""
    kl: float
    """KL(plain ‖ held) of the next-token distribution, in nats per token."""


@dataclass(frozen=True, slots=True)
class Toward:
    """Moves each token as far as another operation would, along a given unit vector: `x' = x + ‖Δ(x)‖ · u`."""

    of: Clamp
    """The operation whose length of move is copied."""
    unit_D: Float[Tensor, " D"]

    @property
    def hookpoint(self) -> str:
        """The hookpoint of the copied operation."""
        return self.of.hookpoint

    @property
    def model_identity(self) -> Mapping[str, str] | None:
        """The model of the copied operation."""
        return self.of.model_identity

    def delta(self, x_ND: Float[Tensor, "N D"]) -> Float[Tensor, "N D"]:
        """The copied operation's length, token by token, along the vector."""
        return self.of.delta(x_ND).norm(dim=-1, keepdim=True) * self.unit_D.to(x_ND.device)


def influence(
    model: Model,
    dictionary: Dictionary,
    targets: Mapping[int, Sequence[int]],
    *,
    out: Path,
    parents: Mapping[str, Path],
    settings: InfluenceSettings = InfluenceSettings(),
) -> list[Influence]:
    """What holding each feature of `targets` does to its target tokens, beside both controls, prompt by prompt.

    Also in the folder `out` (kind `influence`); resumes after the last finished feature. `steering.targets` says which
    tokens a feature reads; the index lists those that it writes. Raises ConfigError for a feature without target tokens
    or that never fired in training.
    """
    bare = [feature for feature, tokens in targets.items() if not tokens]
    if not targets or bare:
        raise ConfigError(f"feature {bare[0]} has no target tokens" if bare else "influence needs at least one feature")
    clamps = {feature: Clamp(dictionary, (feature,), settings.strength) for feature in targets}
    recipe = Recipe(
        kind=KIND,
        config={
            "settings": settings,
            "targets": {str(feature): [int(token) for token in tokens] for feature, tokens in targets.items()},
            "dictionary": dictionary.digest,
            "model": dict(model.identity),
        },
        seed=settings.seed,
        parents=parents,
        materials=tuple(model.materials),
    )
    if not artifacts.is_finished(out, recipe):
        with artifacts.draft(out, recipe) as work:
            rows = [Influence(**row) for row in (work.state() or {"rows": []})["rows"]]
            plain = generate(model, settings.prompts, max_new_tokens=settings.max_new_tokens, seed=settings.seed)
            texts = [(answer.prompt_tokens, answer.tokens) for answer in plain]
            before = answer_log_probs(model, texts)
            done = {row.feature for row in rows}
            for feature in [feature for feature in targets if feature not in done]:
                for arm, control, operation in _arms(clamps[feature], settings):
                    with steer(model, [operation]):
                        found = effects(before, answer_log_probs(model, texts), targets=targets[feature])
                    rows += [
                        Influence(
                            feature=feature,
                            arm=arm,
                            control=control,
                            prompt=number,
                            shift=effect.target_log_prob_shift,
                            kl=effect.kl,
                        )
                        for number, effect in enumerate(found)
                    ]
                done.add(feature)
                work.checkpoint({"rows": [asdict(row) for row in rows]})
                progress.report("influence", len(done), len(targets), "features")
            lines = "".join(json.dumps(asdict(row), sort_keys=True) + "\n" for row in rows)
            artifacts.write_atomic(work.path / FILE, lines.encode())
    return read_influence(out)


def read_influence(path: Path) -> list[Influence]:
    """The rows of a finished folder of kind `influence`. Raises ArtifactError for another kind or an altered file."""
    manifest = artifacts.read_manifest(path, kind=KIND)
    text = artifacts.check_file(path, manifest, FILE).read_text()
    return [Influence(**json.loads(line)) for line in text.splitlines() if line]


def _arms(clamp: Clamp, settings: InfluenceSettings) -> Iterator[tuple[Arm, int, Operation]]:
    """The feature, then its controls. Other features are drawn from those that fired in training."""
    feature, dictionary = clamp.features[0], clamp.dictionary
    yield "feature", -1, clamp
    for number in range(settings.n_random):
        yield "random direction", number, RandomDirection(clamp, settings.seed + number)
    assert dictionary.max_activation is not None  # Clamp refuses a dictionary without
    fired = dictionary.max_activation.gt(0).cpu().numpy()
    fired[feature] = False
    drawn = np.random.default_rng((settings.seed, feature)).permutation(np.flatnonzero(fired))
    for other in sorted(drawn[: settings.n_others].tolist()):
        yield "other feature", other, Toward(clamp, torch.nn.functional.normalize(dictionary.W_dec[other], dim=0))
