"""`write_counterfactuals`: a writer is asked to change one factor of each text; what it answers becomes pairs.

Such pairs are imperfect: the asked factor should have changed, and of all others nothing is known. Answers that are no
pairs (refusals, empty, unchanged, cut off) are classes of their own, counted and kept beside the others. Every answer
is on the disk before the next is asked, so an interrupted job goes on without asking twice.
"""

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib import resources
from itertools import islice
from pathlib import Path
from typing import Any, Literal

from bathyscope import artifacts, progress
from bathyscope.activations.document import Document
from bathyscope.activations.pairs.lines import pair_lines, read_pairs
from bathyscope.activations.pairs.pair import Pair, PairSet
from bathyscope.activations.text import Text, documents, open_text
from bathyscope.artifacts import Draft, Recipe
from bathyscope.errors import ConfigError
from bathyscope.files import write_atomic
from bathyscope.models.writers.writer import Answer, Writer
from bathyscope.runtime import disk_errors

KIND = "counterfactuals"
ANSWERS, PAIRS, SUMMARY = "answers.jsonl", "pairs.jsonl", "summary.json"

Outcome = Literal["kept", "refused", "empty", "unchanged", "cut off"]
OUTCOMES: tuple[Outcome, ...] = ("kept", "refused", "empty", "unchanged", "cut off")
REFUSALS = (
    "i'm sorry",
    "i am sorry",
    "sorry,",
    "i can't",
    "i cannot",
    "i can not",
    "i won't",
    "i'm not able",
    "i am not able",
    "i'm unable",
    "i am unable",
    "as an ai",
    "as a language model",
    "i apologize",
    "i apologise",
)
"""How an answer begins that is none (in lower case)."""
QUOTES = {'"': '"', "'": "'", "“": "”", "«": "»"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Ask:
    """One change that is asked of every text."""

    factor: str
    """Name of the factor."""
    instruction: str
    """What to do, in a sentence: `Put it into the past tense.`"""

    def __post_init__(self) -> None:
        if not self.factor.strip() or not self.instruction.strip():
            raise ConfigError("a change needs a factor and an instruction, as in `tense=Put it into the past tense.`")


@dataclass(frozen=True, slots=True, kw_only=True)
class CounterfactualSettings:
    """Which texts are rewritten, and how the writer is asked."""

    n_texts: int = 200
    """Texts that are rewritten, once for each change."""
    max_chars: int = 300
    """Longer texts are left out."""
    seed: int = 0
    """Seed of the order of texts."""
    batch_size: int = 8
    """Prompts that a writer gets at once; answers are saved after each batch."""
    prompt: Path | None = None
    """File with the prompt, in which {instruction} and {text} are replaced; None is the library's own."""

    def __post_init__(self) -> None:
        if min(self.n_texts, self.max_chars, self.batch_size) < 1:
            raise ConfigError("n_texts, max_chars and batch_size are at least 1")


@dataclass(frozen=True, slots=True, kw_only=True)
class Written:
    """A finished folder of counterfactuals."""

    path: Path
    """The folder."""
    pairs: PairSet
    """What can be used, partly known: the asked factor changed, the others are unknown."""
    counts: Mapping[str, int]
    """Outcome → number of answers."""


def write_counterfactuals(
    text: Text,
    asks: Sequence[Ask],
    writer: Writer,
    *,
    out: str | Path,
    settings: CounterfactualSettings = CounterfactualSettings(),
) -> Written:
    """Every text rewritten for every change, in the folder `out` (kind `counterfactuals`).

    A finished folder is opened at once; an interrupted one is gone on with, without asking anything twice. Raises
    ConfigError for texts or changes that cannot be used, and when no answer is usable; ModelError when the writer
    cannot answer.
    """
    out = Path(out)
    factors = tuple(ask.factor for ask in asks)
    if not asks or len(set(factors)) < len(factors):
        raise ConfigError("give at least one change, each factor once")
    prompt = _prompt(settings.prompt)
    opened = open_text(text)
    recipe = Recipe(
        kind=KIND,
        config={
            "text": opened.describe(),
            "asks": list(asks),
            "writer": dict(writer.identity),
            "prompt": prompt,
            "n_texts": settings.n_texts,
            "max_chars": settings.max_chars,
            "batch_size": settings.batch_size,
        },
        seed=settings.seed,
        materials=(*opened.records(), *writer.materials),
    )
    if not artifacts.is_finished(out, recipe):
        texts = list(islice(_short(text, settings), settings.n_texts))
        if not texts:
            raise ConfigError(f"no text has at most {settings.max_chars} characters; raise max_chars")
        jobs = [(document, ask) for document in texts for ask in asks]
        with artifacts.draft(out, recipe) as work:
            _ask_all(jobs, writer, prompt, work, batch_size=settings.batch_size)
            _finish(work, factors, name=out.name)
    return read_counterfactuals(out)


def read_counterfactuals(path: str | Path) -> Written:
    """The folder that `write_counterfactuals` made. Raises ArtifactError for another kind or an altered file."""
    path = Path(path)
    manifest = artifacts.read_manifest(path, kind=KIND)
    summary = json.loads(artifacts.check_file(path, manifest, SUMMARY).read_bytes())
    found = read_pairs(artifacts.check_file(path, manifest, PAIRS), factors=summary["factors"])
    pairs = PairSet(name=path.name, factors=found.factors, pairs=found.pairs, materials=manifest.materials)
    return Written(path=path, pairs=pairs, counts=summary["counts"])


def outcome(text: str, answer: Answer) -> tuple[Outcome, str]:
    """What class an answer to `text` is of, and the rewritten text in it (spaces and quotation marks around it off)."""
    said = answer.text.strip()
    if len(said) > 1 and said[-1] == QUOTES.get(said[0]) and text.strip()[:1] != said[0]:
        said = said[1:-1].strip()
    lowered = said.lower().replace("’", "'")
    if not said:
        return "empty", said
    if lowered.startswith(REFUSALS) and not text.strip().lower().startswith(lowered[:8]):
        return "refused", said
    if not answer.ended:
        return "cut off", said
    if " ".join(said.split()).casefold() == " ".join(text.split()).casefold():
        return "unchanged", said
    return "kept", said


def _prompt(path: Path | None) -> str:
    """The prompt with its two places."""
    if path is None:
        return resources.files("bathyscope.activations.pairs").joinpath("counterfactual.txt").read_text("utf-8")
    with disk_errors(path, doing="read"):
        prompt = path.read_text("utf-8")
    missing = [place for place in ("{instruction}", "{text}") if place not in prompt]
    if missing:
        raise ConfigError(f"{path} has no place {missing[0]}; a prompt needs {{instruction}} and {{text}}")
    return prompt


def _short(text: Text, settings: CounterfactualSettings) -> Iterator[Document]:
    """Different texts that are short enough, in a drawn order."""
    seen: set[str] = set()
    for document in documents(text, seed=settings.seed):
        said = document.text.strip()
        if len(said) <= settings.max_chars and said not in seen:
            seen.add(said)
            yield Document(said, document.source)


def _ask_all(
    jobs: Sequence[tuple[Document, Ask]], writer: Writer, prompt: str, work: Draft, *, batch_size: int
) -> None:
    """Ask what has not been asked, a batch at a time, each saved before the next."""
    state = work.state() or {"done": 0, "bytes": 0}
    with (work.path / ANSWERS).open("ab") as file:
        file.truncate(state["bytes"])
        file.seek(0, os.SEEK_END)
        for first in range(state["done"], len(jobs), batch_size):
            batch = jobs[first : first + batch_size]
            answers = writer.write([_filled(prompt, ask, document) for document, ask in batch])
            for (document, ask), answer in zip(batch, answers, strict=True):
                file.write(_answer_line(document, ask, answer))
            file.flush()
            os.fsync(file.fileno())
            work.checkpoint({"done": first + len(batch), "bytes": file.tell()})
            progress.report("counterfactuals", first + len(batch), len(jobs), "answers")


def _filled(prompt: str, ask: Ask, document: Document) -> str:
    head, _, tail = prompt.replace("{instruction}", ask.instruction).partition("{text}")
    return head + document.text + tail.replace("{text}", document.text)


def _answer_line(document: Document, ask: Ask, answer: Answer) -> bytes:
    kind, said = outcome(document.text, answer)
    row = {"source": document.source, "factor": ask.factor, "outcome": kind, "text": document.text, "answer": said}
    return (json.dumps(row, ensure_ascii=False, sort_keys=True) + "\n").encode()


def _finish(work: Draft, factors: tuple[str, ...], *, name: str) -> None:
    """Write the usable pairs and the counts."""
    rows: list[dict[str, Any]] = [json.loads(line) for line in (work.path / ANSWERS).read_bytes().splitlines()]
    counts = {kind: sum(row["outcome"] == kind for row in rows) for kind in OUTCOMES}
    kept = [row for row in rows if row["outcome"] == "kept"]
    if not kept:
        said = ", ".join(f"{count} {kind}" for kind, count in counts.items() if count)
        raise ConfigError(f"no answer is usable ({said}); look into {work.path / ANSWERS}, change prompt or writer")
    pairs = PairSet(name=name, factors=factors, pairs=tuple(_pair(row) for row in kept))
    write_atomic(work.path / PAIRS, pair_lines(pairs))
    write_atomic(work.path / SUMMARY, json.dumps({"factors": factors, "counts": counts}).encode())


def _pair(row: Mapping[str, Any]) -> Pair:
    """The asked factor changed, nothing else is known; all rewritings of a text stay together."""
    return Pair(
        before=row["text"],
        after=row["answer"],
        support={row["factor"]: True},
        group=row["source"],
        source=f"{row['source']}, {row['factor']}",
    )
