"""`write_explanations`: a language model puts features into a few words, from passages or from words.

An answer that is none, or says that nothing is shared, is a class of its own. Passages come from the explaining half of
the documents alone. Every answer is kept on disk (`Remembered`): an interrupted job asks nothing twice.
"""

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Literal

import numpy as np

from bathyscope import artifacts, progress, runtime
from bathyscope.artifacts import Recipe
from bathyscope.config import canonical
from bathyscope.errors import ConfigError
from bathyscope.explanations.passages import FIRING, PassageSettings, halves, spread
from bathyscope.explanations.prompts import prompt
from bathyscope.explanations.reader import Explanations
from bathyscope.explanations.scores.detection import shares
from bathyscope.features.draws import random_bits
from bathyscope.features.reader import FeatureIndex
from bathyscope.files import sha256_of, write_atomic
from bathyscope.models.writers.remembered import Remembered
from bathyscope.models.writers.writer import Answer, Judge, Question

KIND = "written"
FILE, SUMMARY_FILE = "written.jsonl", "summary.json"

Outcome = Literal["explained", "cannot tell", "no answer", "too few examples"]
OUTCOMES: tuple[Outcome, ...] = ("explained", "cannot tell", "no answer", "too few examples")
VERDICTS = ("Yes", "Probably", "Unlikely", "No")
"""What the verifier's letters A to D mean; the first two count as explained."""
CANNOT_TELL = "cannot tell"
BATCH = 8
"""Features that a writer is asked about at once."""
_SALT = 0x3217


@dataclass(frozen=True, slots=True, kw_only=True)
class WriteSettings:
    """Which features are explained, and what the writer sees."""

    source: Literal["contexts", "words"] = "contexts"
    """Passages on which the feature fires, beside some on which it nearly does; or its words (docs/explanations.md)."""
    only: tuple[int, ...] = ()
    """Features to explain; without any, `n_features` are drawn."""
    n_features: int = 50
    """Features drawn among those that fire often enough."""
    min_fires: int = 100
    """Fewest firings of a feature that is drawn."""
    n_firing: int = 6
    """Passages with firing that are shown, the strongest interval first."""
    n_quiet: int = 0
    """Passages without firing that are shown as contrast; 0 shows none."""
    n_words: int = 12
    """Longest description that is asked for; one of more than three times as many words is no answer."""
    n_votes: int = 3
    """Times that the verifier is asked, each time with the words in another order; 0 leaves it out."""
    n_verified_words: int = 10
    """Words that the verifier sees."""
    passages: PassageSettings = field(default_factory=PassageSettings)
    """How passages are cut and halved."""
    prompts: Path | None = None
    """Folder with edited prompts (`explain-contexts.txt`, `explain-words.txt`, `verify.txt`)."""

    def __post_init__(self) -> None:
        if min(self.n_features, self.n_firing, self.n_words) < 1 or min(self.n_quiet, self.n_votes) < 0:
            raise ConfigError("n_features, n_firing and n_words are at least 1, n_quiet and n_votes at least 0")


@dataclass(frozen=True, slots=True, kw_only=True)
class WrittenRow:
    """One line of `written.jsonl`."""

    feature: int
    outcome: Outcome
    explanation: str
    """The description; empty unless the outcome is `explained`."""
    answer: str
    """What the writer said."""
    verdict: str
    """What most of the verifier's votes say; empty where it was not asked or gave no answer."""
    votes: tuple[str, ...] = ()
    """Every vote, `no answer` among them."""


class Written:
    """A folder of kind `written`. Raises ArtifactError when it is of another kind or damaged."""

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self.manifest = artifacts.read_manifest(self.path, kind=KIND)
        lines = artifacts.check_file(self.path, self.manifest, FILE).read_text("utf-8").splitlines()
        rows = [json.loads(line) for line in lines]
        self.rows = [WrittenRow(**{**row, "votes": tuple(row["votes"])}) for row in rows]
        self.counts = Counter(row.outcome for row in self.rows)
        """Outcome → number of features."""

    @property
    def texts(self) -> dict[int, str]:
        """Feature → description, of those that are explained."""
        return {row.feature: row.explanation for row in self.rows if row.outcome == "explained"}

    @property
    def explained_rate(self) -> float | None:
        """Share of all asked features whose verdict is Yes or Probably; None where no verifier was asked."""
        if not any(row.votes for row in self.rows):
            return None
        return sum(row.verdict in VERDICTS[:2] for row in self.rows) / len(self.rows)


def write_explanations(
    index: FeatureIndex,
    writer: Judge,
    *,
    out: str | Path,
    words: Explanations | None = None,
    settings: WriteSettings = WriteSettings(),
    answers: Path | None = None,
) -> Written:
    """A description of each chosen feature, in the folder `out` (kind `written`).

    `words` is needed for the source `words` and by the verifier. `answers` keeps what was asked (default: in the cache,
    a file for each writer). Raises ConfigError when no feature can be chosen or words are missing, ModelError when the
    writer cannot be reached; what was answered is kept.
    """
    out = Path(out)
    if words is None and settings.source == "words":
        raise ConfigError("words are needed to write from; give the folder of `bathyscope explain`")
    names = ("explain-contexts" if settings.source == "contexts" else "explain-words", "verify")
    parents = {"features": index.path} | ({} if words is None else {"explanations": words.path})
    recipe = Recipe(
        kind=KIND,
        config={
            "settings": settings,
            "writer": dict(writer.identity),
            "prompts": {name: prompt(name, settings.prompts).digest for name in names},
        },
        seed=settings.passages.seed,
        parents=parents,
        materials=(*index.manifest.materials, *writer.materials),
    )
    if not artifacts.is_finished(out, recipe):
        asked = Remembered(writer, answers or answers_file(writer))
        with artifacts.draft(out, recipe) as work:
            rows = list(_write_all(index, asked, words, settings))
            lines = "".join(json.dumps(asdict(row), ensure_ascii=False, sort_keys=True) + "\n" for row in rows)
            write_atomic(work.path / FILE, lines.encode())
            counts = Counter(row.outcome for row in rows)
            write_atomic(work.path / SUMMARY_FILE, json.dumps({each: counts[each] for each in OUTCOMES}).encode())
            work.log(stage="write", **asdict(asked.cost))
    return Written(out)


def answers_file(judge: Judge) -> Path:
    """Where a judge's answers are kept unless told otherwise."""
    return runtime.cache_folder() / "answers" / f"{sha256_of(canonical(dict(judge.identity)))[:16]}.jsonl"


def chosen_features(index: FeatureIndex, settings: WriteSettings) -> list[int]:
    """The features asked for, or `n_features` drawn of those that fire at least `min_fires` times, in their order.

    Raises ConfigError for one that does not exist, and when none fires often enough.
    """
    if settings.only:
        for feature in settings.only:
            index.feature(feature)
        return sorted(set(settings.only))
    often = np.flatnonzero(index.features["n_fires"].to_numpy() >= settings.min_fires)
    if len(often) == 0:
        raise ConfigError(f"no feature of {index.path} fires {settings.min_fires} times; lower min_fires")
    bits = random_bits(settings.passages.seed ^ _SALT, often, often)
    return sorted(often[np.argsort(bits, kind="stable")[: settings.n_features]].tolist())


def outcome(answer: Answer, *, n_words: int) -> tuple[Outcome, str]:
    """What class an answer is of, and the description in it: its first line, less quotation marks and full stop."""
    lines = [line.strip() for line in answer.text.splitlines() if line.strip()]
    said = lines[0].removeprefix("Answer:").strip().strip("\"'“”*`").rstrip(".").strip() if lines else ""
    if CANNOT_TELL in said.lower():
        return CANNOT_TELL, ""
    if not said or len(said.split()) > 3 * n_words:
        return "no answer", ""
    return "explained", said


def majority(votes: Sequence[str]) -> str:
    """The most frequent vote that is an answer, the more favourable of equally frequent ones; empty without any."""
    counts = Counter(vote for vote in votes if vote in VERDICTS)
    return min(counts, key=lambda vote: (-counts[vote], VERDICTS.index(vote))) if counts else ""


def _write_all(
    index: FeatureIndex, asked: Remembered, words: Explanations | None, settings: WriteSettings
) -> list[WrittenRow]:
    features = chosen_features(index, settings)
    prompts = {feature: _prompt(index, words, settings, feature) for feature in features}
    told = {feature: text for feature, text in prompts.items() if text is not None}
    answers: dict[int, Answer] = {}
    for first in range(0, len(told), BATCH):
        batch = list(told)[first : first + BATCH]
        answers |= zip(batch, asked.write([told[feature] for feature in batch]), strict=True)
        progress.report("write", len(answers), len(told), "features")
    rows: list[WrittenRow] = []
    for feature in features:
        if feature not in answers:
            rows.append(WrittenRow(feature=feature, outcome="too few examples", explanation="", answer="", verdict=""))
            continue
        kind, text = outcome(answers[feature], n_words=settings.n_words)
        votes = _votes(asked, feature, text, words, settings) if text and words is not None else ()
        said = answers[feature].text
        rows.append(
            WrittenRow(
                feature=feature, outcome=kind, explanation=text, answer=said, verdict=majority(votes), votes=votes
            )
        )
    return rows


def _prompt(index: FeatureIndex, words: Explanations | None, settings: WriteSettings, feature: int) -> str | None:
    """What is asked about a feature; None where there is too little to show."""
    if settings.source == "words" and words is not None:
        found = [word.word for word in words.words(feature)]
        text = prompt("explain-words", settings.prompts)
        return text.fill(n_words=str(settings.n_words), words=", ".join(found)) if found else None
    explaining = halves(index, feature, settings.passages).explaining
    fires = spread(explaining, FIRING[:1], n=settings.n_firing) or spread(explaining, FIRING, n=settings.n_firing)
    if len(fires) < 2:
        return None
    quiet = spread(explaining, ("near miss", "silent"), n=settings.n_quiet)
    contrast = "\n".join(["", "Passages without any mark:", *(f"- {passage.text}" for passage in quiet), ""])
    return prompt("explain-contexts", settings.prompts).fill(
        n_words=str(settings.n_words),
        fires="\n".join(f"- {passage.marked()}" for passage in fires),
        quiet=contrast if quiet else "",
    )


def _votes(asked: Remembered, feature: int, text: str, words: Explanations, settings: WriteSettings) -> tuple[str, ...]:
    """The verifier's votes on one description, each with the words in another order."""
    found = [word.word for word in words.words(feature)][: settings.n_verified_words]
    orders = [np.random.default_rng([settings.passages.seed, feature, vote]) for vote in range(settings.n_votes)]
    verify = prompt("verify", settings.prompts)
    questions = [
        Question(
            prompt=verify.fill(explanation=text, words=", ".join(found[int(i)] for i in order.permutation(len(found)))),
            choices=("A", "B", "C", "D"),
        )
        for order in orders
    ]
    likeliest = [None if p is None else int(np.argmax(p)) for p in map(shares, asked.choose(questions))]
    return tuple("no answer" if choice is None else VERDICTS[choice] for choice in likeliest)
