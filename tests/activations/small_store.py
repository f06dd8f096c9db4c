"""Texts, settings and stores for the tests of this room."""

import json
from pathlib import Path

import numpy as np
from safetensors.torch import load_file, save_file
from tiny import tiny_model

from bathyscope import artifacts
from bathyscope.activations.collect import CollectSettings, collect
from bathyscope.activations.packing import Packing
from bathyscope.activations.store import ActivationStore
from bathyscope.activations.text import Texts
from bathyscope.files import sha256

WORDS = "the sea under glass shows fish and light while rope sail wind carry us over deep water again"
TEXT = Texts([" ".join(WORDS.split()[(n * 7 + i * i) % 18] for i in range(5 + n % 9)) for n in range(60)])
PACKING = Packing(context=32, batch_tokens=128)
SETTINGS = CollectSettings(shard_rows=200, packing=PACKING)
HOOKPOINTS = ["layers.1", "layers.0.mlp.up_proj"]
"""Two modules of different width: 32 and 48."""
N_TOKENS = 1500


def make_store(out: Path, *, settings: CollectSettings = SETTINGS, n_tokens: int = N_TOKENS) -> ActivationStore:
    """A store of two hookpoints, about 60 documents and 8 shards."""
    return collect(tiny_model(), TEXT, out=out, hookpoint=HOOKPOINTS, n_tokens=n_tokens, settings=settings)


def spoil(store: ActivationStore, hookpoint: str, rows: dict[int, float]) -> ActivationStore:
    """The store with a number that is not finite in some rows, and sums that fit: as if it had been collected so."""
    for row, value in rows.items():
        number = int(store.shard_of(np.array([row]))[0])
        start, _, name = store.shards()[number]
        tensors = load_file(store.path / name)
        tensors[hookpoint][row - start, 3] = value
        save_file(tensors, store.path / name)
    refit_sums(store.path)
    return ActivationStore(store.path)


def refit_sums(folder: Path) -> None:
    """Make the manifest of an artifact say that its files are as they should be."""
    manifest = json.loads((folder / "manifest.json").read_bytes())
    for name, entry in manifest["files"].items():
        entry |= {"sha256": sha256(folder / name), "bytes": (folder / name).stat().st_size}
    manifest["digest"] = artifacts._digest(manifest)
    (folder / "manifest.json").write_text(json.dumps(manifest))
