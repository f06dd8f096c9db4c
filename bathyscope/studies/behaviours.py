"""One behaviour changed along one direction: learn it, choose its strength, table everything beside nulls.

    log-odds = log P(answer with the behaviour) - log P(the other answer), each per token, in nats

Directions come from contrasting texts (`vectors`), act on the model (`steering`), and figures have intervals over cases
(`evaluation`). Knows nothing of which behaviours there are.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
import torch
from jaxtyping import Float

from bathyscope.evaluation.intervals import bootstrap
from bathyscope.evaluation.labelled import LabelledSet
from bathyscope.evaluation.scores import Score, score
from bathyscope.evaluation.steering.side_effects import SideEffectSettings, side_effects
from bathyscope.models.log_probs import log_probs_behind
from bathyscope.models.model import Model
from bathyscope.models.prompts import prompt_tokens, text_beginning
from bathyscope.models.repetition import repetition
from bathyscope.steering.arm import UNSTEERED, Arm
from bathyscope.steering.operations.affine import Affine
from bathyscope.steering.operations.operation import Operation
from bathyscope.steering.operations.random_direction import RandomDirection
from bathyscope.steering.steer import steer
from bathyscope.steering.trials import TrialSettings, run_trials
from bathyscope.vectors.contrast import ReadSettings, contrast_of_texts
from bathyscope.vectors.diff_mean import DiffMean
from bathyscope.vectors.learn import VectorSettings, learn_vector
from bathyscope.vectors.learner import Learner
from bathyscope.vectors.logistic import LogisticProbe
from bathyscope.vectors.vector import SteeringVector

PLAIN, ASKED, RANDOM = "plain model", "asked by a prompt", "random direction"
METHODS: dict[str, Learner] = {"difference of means": DiffMean(), "logistic probe": LogisticProbe()}

Aim = Literal["raised", "lowered", "erased"]


@dataclass(frozen=True, slots=True, kw_only=True)
class BehavioursSettings:
    """Settings of the recipe."""

    behaviours: tuple[str, ...] = ("unlearning", "false claims", "language", "flattery")
    """Which experiments are run."""
    model: str = "smollm2"
    """Bundled name, local folder, .gguf file or Hub id; one with a chat template."""
    hookpoint: str = "layers.15"
    """Where directions are learnt and the model is changed."""
    methods: tuple[str, ...] = tuple(METHODS)
    """Ways of learning a direction, of `METHODS`; nulls are as long as the first one's."""
    factors: tuple[float, ...] = (0.1, 0.2, 0.4)
    """Strengths of a direction that is added, in typical norms of the hookpoint."""
    erase_factors: tuple[float, ...] = (1.0, 2.0, 3.0)
    """How many times the part along a topic's direction, above what other texts have of it, is taken out."""
    most_kl: float = 1.0
    """Strengths that move neutral text further than this, in nats per token, are not chosen."""
    n_texts: int = 120
    """Texts that teach a direction, half of each label; half of them only say whether it tells the labels."""
    n_choose: int = 4
    """Cases of each behaviour that strengths are chosen on."""
    n_report: int = 16
    """Cases, and neutral texts, at most, that figures are taken on."""
    n_random: int = 2
    """Random directions of the null."""
    n_answers: int = 12
    """Prompts, of those that figures are taken on, to which answers are written; 0 writes none."""
    max_new_tokens: int = 24
    """Longest answer, in tokens."""
    seed: int = 0
    """Seed of pairs, halves, random directions and the bootstrap."""


class Case(NamedTuple):
    """A prompt with two answers."""

    prompt: str
    wanted: str
    """The answer that shows the behaviour."""
    other: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Behaviour:
    """One experiment: what teaches its direction, and what it is measured on."""

    name: str
    labelled: LabelledSet
    """Texts with the behaviour and without."""
    aims: tuple[Aim, ...]
    """What is done along the direction."""
    cases: tuple[Case, ...]
    """None of them teaches the direction."""
    elsewhere: tuple[Case, ...] = ()
    """Cases that should stay as they are."""
    request: str
    """What a prompt would say: a system message of a chat, or what stands before a text."""
    is_chat: bool
    """Whether prompts are messages of a user rather than beginnings of a text."""
    rating: str = ""
    """What `rate` counts; empty: answers are not written."""
    rate: Callable[[str], float] = len
    """The rating of an answer."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Way:
    """One row of the table: what is done to the model, or what it is told."""

    name: str
    operations: tuple[Operation, ...] = ()
    request: str = ""
    factor: float = UNSTEERED
    origin: str = ""
    """Digest of the vector."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Taught:
    """A vector, and how far along it texts without the behaviour lie."""

    vector: SteeringVector
    without: float


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Bench:
    """What all experiments share."""

    model: Model
    settings: BehavioursSettings
    neutral: tuple[tuple[str, ...], tuple[str, ...]]
    """Neutral texts to choose on and to report on."""
    out: Path


def study(bench: Bench, behaviour: Behaviour) -> Iterator[Score]:
    """All figures of one behaviour: vectors, strengths on one half of the cases, the table on the other."""
    settings = bench.settings
    choose, report = halves(behaviour.cases, settings)
    ways = [Way(name=PLAIN), Way(name=ASKED, request=behaviour.request)]
    for method, taught in _taught(bench, behaviour):
        for aim in behaviour.aims:
            way = chosen(bench, behaviour, choose, taught, f"{method}, {aim}", aim)
            ways += [way] if len(ways) > 2 else [way, *_nulls(way, taught, aim, settings)]
            yield _strength(behaviour, way)
    yield from _likelihoods(behaviour, "", report, ways, bench)
    if behaviour.elsewhere:
        yield from _likelihoods(behaviour, " elsewhere", halves(behaviour.elsewhere, settings)[1], ways, bench)
    yield from _side_effects(behaviour, ways, bench)
    if behaviour.rating and settings.n_answers:
        yield from _answers(behaviour, [case.prompt for case in report[: settings.n_answers]], ways, bench)


def halves(cases: Sequence[Case], settings: BehavioursSettings) -> tuple[list[Case], list[Case]]:
    """Cases to choose on, and others to report on."""
    order = np.random.default_rng(settings.seed).permutation(len(cases)).tolist()
    end = settings.n_choose + settings.n_report
    return [cases[n] for n in order[: settings.n_choose]], [cases[n] for n in order[settings.n_choose : end]]


def _taught(bench: Bench, behaviour: Behaviour) -> Iterator[tuple[str, Taught]]:
    """Every method with its vector, in a folder of its own."""
    settings, at = bench.settings, bench.settings.hookpoint
    reading = ReadSettings(n_texts=settings.n_texts, halves_seed=settings.seed)
    contrast = contrast_of_texts(bench.model, behaviour.labelled, hookpoint=at, settings=reading)
    learning = VectorSettings(n_shuffles=0, seed=settings.seed)
    rows_MD, labels_M, _ = contrast.places[at].teach.rows(learning.pool)
    for method in settings.methods:
        out = bench.out / behaviour.name.replace(" ", "-") / method.replace(" ", "-")
        vector = learn_vector(contrast, METHODS[method], out=out, settings=learning)
        along_M = (rows_MD @ vector.direction().to(rows_MD.dtype)).numpy()
        yield method, Taught(vector=vector, without=float(along_M[~labels_M].mean()))


def chosen(bench: Bench, behaviour: Behaviour, cases: Sequence[Case], taught: Taught, name: str, aim: Aim) -> Way:
    """The strength that does most on `cases` among those that move neutral text little; the weakest if none does."""
    factors = bench.settings.erase_factors if aim == "erased" else bench.settings.factors
    origin = taught.vector.digest
    tried = [
        Way(name=name, operations=(_operation(taught, factor, aim),), factor=factor, origin=origin)
        for factor in sorted(factors)
    ]
    if len(tried) == 1:
        return tried[0]
    steered = {f"{way.factor}": partial(steer, bench.model, way.operations) for way in tried}
    rows = side_effects(bench.model, steered, bench.neutral[0], settings=SideEffectSettings(sets=()))
    kl = {row.subject: row.value for row in rows if row.metric.startswith("KL")}
    allowed = [way for way in tried if kl[f"{way.factor}"] <= bench.settings.most_kl] or tried[:1]
    return max(allowed, key=lambda way: _success(_log_odds(log_p(bench.model, behaviour, cases, way)).mean(), aim))


def _operation(taught: Taught, factor: float, aim: Aim) -> Operation:
    """Adds the direction; or takes away what a token has of it above other texts, `x' = x - factor (x·u - μ) u`."""
    vector = taught.vector
    if aim == "erased":
        back = vector.strength(factor * taught.without / vector.strength(1.0).unit)
        return Affine(vector.direction(), scale=1.0 - factor, shift=back, at=vector.hookpoint())
    return vector.add(factor if aim == "raised" else -factor)


def _success(log_odds: float, aim: Aim) -> float:
    """Higher is better: knowledge is gone where neither answer is likelier, not where the wrong one is."""
    match aim:
        case "raised":
            return log_odds
        case "lowered":
            return -log_odds
        case "erased":
            return -abs(log_odds)


def _nulls(way: Way, taught: Taught, aim: Aim, settings: BehavioursSettings) -> list[Way]:
    """Random directions along which each token is moved as far; of an erased one also a random one that is erased."""
    (operation,) = way.operations
    seeds = range(settings.seed, settings.seed + settings.n_random)
    nulls = [replace(way, name=RANDOM, operations=(RandomDirection(operation, seed),)) for seed in seeds]
    if aim == "erased":
        generator = torch.Generator().manual_seed(settings.seed)
        random_D = torch.randn(len(taught.vector.direction()), generator=generator)
        erased = Affine(random_D, scale=1.0 - way.factor, shift=None, at=operation.hookpoint)
        nulls.append(replace(way, name=f"{RANDOM}, erased", operations=(erased,)))
    return nulls


def log_p(model: Model, behaviour: Behaviour, cases: Sequence[Case], way: Way) -> Float[np.ndarray, "N 2"]:
    """log P of the wanted and of the other answer, nats per token."""
    found: list[list[float]] = []
    with steer(model, way.operations) if way.operations else nullcontext():
        for case in cases:
            if behaviour.is_chat:
                prefix = prompt_tokens(model, case.prompt, system=way.request or None)
                answers = [case.wanted, case.other]
            else:
                prefix = [*text_beginning(model), *bare_tokens(model, way.request + case.prompt)]
                answers = [f" {case.wanted}", f" {case.other}"]
            rows = log_probs_behind(model, prefix, [bare_tokens(model, answer) for answer in answers])
            found.append([float(row.mean()) for row in rows])
    return np.array(found)


def bare_tokens(model: Model, text: str) -> list[int]:
    """Tokens of a text without the marks that a tokenizer puts around it."""
    return [int(token) for token in model.tokenizer(text, add_special_tokens=False)["input_ids"]]


def _log_odds(log_p_N2: Float[np.ndarray, "N 2"]) -> Float[np.ndarray, " N"]:
    return log_p_N2[:, 0] - log_p_N2[:, 1]


def _likelihoods(
    behaviour: Behaviour, where: str, cases: Sequence[Case], ways: Sequence[Way], bench: Bench
) -> Iterator[Score]:
    """Log-odds of the wanted answer, how far they moved, how often it is the likelier one, and its log P."""
    found = _mean_of_ways(ways, lambda way: log_p(bench.model, behaviour, cases, way))
    for name, log_p_N2 in found.items():
        log_odds_N = _log_odds(log_p_N2)
        figures = {
            "log-odds": log_odds_N,
            "shift of log-odds": log_odds_N - _log_odds(found[PLAIN]),
            "share preferred": (log_odds_N > 0).astype(float),
            "log P": log_p_N2[:, 0],
        }
        for metric, values_N in figures.items():
            yield _row(behaviour, name, metric + where, values_N, "cases", bench)


def _mean_of_ways(
    ways: Sequence[Way], figure: Callable[[Way], Float[np.ndarray, "..."]]
) -> dict[str, Float[np.ndarray, "..."]]:
    """Name → the figures of its way; random directions have one name, and their mean is taken case by case."""
    found: dict[str, list[np.ndarray]] = {}
    for way in ways:
        found.setdefault(way.name, []).append(figure(way))
    return {name: np.mean(each, axis=0) for name, each in found.items()}


def _side_effects(behaviour: Behaviour, ways: Sequence[Way], bench: Bench) -> Iterator[Score]:
    """KL and perplexity on the reporting half of the neutral texts; of the random directions the first one's."""
    steered = {way.name: partial(steer, bench.model, way.operations) for way in reversed(ways) if way.operations}
    rows = side_effects(bench.model, steered, bench.neutral[1], settings=SideEffectSettings(sets=()))
    for row in rows:
        yield replace(row, subject=f"{behaviour.name}: {row.subject}")


def _answers(behaviour: Behaviour, prompts: Sequence[str], ways: Sequence[Way], bench: Bench) -> Iterator[Score]:
    """Answers as they are written, rated, and how much they repeat themselves; all kept in a folder `answers`."""
    settings, first = bench.settings, {way.name: way for way in reversed(ways)}
    arms = [
        Arm(
            concept=behaviour.name,
            method=way.name,
            operations={way.factor: way.operations},
            system=way.request or None,
            identity={"vector": way.origin},
        )
        for way in reversed(first.values())
    ]
    how = TrialSettings(
        instructions=tuple(prompts),
        max_new_tokens=settings.max_new_tokens,
        temperature=0.0,
        batch_size=len(arms) * len(prompts),
        seed=settings.seed,
    )
    trials = run_trials(bench.model, arms, out=bench.out / behaviour.name.replace(" ", "-") / "answers", settings=how)
    for arm in arms:
        own = [trial for trial in trials if trial.method == arm.method]
        rated_N = np.array([behaviour.rate(trial.text) for trial in own], dtype=float)
        yield _row(behaviour, arm.method, behaviour.rating, rated_N, "answers", bench)
        repeated_N = np.array([repetition(trial.tokens) for trial in own])
        yield _row(behaviour, arm.method, "repetition of answers", repeated_N, "answers", bench)


def _strength(behaviour: Behaviour, way: Way) -> Score:
    """The chosen strength as a row without an interval."""
    return Score(
        subject=f"{behaviour.name}: {way.name}",
        metric="strength chosen",
        value=way.factor,
        low=way.factor,
        high=way.factor,
        n=1,
        unit="choices",
        split="choosing half",
    )


def _row(
    behaviour: Behaviour, way: str, metric: str, values_N: Float[np.ndarray, " N"], unit: str, bench: Bench
) -> Score:
    """A mean over cases with its interval."""
    sums_N2 = np.stack([values_N, np.ones(len(values_N))], axis=1)
    interval = bootstrap(sums_N2, lambda t: t[..., 0] / t[..., 1], seed=bench.settings.seed)
    return score(f"{behaviour.name}: {way}", metric, interval, unit=unit, split="reporting half")
