"""`collect`: run a model over text and keep its activations at some hookpoints on disk.

One forward per batch for all hookpoints, ended behind the last one. The stream of batches is a function of text, seed
and settings; how it fills a store, and goes on after an interruption, is known to `fill`.
"""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from jaxtyping import Float
from torch import Tensor

from bathyscope import artifacts, runtime
from bathyscope.activations import size
from bathyscope.activations.fill import Filled, Plan, fill
from bathyscope.activations.packing import Packing, TokenBatch, TokenStream, check_packing
from bathyscope.activations.parts import join_parts
from bathyscope.activations.shards import TORCH_DTYPES, Dtype
from bathyscope.activations.share import ALL, Share
from bathyscope.activations.store import KIND, SCHEMA, ActivationStore
from bathyscope.activations.text import OpenText, Text, open_text, readable
from bathyscope.activations.writer import tokens_by_source
from bathyscope.artifacts import Draft, Recipe
from bathyscope.config import to_json
from bathyscope.errors import ConfigError
from bathyscope.models.hookpoints import resolve, width
from bathyscope.models.hooks import run
from bathyscope.models.model import Model
from bathyscope.models.packing import packed_inputs
from bathyscope.models.prompts import special_tokens

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class CollectSettings:
    """How text is cut and what is stored."""

    dtype: Dtype = "float16"
    """Type of the stored rows; activations beyond 65,504 need bfloat16."""
    held_out: float = 0.1
    """Share of the documents that training never sees."""
    seed: int = 0
    """Seed of the order of documents and of the held-out split."""
    mask_special: bool = True
    """Keep no rows of special tokens such as BOS and chat markers."""
    sink_multiple: float = 10.0
    """Keep no rows whose norm is above this multiple of the median (attention sinks); 0 keeps them."""
    shard_rows: int = 65_536
    """Most rows in one shard."""
    packing: Packing = field(default_factory=Packing)
    """How documents become rows of tokens."""

    def __post_init__(self) -> None:
        if not 0 <= self.held_out < 1:
            raise ConfigError(f"held_out is {self.held_out}, expected a share of at least 0 and below 1")
        if self.seed < 0:
            raise ConfigError(f"seed is {self.seed}, expected 0 or more")
        if self.sink_multiple < 0:
            raise ConfigError(f"sink_multiple is {self.sink_multiple}, expected 0 (keep all) or more")
        if self.shard_rows < 1:
            raise ConfigError(f"shard_rows is {self.shard_rows}, expected at least 1")


def collect(
    model: Model,
    text: Text,
    *,
    out: str | Path,
    hookpoint: str | Sequence[str] = "layers.15",
    n_tokens: int = 200_000,
    settings: CollectSettings = CollectSettings(),
    share: Share = ALL,
    parts: Sequence[ActivationStore] = (),
) -> ActivationStore:
    """The activations of the first `n_tokens` tokens of `text` at the hookpoints, in the folder `out`.

    A finished folder of the same recipe is opened at once; an interrupted one is gone on with, to the same bytes.
    With a `share` only its batches are run; with the stores of all shares as `parts`, in order, none is, and the folder
    is the one that a single call would have made.
    Text that ends early gives fewer tokens and a log line. Raises ConfigError for unreadable or empty text and for
    activations that the dtype cannot hold, ModelError for an unknown hookpoint or activations that are not finite,
    ArtifactError when `out` holds something else, DeviceError when disk or memory have no room.
    """
    out = Path(out)
    if n_tokens < 1:
        raise ConfigError(f"n_tokens is {n_tokens}, expected at least 1")
    opened = open_text(text)
    patterns = [hookpoint] if isinstance(hookpoint, str) else list(hookpoint)
    names = list(dict.fromkeys(name for pattern in patterns for name in resolve(model, pattern)))
    job = _Job(model, opened, {name: width(model, name) for name in names}, n_tokens, settings, share)
    recipe = Recipe(
        kind=KIND,
        schema=SCHEMA,
        config={
            "model": dict(model.identity),
            "text": opened.describe(),
            "hookpoints": names,
            "n_tokens": n_tokens,
            "settings": settings,
            **({} if share == ALL else {"share": share}),
        },
        seed=settings.seed,
        materials=(*model.materials, *opened.records()),
    )
    if not artifacts.is_finished(out, recipe):
        _check(job, out)
        runtime.keep_freed_memory()
        with artifacts.draft(out, recipe) as work:
            _collect(job, work, parts)
    return ActivationStore(out)


@dataclass(frozen=True, slots=True)
class _Job:
    """What one call was asked for."""

    model: Model
    text: OpenText
    widths: Mapping[str, int]
    n_tokens: int
    settings: CollectSettings
    share: Share

    @property
    def n_own_tokens(self) -> int:
        """About how many tokens are in the share."""
        return -(-self.n_tokens // self.share.of)

    @property
    def plan(self) -> Plan:
        """How the store is filled."""
        settings, packing = self.settings, self.settings.packing
        return Plan(
            model=self.model.name,
            widths=self.widths,
            dtype=TORCH_DTYPES[settings.dtype],
            shard_rows=settings.shard_rows,
            batch_tokens=packing.rows_per_batch * packing.context,
            n_tokens=self.n_own_tokens,
            special=special_tokens(self.model) if settings.mask_special else (),
            sink_multiple=settings.sink_multiple,
        )


def _check(job: _Job, out: Path) -> None:
    """Refuse before anything is written: settings that do not fit the model, empty text, too little disk or memory."""
    check_packing(job.model, job.settings.packing)
    for source in range(len(job.text.sources)):
        next(readable(job.text, source, seed=None, max_chars=0))
    partial = out.with_name(out.name + ".partial")
    written = sum(file.stat().st_size for file in partial.rglob("*") if file.is_file()) if partial.exists() else 0
    plan = job.plan
    scratch = min(job.n_own_tokens, plan.capacity) * plan.row_bytes
    needed = size.disk_bytes(job.n_own_tokens, row_bytes=plan.row_bytes) + scratch
    runtime.require_disk(out, max(0, needed - written))
    runtime.require_memory(
        size.collect_bytes(
            job.model.d_model, row_bytes=plan.row_bytes, shard_rows=plan.shard_rows, batch_tokens=plan.batch_tokens
        ),
        what="activations",
        made_of="the shard that is being filled and one batch on its way",
        remedy="lower shard_rows or packing.batch_tokens, or name fewer hookpoints",
    )


def _collect(job: _Job, work: Draft, parts: Sequence[ActivationStore]) -> None:
    """Fill the draft from its last checkpoint to the end of the text, or from the parts that others made of it."""
    packing, seed = job.settings.packing, job.settings.seed
    stream = TokenStream(job.model, job.text, packing=packing, seed=seed, n_tokens=job.n_tokens)
    if parts:
        filled = join_parts(work, stream, parts, job.plan)
    else:
        read = partial(_forward, job.model, list(job.widths))
        filled = fill(work, stream, read, job.plan, share=job.share)
    _finish(job, work, stream, filled)


def _forward(model: Model, hookpoints: list[str], batch: TokenBatch) -> dict[str, Float[Tensor, "N _"]]:
    """Hookpoint → activations of the batch's real tokens."""
    inputs = packed_inputs(batch.tokens_BS.to(model.device), batch.segments_BS.to(model.device))
    real_BS = batch.real_BS.to(model.device)
    return {name: x_BSD[real_BS] for name, x_BSD in run(model, inputs, hookpoints).items()}


def _finish(job: _Job, work: Draft, stream: TokenStream, filled: Filled) -> None:
    """Write index, sources and token columns; say what a user should know about the result."""
    writer = filled.writer
    if job.share == ALL and writer.n_tokens < job.n_tokens:
        log.warning("the text has %d tokens, %d were asked: all of them are taken", writer.n_tokens, job.n_tokens)
    tokens = tokens_by_source(work.checkpoint_path, stream.document_sources, n_sources=len(job.text.sources))
    documents = [stream.document_sources.count(i) for i in range(len(job.text.sources))]
    texts = [
        {**described, "tokens": int(n), "documents": m}
        for described, n, m in zip(job.text.describe(), tokens, documents, strict=True)
    ]
    index = {
        "hookpoints": dict(job.widths),
        "dtype": job.settings.dtype,
        "model": dict(job.model.identity),
        "texts": texts,
        "n_documents": len(stream.labels),
        "n_tokens_asked": job.n_tokens,
        "held_out": job.settings.held_out,
        "seed": job.settings.seed,
        "packing": to_json(job.settings.packing),
        "bos_token": stream.bos_token,
        "special_tokens": sorted(special_tokens(job.model)),
        "mask_special": job.settings.mask_special,
        "sink_multiple": job.settings.sink_multiple,
        **filled.mask.state(),
    }
    writer.finish(index=index, sources=stream.labels)
