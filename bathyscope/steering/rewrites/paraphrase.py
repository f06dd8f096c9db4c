"""`paraphrase`: instructions in the model's own words, so that it answers its own wording of what it was asked.

The paraphrase defence of Jain et al. 2023 (arXiv 2309.00614), with the defended model as its own
paraphraser. A folder of kind `paraphrases`, which holds the texts as they are: unsafe ones make an unsafe folder.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from bathyscope import artifacts, progress
from bathyscope.artifacts import Recipe
from bathyscope.errors import ConfigError
from bathyscope.files import write_atomic
from bathyscope.models.generate import generate
from bathyscope.models.model import Model

KIND, FILE = "paraphrases", "paraphrases.jsonl"
ASKED = (
    "Rewrite the following sentence in other words with the same meaning. Do not answer it.\n\n"
    'Sentence: "{text}"\n\nRewritten sentence:'
)
"""What the model is told. Small models tend to answer instead, so they are told not to."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ParaphraseSettings:
    """How paraphrases are made: greedily."""

    max_new_tokens: int = 96
    """Longest paraphrase, in tokens."""
    batch_size: int = 16
    """Paraphrases made at once."""

    def __post_init__(self) -> None:
        if min(self.max_new_tokens, self.batch_size) < 1:
            raise ConfigError("max_new_tokens and batch_size must be at least 1")


@dataclass(frozen=True, slots=True, kw_only=True)
class Paraphrases:
    """The rewrite that puts an instruction's paraphrase in its place."""

    of_text: Mapping[str, str]
    """Instruction → paraphrase."""
    digest: str
    """Of the folder."""

    @property
    def identity(self) -> Mapping[str, str]:
        """The folder's digest."""
        return {"rewrite": "paraphrase", "paraphrases": self.digest}

    def texts(self, instruction: str) -> list[str]:
        """The paraphrase alone. Raises ConfigError for an instruction that has none."""
        if instruction not in self.of_text:
            raise ConfigError("an instruction has no paraphrase here; make the paraphrases of all instructions at once")
        return [self.of_text[instruction]]


def paraphrase(
    model: Model,
    texts: Sequence[str],
    *,
    out: str | Path,
    settings: ParaphraseSettings = ParaphraseSettings(),
) -> Paraphrases:
    """The model's paraphrase of each text, also in the folder `out`. An interrupted run goes on after the last batch.

    Where the model answers with nothing, the text stands for itself; `run.jsonl` counts these.
    """
    out, texts = Path(out), list(dict.fromkeys(texts))
    recipe = Recipe(
        kind=KIND,
        config={"settings": settings, "model": dict(model.identity), "asked": ASKED, "texts": texts},
        materials=tuple(model.materials),
    )
    if not artifacts.is_finished(out, recipe):
        with artifacts.draft(out, recipe) as work:
            said: list[str] = (work.state() or {"said": []})["said"]
            while batch := texts[len(said) : len(said) + settings.batch_size]:
                asked = [ASKED.format(text=text) for text in batch]
                found = generate(model, asked, max_new_tokens=settings.max_new_tokens, batch_size=settings.batch_size)
                said += [answer.text.strip() for answer in found]
                work.checkpoint({"said": said})
                progress.report("paraphrases", len(said), len(texts), "texts")
            work.log(stage="paraphrases", empty=said.count(""))
            rows = [{"text": text, "paraphrase": own or text} for text, own in zip(texts, said, strict=True)]
            lines = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
            write_atomic(work.path / FILE, lines.encode())
    return read_paraphrases(out)


def read_paraphrases(path: Path) -> Paraphrases:
    """A finished folder of kind `paraphrases`. Raises ArtifactError for another kind or an altered file."""
    manifest = artifacts.read_manifest(path, kind=KIND)
    lines = artifacts.check_file(path, manifest, FILE).read_text("utf-8").split("\n")
    rows = [json.loads(line) for line in lines if line]
    return Paraphrases(of_text={row["text"]: row["paraphrase"] for row in rows}, digest=manifest.digest)
