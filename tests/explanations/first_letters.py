"""Features that write a word and fire on its first letter, in texts of a few words, with a byte tokenizer."""

from pathlib import Path

import numpy as np
import torch
from tiny import D_MODEL, tiny_model

from bathyscope.activations.collect import CollectSettings, collect
from bathyscope.activations.store import ActivationStore
from bathyscope.activations.text import Texts
from bathyscope.dictionaries.dictionary import Dictionary
from bathyscope.dictionaries.rules import Above
from bathyscope.dictionaries.weights import Weights
from bathyscope.explanations.vocabulary import word_vectors
from bathyscope.models.unembed import unembedding

WORDS = ("zebra", "quick", "jumbo", "wharf", "vixen", "box", "kayak", "glyph")
OTHERS = ("the", "shore", "autumn", "meadow", "painter", "thunder", "lantern")
SILENT = len(WORDS)


def letter_dictionary() -> Dictionary:
    """Feature i writes the i-th word and fires on its first letter (z, q, j, w, v, b, k, g); the last never fires."""
    model = tiny_model()
    letters = unembedding(model)[[ord(word[0]) for word in (*WORDS, "~")]]
    vectors, _ = word_vectors(model, WORDS)
    W_dec = torch.cat([vectors, torch.ones(1, D_MODEL)])
    weights = Weights(
        W_enc=(letters / letters.square().sum(1, keepdim=True)).T.contiguous(),
        b_enc=torch.zeros(SILENT + 1),
        W_dec=torch.nn.functional.normalize(W_dec, dim=1),
        b_dec=torch.zeros(D_MODEL),
        threshold=torch.full((SILENT + 1,), 0.95),
    )
    return Dictionary(weights=weights, rule=Above(), subtract_b_dec=False, hookpoint="embed_tokens")


def word_store(path: Path) -> ActivationStore:
    """Sixty documents of the words in random orders, half of them held out."""
    rng = np.random.default_rng(0)
    texts = Texts([" ".join(rng.permutation([*WORDS, *OTHERS])) for _ in range(60)])
    settings = CollectSettings(held_out=0.5, seed=0)
    return collect(tiny_model(), texts, out=path, hookpoint="embed_tokens", n_tokens=5000, settings=settings)
