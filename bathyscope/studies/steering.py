"""The bench of steering: every way of steering towards every concept, at every strength, rated and tabled.

Directions are learnt (`vectors`), tried on the model (`steering`), and the answers rated (`evaluation`). Each stage is
a folder; an interrupted bench goes on where it was.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

import numpy as np
import torch

from bathyscope import progress
from bathyscope.dictionaries.dictionary import Dictionary, load_dictionary
from bathyscope.dictionaries.shifts.learn import learn_shifts
from bathyscope.dictionaries.shifts.settings import ShiftSettings
from bathyscope.errors import ConfigError
from bathyscope.evaluation.definitions import Definition, read_definitions, topic_definitions
from bathyscope.evaluation.intervals import bootstrap
from bathyscope.evaluation.scores import Score, score
from bathyscope.evaluation.steering.figures import chosen_factors
from bathyscope.evaluation.steering.judges.judge import SteeringJudge
from bathyscope.evaluation.steering.judges.likelihood import FluencyJudge, Likelihoods, RelationJudge
from bathyscope.evaluation.steering.judges.meaning import MeaningJudge
from bathyscope.evaluation.steering.judges.words import WordsJudge
from bathyscope.evaluation.steering.rate_trials import Comparison, rate_trials, read_ratings
from bathyscope.evaluation.steering.ratings import panels
from bathyscope.evaluation.steering.side_effects import SideEffectSettings
from bathyscope.features.reader import FeatureIndex
from bathyscope.features.search import search_token
from bathyscope.models.hookpoints import width
from bathyscope.models.load import load_model
from bathyscope.models.model import Model
from bathyscope.steering.arm import Arm
from bathyscope.steering.numbers import is_number
from bathyscope.steering.trials import INSTRUCTIONS, TrialSettings, run_trials
from bathyscope.studies.costs import costs
from bathyscope.studies.methods import BY_AUROC, DENOISED, FROM_LABELS, REFT, SHIFTS
from bathyscope.vectors.contrast import Contrast, contrast_of_texts
from bathyscope.vectors.decoder_row import DecoderRow
from bathyscope.vectors.denoised import DenoisedDiffMean
from bathyscope.vectors.kinds import Method
from bathyscope.vectors.learn import VectorSettings, learn_vector
from bathyscope.vectors.reft import ReFTr1
from bathyscope.vectors.shift_column import ShiftColumn
from bathyscope.vectors.vector import SteeringVector

GRID = (0.05, 0.1, 0.15, 0.2, 0.25, 0.3, 0.35, 0.4, 0.5, 0.6, 0.7, 0.8, 1.0, 1.2)
"""Strengths in typical norms of the hookpoint, the fourteen of a full bench."""
QUICK_GRID = (0.2, 0.35, 0.5)
PLAIN, PROMPT = "plain model", "prompt"
RANDOM_DIRECTION, RANDOM_FEATURE = "random direction", "random feature"
BY_LABEL, BY_OUTPUT = "feature by label", "feature by output score"
ASKED_TO = "Whatever you are asked, your answer is about {description}."
"""The system prompt of the prompted arm."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SteeringBench:
    """Settings of `bench_steering`."""

    quick: bool = False
    """Eight concepts, three strengths and four instructions instead of all, answers of 20 tokens."""
    model: str = "smollm2"
    """Bundled name, local folder, .gguf file or Hub id."""
    hookpoint: str = "layers.15"
    """Where directions are learnt and added."""
    dictionary: Path | None = Path("runs/demo/dictionary")
    """Folder of kind `dictionary` of the hookpoint; None leaves out the ways that need one."""
    features: Path | None = Path("runs/demo/features")
    """Its index, to choose features by what they fire on; None leaves that way out."""
    concepts: Path | None = None
    """TOML file of concepts (see `bathyscope/evaluation/topics.toml`); None takes the library's ten topics."""
    factors: tuple[float, ...] = GRID
    """Strengths, in typical norms of the hookpoint."""
    questions: int = 15
    """Questions of each of four sets that are asked at the strengths chosen; 0 leaves them out, as `quick` does."""
    trials: TrialSettings = field(default_factory=lambda: TrialSettings(temperature=0.0))
    """Instructions, how they are answered, and the seed of everything that is drawn."""

    def __post_init__(self) -> None:
        are_numbers = bool(self.factors) and all(map(is_number, self.factors))
        if not are_numbers or min(self.factors) <= 0 or len(set(self.factors)) < len(self.factors):
            raise ConfigError(f"factors {self.factors} must be numbers above 0, at least one, and none twice")
        if self.questions < 0:
            raise ConfigError(f"questions is {self.questions}, expected a number of questions or 0")
        if self.features is not None and self.dictionary is None:
            raise ConfigError("an index of features was given without its dictionary; give both or neither")
        if self.quick and (given := self._written_over()):
            raise ConfigError(f"quick has {' and '.join(given)} of its own: leave them out, or leave out quick")

    def _written_over(self) -> list[str]:
        """Settings that were given and that `quick` would replace by others."""
        own, usual, quick = (_sizes(each) for each in (self, SteeringBench(), self.resolved()))
        return [name for name, value in own.items() if value not in (usual[name], quick[name])]

    def resolved(self) -> "SteeringBench":
        """What `quick` stands for, written out."""
        if not self.quick:
            return self
        trials = replace(self.trials, instructions=INSTRUCTIONS[:4], max_new_tokens=20, batch_size=96)
        return replace(self, quick=False, factors=QUICK_GRID, questions=0, trials=trials)


def _sizes(settings: SteeringBench) -> dict[str, object]:
    """What `quick` decides by itself, and what it leaves as it is beside it."""
    return {"factors": settings.factors, "questions": settings.questions, **asdict(settings.trials)}


def bench_steering(settings: SteeringBench, *, out: Path) -> list[Score]:
    """Score rows of every method, beside nulls, the prompt and the judges' own calibration, then what each costs.

    Also in `out`/scores and `out`/costs, each with its `table.md`.
    """
    definitions = _definitions(settings)
    settings = settings.resolved()
    model = load_model(settings.model)
    dictionary = None if settings.dictionary is None else load_dictionary(settings.dictionary)
    contrasts = {
        name: contrast_of_texts(model, definition.labelled, hookpoint=settings.hookpoint)
        for name, definition in definitions.items()
    }
    vectors = learn_all(model, dictionary, definitions, contrasts, settings, out=out)
    typical = float(np.median([known.units[settings.hookpoint].norm or 0.0 for known in vectors.values()]))
    arms = [*_arms(definitions, vectors, typical, settings), *_nulls(dictionary, definitions, typical, settings, model)]
    parents = {} if settings.dictionary is None else {"dictionary": settings.dictionary}
    run_trials(model, arms, out=out / "trials", parents=parents, settings=settings.trials)
    judges = _judges(model, definitions, settings)
    rows = rate_trials(
        out / "trials",
        judges,
        out=out / "scores",
        nulls=(PLAIN, RANDOM_DIRECTION, RANDOM_FEATURE),
        comparisons=[
            Comparison(method=BY_OUTPUT, beside=(BY_AUROC,)),
            Comparison(method=BY_OUTPUT, beside=(BY_LABEL,)),
        ],
        identity={"concepts": {name: each.labelled.digest for name, each in definitions.items()}},
        more=[*_detection(vectors, settings.trials.seed)],
        seed=settings.trials.seed,
    )
    side = SideEffectSettings(seed=settings.trials.seed)
    side = replace(side, n_questions=settings.questions) if settings.questions else replace(side, sets=())
    chosen = _chosen(out / "scores", judges)
    parents["scores"] = out / "scores"
    return [
        *rows,
        *costs(model, arms, chosen, hookpoint=settings.hookpoint, out=out / "costs", parents=parents, settings=side),
    ]


def _chosen(path: Path, judges: Sequence[SteeringJudge]) -> dict[tuple[str, str], list[float]]:
    """Concept and method → the strengths that the first judge of the concept chose on either half."""
    found: dict[tuple[str, str], set[float]] = {}
    for (concept, method, _), factor in chosen_factors(read_ratings(path), panels(judges)[0]).items():
        found.setdefault((concept, method), set()).add(factor)
    return {key: sorted(factors) for key, factors in found.items()}


def _definitions(settings: SteeringBench) -> dict[str, Definition]:
    found = topic_definitions() if settings.concepts is None else read_definitions(settings.concepts)
    found = found[:8] if settings.quick else found
    if len(found) < 2:
        raise ConfigError("the bench compares concepts: give two or more")
    return {each.labelled.name: each for each in found}


def learn_all(
    model: Model,
    dictionary: Dictionary | None,
    definitions: Mapping[str, Definition],
    contrasts: Mapping[str, Contrast],
    settings: SteeringBench,
    *,
    out: Path,
) -> dict[tuple[str, str], SteeringVector]:
    """Concept and method → the vector, in a folder of its own under `out`/vectors."""
    shifts = learn_shifts(
        torch.cat(
            [each.as_pairs().places[settings.hookpoint].teach.shifts_PD() for each in contrasts.values()]
        ).float(),
        ShiftSettings(n_features=len(contrasts), seed=settings.trials.seed),
        out=out / "shifts",
    )
    index = None if settings.features is None else FeatureIndex(settings.features)
    found: dict[tuple[str, str], SteeringVector] = {}
    for number, (concept, contrast) in enumerate(contrasts.items()):
        for method, learner, needs in _learners(definitions[concept], dictionary, index, shifts):
            found[concept, method] = learn_vector(
                contrast,
                learner,
                out=out / "vectors" / f"{concept}-{method.replace(' ', '-')}",
                model=model,
                dictionary=needs,
                settings=VectorSettings(n_shuffles=0, seed=settings.trials.seed),
            )
        progress.report("vectors", number + 1, len(contrasts), "concepts")
    return found


def _learners(
    definition: Definition, dictionary: Dictionary | None, index: FeatureIndex | None, shifts: Dictionary
) -> Iterator[tuple[str, Method, Dictionary | None]]:
    """Name of each way → the learner, and the dictionary that it needs."""
    yield from ((name, learner, None) for name, learner in FROM_LABELS.items())
    yield REFT, ReFTr1(), None
    yield SHIFTS, ShiftColumn(), shifts
    if dictionary is not None:
        yield DENOISED, DenoisedDiffMean(), dictionary
        yield BY_AUROC, DecoderRow(by="auroc"), dictionary
        by_output = DecoderRow(by="output", words="texts", n_words=20, n_candidates=12)
        yield BY_OUTPUT, by_output, dictionary
        if index is not None:
            yield BY_LABEL, DecoderRow(feature=labelled_feature(index, definition.description)), dictionary


def labelled_feature(index: FeatureIndex, description: str) -> int:
    """The feature whose top examples peak on words of the description most often.

    Raises ConfigError when none of its words is a token of the vocabulary.
    """
    share_F = np.zeros(index.n_features)
    for word in description.replace(",", " ").split():
        if len(word) > 2 and word not in ("and", "the"):
            try:
                found = search_token(index, word, n=50)
            except ConfigError:  # no token reads so
                continue
            for each in found:
                share_F[each.feature] += each.score
    if not share_F.any():
        raise ConfigError(f"no feature peaks on a word of {description!r}; describe the concept in common words")
    return int(share_F.argmax())


def _arms(
    definitions: Mapping[str, Definition],
    vectors: Mapping[tuple[str, str], SteeringVector],
    typical: float,
    settings: SteeringBench,
) -> Iterator[Arm]:
    """The plain model, the prompt, and every vector at every strength."""
    for concept, definition in definitions.items():
        yield Arm.unsteered(concept, PLAIN)
        yield Arm.unsteered(concept, PROMPT, system=ASKED_TO.format(description=definition.description))
        for (of, method), vector in vectors.items():
            if of == concept:
                yield Arm.adding(
                    concept,
                    method,
                    vector.direction(settings.hookpoint),
                    factors=settings.factors,
                    typical=typical,
                    hookpoint=settings.hookpoint,
                )


def _nulls(
    dictionary: Dictionary | None,
    definitions: Mapping[str, Definition],
    typical: float,
    settings: SteeringBench,
    model: Model,
) -> Iterator[Arm]:
    """A random direction, and a random feature that fired in training, for each concept: just as long."""
    generator = torch.Generator().manual_seed(settings.trials.seed)
    for concept in definitions:
        drawn = {RANDOM_DIRECTION: torch.randn(width(model, settings.hookpoint), generator=generator)}
        if dictionary is not None and dictionary.max_activation is not None:
            fired = dictionary.max_activation.gt(0).nonzero()[:, 0]
            feature = int(fired[int(torch.randint(len(fired), (1,), generator=generator))])
            drawn[RANDOM_FEATURE] = dictionary.direction(feature).detach().cpu()
        for name, direction_D in drawn.items():
            yield Arm.adding(
                concept,
                name,
                direction_D,
                factors=settings.factors,
                typical=typical,
                hookpoint=settings.hookpoint,
            )


def _judges(model: Model, definitions: Mapping[str, Definition], settings: SteeringBench) -> list[SteeringJudge]:
    """Judges that need no other model: words and meaning for the concept, likelihoods for the rest."""
    likelihoods = Likelihoods(
        model=model,
        instructions=settings.trials.instructions,
        max_new_tokens=settings.trials.max_new_tokens,
        seed=settings.trials.seed,
    )
    return [
        WordsJudge(definitions=definitions),
        MeaningJudge(model, definitions),
        RelationJudge.fit(likelihoods),
        FluencyJudge.fit(likelihoods),
    ]


def _detection(vectors: Mapping[tuple[str, str], SteeringVector], seed: int) -> Iterator[Score]:
    """Mean AUROC of every method over the concepts, and of the random directions beside it."""
    areas: dict[str, list[float]] = {}
    for (_, method), vector in vectors.items():
        for row in vector.scores:
            if row.metric.startswith("AUROC"):
                subject = method if row.subject == "vector" else RANDOM_DIRECTION
                areas.setdefault(subject, []).append(row.value)
    for subject, values in areas.items():
        sums_GM = np.array([[value, 1.0] for value in values])
        interval = bootstrap(sums_GM, lambda t: t[..., 0] / t[..., 1], seed=seed)
        yield score(subject, "AUROC", interval, unit="concepts", split="detection")
