"""`collect_pairs`: run a model over both sides of every pair and keep the vectors that are read, in a folder.

One forward per batch for all hookpoints. Batches are a function of pairs and settings, so an interrupted job goes on
where its last checkpoint was, to the same bytes.
"""

import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from bathyscope import artifacts, progress, runtime
from bathyscope.activations.folder import INDEX
from bathyscope.activations.packing import Packing, bos_token
from bathyscope.activations.pairs.lines import pair_lines
from bathyscope.activations.pairs.pair import PairSet
from bathyscope.activations.pairs.reading import Position, TokenPair, pair_batches, read_batch, token_pairs
from bathyscope.activations.pairs.shift import differences, shift_warnings, sink_warnings
from bathyscope.activations.pairs.store import FILE, KIND, SCHEMA, PairStore
from bathyscope.activations.shards import write_shard
from bathyscope.artifacts import Draft, Recipe
from bathyscope.errors import ConfigError
from bathyscope.files import write_atomic
from bathyscope.models.hookpoints import resolve, width
from bathyscope.models.model import Model
from bathyscope.models.prompts import special_tokens

CHECKPOINT_SECONDS = 30.0
"""Longest time between checkpoints. Changes no byte of the result."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PairSettings:
    """What of a text is read, and how texts become tokens."""

    position: Position = "last"
    """The token that is read: the last one, or the mean over those behind the shared prefix."""
    bos: Literal["always", "auto", "never"] = "always"
    """Begin every text with BOS, do as the tokenizer does by itself, or never add one."""
    max_tokens: int = 512
    """Longest text (and never longer than the model reads); a longer one is refused: a cut would move its end."""
    batch_tokens: int = 2048
    """Tokens of one forward pass, padding included."""
    sink_multiple: float = 10.0
    """A mean leaves out tokens whose norm is above this multiple of their text's median norm; a last token so far above
    the other ones is a warning; 0 does neither."""

    def __post_init__(self) -> None:
        if self.position not in ("last", "mean"):
            raise ConfigError(f"position is {self.position!r}, expected last or mean")
        if self.max_tokens < 1 or self.batch_tokens < 1:
            raise ConfigError("max_tokens and batch_tokens must be at least 1")
        if self.sink_multiple < 0:
            raise ConfigError(f"sink_multiple is {self.sink_multiple}, expected 0 (keep all) or more")


def collect_pairs(
    model: Model,
    pairs: PairSet,
    *,
    out: str | Path,
    hookpoint: str | Sequence[str] = "layers.15",
    settings: PairSettings = PairSettings(),
    parents: Mapping[str, Path] | None = None,
) -> PairStore:
    """Both vectors of every pair at the hookpoints, in the folder `out` (kind `pairs`).

    `parents` are artifact folders that the pairs came from, by role, for the manifest.

    A finished folder of the same recipe is opened at once; an interrupted one is gone on with, to the same bytes.
    Raises ConfigError for fewer pairs than factors, sides that give the same tokens, texts that are too long, and
    shifts that are all zero; ModelError for an unknown hookpoint or activations that are not finite.
    """
    out = Path(out)
    if pairs.n_pairs < len(pairs.factors):
        raise ConfigError(
            f"{pairs.name}: {pairs.n_pairs} pairs for {len(pairs.factors)} factors; give at least as many pairs as "
            "concepts, or name fewer factors"
        )
    patterns = [hookpoint] if isinstance(hookpoint, str) else list(hookpoint)
    names = list(dict.fromkeys(name for pattern in patterns for name in resolve(model, pattern)))
    about = {
        "name": pairs.name,
        "factors": pairs.factors,
        "n_pairs": pairs.n_pairs,
        "sha256": pairs.digest,
        "drawn": pairs.drawn,
    }
    recipe = Recipe(
        kind=KIND,
        schema=SCHEMA,
        config={"model": dict(model.identity), "pairs": about, "hookpoints": names, "settings": settings},
        parents=parents or {},
        materials=(*model.materials, *pairs.materials),
    )
    if not artifacts.is_finished(out, recipe):
        limit = min(settings.max_tokens, model.context_length)
        tokens = token_pairs(model, pairs, bos=settings.bos, max_tokens=limit)
        job = _Job(model, pairs, tokens, {name: width(model, name) for name in names}, settings)
        runtime.require_disk(out, 2 * 2 * 4 * pairs.n_pairs * sum(job.widths.values()))
        with artifacts.draft(out, recipe) as work:
            _collect(job, work)
    return PairStore(out)


@dataclass(frozen=True, slots=True)
class _Job:
    """What one call was asked for."""

    model: Model
    pairs: PairSet
    tokens: list[TokenPair]
    widths: Mapping[str, int]
    settings: PairSettings


def _collect(job: _Job, work: Draft) -> None:
    """Fill the draft from its last checkpoint to the last batch."""
    settings = job.settings
    done = (work.state() or {"batches": 0})["batches"]
    batches = pair_batches(job.tokens, batch_tokens=settings.batch_tokens)
    scratch = _scratch(job, work)
    special = special_tokens(job.model)
    n_done, noted = sum(map(len, batches[:done])), time.monotonic()
    for number in range(done, len(batches)):
        batch = batches[number]
        found = read_batch(
            job.model,
            [job.tokens[i] for i in batch],
            list(job.widths),
            position=settings.position,
            special=special,
            sink_multiple=settings.sink_multiple,
        )
        for name, z_P2D in found.items():
            scratch[name][batch] = z_P2D.numpy()
        n_done += len(batch)
        progress.report("pairs", n_done, job.pairs.n_pairs, "pairs")
        if time.monotonic() - noted > CHECKPOINT_SECONDS or number + 1 == len(batches):
            for rows in scratch.values():
                rows.flush()
            work.checkpoint({"batches": number + 1})
            work.log(stage="pairs", pairs=n_done)
            noted = time.monotonic()
    _finish(job, work, scratch)


def _scratch(job: _Job, work: Draft) -> dict[str, np.memmap]:
    """Hookpoint → [P, 2, D] on the disk; what was written behind the last checkpoint is written again."""
    work.checkpoint_path.mkdir(exist_ok=True)
    found: dict[str, np.memmap] = {}
    for number, (name, d_model) in enumerate(job.widths.items()):
        file = work.checkpoint_path / f"z-{number:05d}.raw"
        mode = "r+" if file.exists() else "w+"
        found[name] = np.memmap(file, dtype="<f4", mode=mode, shape=(job.pairs.n_pairs, 2, d_model))
    return found


def _finish(job: _Job, work: Draft, scratch: Mapping[str, np.memmap]) -> None:
    """Write vectors, pairs with their tokens, and the index with its warnings."""
    warnings = job.pairs.warnings
    places: dict[str, dict[str, object]] = {}
    for number, (name, rows) in enumerate(scratch.items()):
        z_P2D: Float[Tensor, "P 2 D"] = torch.from_numpy(np.array(rows))
        warnings += shift_warnings(differences(z_P2D), where=name)
        warnings += sink_warnings(z_P2D, multiple=job.settings.sink_multiple, where=name)
        places[name] = {"d_model": job.widths[name], "file": FILE.format(number)}
        write_shard(work.path / FILE.format(number), {name: z_P2D})
    extra = [
        {
            "tokens_before": list(pair.before),
            "tokens_after": list(pair.after),
            "read_before": _span(job, pair, pair.before),
            "read_after": _span(job, pair, pair.after),
        }
        for pair in job.tokens
    ]
    write_atomic(work.path / "pairs.jsonl", pair_lines(job.pairs, extra))
    index = {
        "name": job.pairs.name,
        "description": job.pairs.description,
        "factors": list(job.pairs.factors),
        "n_pairs": job.pairs.n_pairs,
        "hookpoints": places,
        "position": job.settings.position,
        "bos_token": bos_token(job.model.tokenizer, Packing(bos=job.settings.bos)),
        "model": dict(job.model.identity),
        "warnings": warnings,
    }
    write_atomic(work.path / INDEX, json.dumps(index, ensure_ascii=False, indent=1).encode())


def _span(job: _Job, pair: TokenPair, row: Sequence[int]) -> list[int]:
    """Token numbers [start, stop) that the vector was read from (special tokens and sinks in it do not count)."""
    return [pair.start if job.settings.position == "mean" else len(row) - 1, len(row)]
