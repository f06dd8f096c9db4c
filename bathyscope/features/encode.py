"""The one pass over the indexed text: every row is encoded once, all features at a time.

What it leaves on disk (codes by feature, near misses, a sample of codes by token) is all that the rest of the index is
computed from. Memory does not grow with the number of codes; it is checkpointed with each run of codes.
"""

import json
import logging
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Bool, Int

from bathyscope import progress, runtime
from bathyscope.activations.share import ALL, Share
from bathyscope.artifacts import Draft
from bathyscope.dictionaries.dictionary import Dictionary
from bathyscope.dictionaries.rules import Largest, Pursuit
from bathyscope.features.corpus import Corpus
from bathyscope.features.near import NearMisses
from bathyscope.features.postings import RUN_ENTRIES, Postings, PostingsWriter
from bathyscope.features.settings import IndexSettings
from bathyscope.features.size import SPARE, batch_rows
from bathyscope.files import read_json, write_atomic

log = logging.getLogger(__name__)

FRESH = {"n_runs": 0, "next_row": 0}
"""State of a draft whose pass has not begun."""
PART, PART_FILE = "postings", "part.json"
"""Where a share's folder keeps what was found."""


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
    folder = work.checkpoint_path / "postings"
    near, n_runs = _encode(corpus, dictionary, folder, work=work, settings=settings, share=ALL)
    return Encoded(postings=Postings((folder, n_runs)), near=near, **_read_sample([(folder, n_runs)]))


def encode_share(corpus: Corpus, dictionary: Dictionary, *, work: Draft, settings: IndexSettings, share: Share) -> None:
    """Encode one share of the rows and leave what was found in the draft, for `joined`."""
    near, n_runs = _encode(corpus, dictionary, work.path / PART, work=work, settings=settings, share=share)
    _save_near(work.path / PART / "all", near)
    write_atomic(work.path / PART_FILE, json.dumps({"n_runs": n_runs}).encode())


def joined(parts: Sequence[Path], dictionary: Dictionary, *, settings: IndexSettings) -> Encoded:
    """What all shares found, in order: the same as one `encode` of all rows."""
    runs = [(part / PART, int(read_json(part / PART_FILE)["n_runs"])) for part in parts]
    near, *later = [_near_misses(folder / "all", dictionary, settings, begins=False) for folder, _ in runs]
    for each in later:
        near.join(each)
    return Encoded(postings=Postings(*runs), near=near, **_read_sample(runs))


def _encode(
    corpus: Corpus, dictionary: Dictionary, folder: Path, *, work: Draft, settings: IndexSettings, share: Share
) -> tuple[NearMisses, int]:
    """Encode a share of the rows into runs in `folder`; the near misses, and the number of runs."""
    state = work.state() or FRESH
    if state["n_runs"] == 0:
        shutil.rmtree(folder, ignore_errors=True)
    writer = PostingsWriter(folder, n_features=dictionary.n_features, n_runs=state["n_runs"])
    last = folder / f"run-{state['n_runs'] - 1:05d}"
    near = _near_misses(last, dictionary, settings, begins=state["n_runs"] == 0)
    sampled, kept = _sample(corpus.n_rows, settings.cofiring_tokens), list[tuple[np.ndarray, np.ndarray]]()
    ranges = corpus.row_batches(batch_rows(dictionary.n_features, settings.batch_tokens))
    ranges = ranges[share.among(len(ranges))]
    for start, stop in ranges:
        if start < state["next_row"]:
            continue
        rows, features, values = _batch(corpus, dictionary, near, start, stop)
        writer.add(features, rows, values)
        chosen = sampled[rows]
        counts = np.bincount(rows - start, minlength=stop - start)[sampled[start:stop]]
        kept.append((features[chosen].astype(np.int32), counts))
        first, end = ranges[0][0], ranges[-1][1]
        progress.report("index", stop - first, end - first, "tokens", l0=round(len(rows) / (stop - start), 2))
        if writer.n_pending >= RUN_ENTRIES or stop == end:
            _flush(writer, near, kept, work=work, next_row=stop, share=(end - first) / (stop - first))
    return near, writer.n_runs


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


def _near_misses(file: Path, dictionary: Dictionary, settings: IndexSettings, *, begins: bool) -> NearMisses:
    """Empty, or as `_save_near` left them. With top-k, only positive pre-activations were in the running."""
    minimum = 0.0 if isinstance(dictionary.rule, Largest | Pursuit) else -np.inf
    near = NearMisses(dictionary.n_features, SPARE * settings.near_misses, minimum=minimum)
    if not begins:
        near.values = torch.from_numpy(np.load(f"{file}-near-values.npy"))
        near.rows = torch.from_numpy(np.load(f"{file}-near-rows.npy"))
    return near


def _save_near(file: Path, near: NearMisses) -> None:
    np.save(f"{file}-near-values.npy", near.values.numpy())
    np.save(f"{file}-near-rows.npy", near.rows.numpy())


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
    share: float,
) -> None:
    """Write a run with everything that a resumed pass needs, then move the checkpoint behind it.

    `share` is how many times the rows so far all rows are.
    """
    if writer.n_runs == 0:
        runtime.require_disk(writer.folder, int(8 * writer.n_pending * share))
    name, last = f"run-{writer.n_runs:05d}", f"run-{writer.n_runs - 1:05d}"
    _save_near(writer.folder / name, near)
    np.save(writer.folder / f"{name}-sample-features.npy", np.concatenate([features for features, _ in kept]))
    np.save(writer.folder / f"{name}-sample-counts.npy", np.concatenate([counts for _, counts in kept]))
    writer.flush()
    work.checkpoint({"n_runs": writer.n_runs, "next_row": next_row})
    (writer.folder / f"{last}-near-values.npy").unlink(missing_ok=True)
    (writer.folder / f"{last}-near-rows.npy").unlink(missing_ok=True)
    kept.clear()


def _read_sample(folders: Sequence[tuple[Path, int]]) -> dict[str, np.ndarray]:
    runs = [folder / f"run-{i:05d}-sample" for folder, n_runs in folders for i in range(n_runs)]
    return {
        "cofiring_features": np.concatenate([np.load(f"{run}-features.npy") for run in runs]),
        "cofiring_counts": np.concatenate([np.load(f"{run}-counts.npy") for run in runs]),
    }
