"""The one pass over the indexed text: every row is encoded once, all features at a time.

What it leaves on disk (codes by feature, near misses, a sample of codes by token) is all that the rest of the index is
computed from. Memory does not grow with the number of codes; it is checkpointed with each run of codes.
"""

import logging
import shutil
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Bool, Int

from bathyscope import progress, runtime
from bathyscope.artifacts import Draft
from bathyscope.dictionaries.dictionary import Dictionary
from bathyscope.dictionaries.rules import Largest, Pursuit
from bathyscope.features.corpus import Corpus
from bathyscope.features.near import NearMisses
from bathyscope.features.postings import RUN_ENTRIES, Postings, PostingsWriter
from bathyscope.features.settings import IndexSettings
from bathyscope.features.size import SPARE, batch_rows

log = logging.getLogger(__name__)

FRESH = {"n_runs": 0, "next_row": 0}
"""State of a draft whose pass has not begun."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Encoded:
    """What the pass found."""

    postings: Postings
    """Codes by feature."""
    near: NearMisses
    cofiring_features: Int[np.ndarray, " E"]
    """Features that fire on each sampled token, token by token."""
    cofiring_counts: Int[np.ndarray, " M"]
    """How many fire on each sampled token."""


def encode(corpus: Corpus, dictionary: Dictionary, *, work: Draft, settings: IndexSettings) -> Encoded:
    """Encode every row of `corpus`; goes on where an interrupted draft stopped, with the same result."""
    folder, state = work.checkpoint_path / "postings", work.state() or FRESH
    if state["n_runs"] == 0:
        shutil.rmtree(folder, ignore_errors=True)
    writer = PostingsWriter(folder, n_features=dictionary.n_features, n_runs=state["n_runs"])
    near = _near_misses(folder, dictionary, settings, n_runs=state["n_runs"])
    sampled, kept = _sample(corpus.n_rows, settings.cofiring_tokens), list[tuple[np.ndarray, np.ndarray]]()
    for start, stop in corpus.row_batches(batch_rows(dictionary.n_features, settings.batch_tokens)):
        if start < state["next_row"]:
            continue
        rows, features, values = _batch(corpus, dictionary, near, start, stop)
        writer.add(features, rows, values)
        chosen = sampled[rows]
        counts = np.bincount(rows - start, minlength=stop - start)[sampled[start:stop]]
        kept.append((features[chosen].astype(np.int32), counts))
        progress.report("index", stop, corpus.n_rows, "tokens", l0=round(len(rows) / (stop - start), 2))
        if writer.n_pending >= RUN_ENTRIES or stop == corpus.n_rows:
            _flush(writer, near, kept, work=work, next_row=stop, n_rows=corpus.n_rows)
    return Encoded(postings=Postings(folder, n_runs=writer.n_runs), near=near, **_read_sample(folder, writer.n_runs))


def _batch(
    corpus: Corpus, dictionary: Dictionary, near: NearMisses, start: int, stop: int
) -> tuple[Int[np.ndarray, " E"], Int[np.ndarray, " E"], np.ndarray]:
    """Rows, features and values of the positive codes of rows `start` … `stop − 1`, in row order."""
    with torch.no_grad():
        x_ND = corpus.read(np.arange(start, stop)).to(dictionary.W_enc.device, dictionary.W_enc.dtype)
        pre_NF, codes = dictionary.pre_and_codes(x_ND)
        fires_NK = codes.values_NK > 0
        near.update(pre_NF, fires_NK, codes.indices_NK, corpus.row_tiles[start:stop], first_row=start)
        rows = fires_NK.nonzero()[:, 0].cpu().numpy() + start
        return rows, codes.indices_NK[fires_NK].cpu().numpy(), codes.values_NK[fires_NK].float().cpu().numpy()


def _near_misses(folder: Path, dictionary: Dictionary, settings: IndexSettings, *, n_runs: int) -> NearMisses:
    """Empty, or as they were after the last run. With top-k, only positive pre-activations were in the running."""
    minimum = 0.0 if isinstance(dictionary.rule, Largest | Pursuit) else -np.inf
    near = NearMisses(dictionary.n_features, SPARE * settings.near_misses, minimum=minimum)
    if n_runs:
        near.values = torch.from_numpy(np.load(folder / f"run-{n_runs - 1:05d}-near-values.npy"))
        near.rows = torch.from_numpy(np.load(folder / f"run-{n_runs - 1:05d}-near-rows.npy"))
    return near


def _sample(n_rows: int, limit: int) -> Bool[np.ndarray, " N"]:
    """At most `limit` rows, evenly spaced."""
    place = np.arange(n_rows + 1) * min(limit, n_rows) // n_rows
    return np.diff(place) > 0


def _flush(
    writer: PostingsWriter,
    near: NearMisses,
    kept: list[tuple[np.ndarray, np.ndarray]],
    *,
    work: Draft,
    next_row: int,
    n_rows: int,
) -> None:
    """Write a run with everything that a resumed pass needs, then move the checkpoint behind it."""
    if writer.n_runs == 0:
        runtime.require_disk(writer.folder, int(8 * writer.n_pending * n_rows / next_row))
    name, last = f"run-{writer.n_runs:05d}", f"run-{writer.n_runs - 1:05d}"
    np.save(writer.folder / f"{name}-near-values.npy", near.values.numpy())
    np.save(writer.folder / f"{name}-near-rows.npy", near.rows.numpy())
    np.save(writer.folder / f"{name}-sample-features.npy", np.concatenate([features for features, _ in kept]))
    np.save(writer.folder / f"{name}-sample-counts.npy", np.concatenate([counts for _, counts in kept]))
    writer.flush()
    work.checkpoint({"n_runs": writer.n_runs, "next_row": next_row})
    (writer.folder / f"{last}-near-values.npy").unlink(missing_ok=True)
    (writer.folder / f"{last}-near-rows.npy").unlink(missing_ok=True)
    kept.clear()


def _read_sample(folder: Path, n_runs: int) -> dict[str, np.ndarray]:
    names = [f"run-{i:05d}-sample" for i in range(n_runs)]
    return {
        "cofiring_features": np.concatenate([np.load(folder / f"{name}-features.npy") for name in names]),
        "cofiring_counts": np.concatenate([np.load(folder / f"{name}-counts.npy") for name in names]),
    }
