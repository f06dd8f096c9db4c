"""Texts, settings and stores for the tests of this room."""

from pathlib import Path

from tiny import tiny_model

from bathyscope.activations.collect import CollectSettings, collect
from bathyscope.activations.packing import Packing
from bathyscope.activations.store import ActivationStore
from bathyscope.activations.text import Texts

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
