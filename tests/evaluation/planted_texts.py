"""Labelled texts for the tiny model whose label is a letter, and dictionaries that read it or do not."""

import torch

from bathyscope.dictionaries.dictionary import Dictionary
from bathyscope.dictionaries.rules import Positive
from bathyscope.dictionaries.weights import Weights
from bathyscope.evaluation.labelled import LabelledSet, LabelledText
from bathyscope.models.hooks import run

HOOKPOINT = "layers.0"
WORDS = ("sea", "sand", "wind", "rope", "mast", "sail")


def letter_set(name: str = "letter", *, n: int = 80, letter: str = "Q") -> LabelledSet:
    """Texts with or without `letter`; each text a group of its own."""
    examples = []
    for i in range(n):
        words = " ".join(WORDS[(i * 7 + j * j) % 6] for j in range(2 + i % 4)) + f" {i}"
        examples.append(LabelledText(f"{letter * 4} {words}" if i % 2 else words, bool(i % 2), f"text {i}"))
    return LabelledSet(name=name, question="does it hold the letter", examples=examples)


def reader(model, letter: str = "Q", *, n_features: int = 20, seed: int = 0) -> Dictionary:
    """Feature 3 reads the letter and nothing else; the other features are random and fire everywhere or never."""
    generator = torch.Generator().manual_seed(seed)
    tokens_1S = torch.tensor([[257, *f"{letter * 4} sea sand wind 0123456789 rope mast sail".encode()]])
    x_SD = run(model, tokens_1S, HOOKPOINT)[HOOKPOINT][0]
    is_letter_S = tokens_1S[0] == ord(letter)
    direction_D = x_SD[is_letter_S].mean(0) - x_SD[~is_letter_S][1:].mean(0)
    along_S = x_SD @ direction_D
    W_enc = torch.randn(model.d_model, n_features, generator=generator) * 0.1
    b_enc = torch.full((n_features,), -100.0)
    W_enc[:, 3] = direction_D
    b_enc[3] = -float(along_S[is_letter_S].min() + along_S[~is_letter_S][1:].max()) / 2
    rows_FD = torch.nn.functional.normalize(torch.randn(n_features, model.d_model, generator=generator), dim=1)
    weights = Weights(W_enc=W_enc, b_enc=b_enc, W_dec=rows_FD, b_dec=torch.zeros(model.d_model))
    return Dictionary(weights=weights, rule=Positive(), subtract_b_dec=False, hookpoint=HOOKPOINT)
