"""Contrasts in a tiny random model's activations, along a direction that is known."""

import dataclasses

import numpy as np
import torch
from steering.worlds import random_dictionary
from tiny import D_MODEL

from bathyscope.dictionaries.dictionary import Dictionary
from bathyscope.evaluation.labelled import LabelledSet, LabelledText
from bathyscope.models.model import Model
from bathyscope.vectors.contrast import Contrast, Halved, ReadSettings, contrast_of_texts
from bathyscope.vectors.examples import Examples

PLACE = "layers.1"
FEATURE = 0
WORDS = ("sea", "wind", "salt", "stone", "harbour", "gull", "rope", "mast", "tide", "sand")


def direction() -> torch.Tensor:
    """The planted unit direction."""
    u_D = torch.randn(D_MODEL, generator=torch.Generator().manual_seed(3))
    return u_D / u_D.norm()


def labelled(n: int = 80) -> LabelledSet:
    """Texts of random words, whose labels say nothing about them; two texts a group."""
    rng = np.random.default_rng(0)
    texts = [" ".join(rng.choice(WORDS, 3)) + f" {number}" for number in rng.permutation(n)]
    return LabelledSet(
        name="planted",
        question="whether the direction was added",
        examples=[LabelledText(text, number % 2 == 0, f"group {number // 2}") for number, text in enumerate(texts)],
    )


def unplanted(model: Model, n: int = 80) -> Contrast:
    """Labels that do not show in the activations."""
    return contrast_of_texts(model, labelled(n), hookpoint=PLACE, settings=ReadSettings(n_texts=n))


def planted(model: Model, n: int = 80) -> Contrast:
    """The same with 1 to 5 typical norms of the direction added to the tokens of each true text."""
    contrast = unplanted(model, n)
    halves = contrast.places[PLACE]
    return dataclasses.replace(contrast, places={PLACE: Halved(*(_added(half) for half in halves))})


def _added(half: Examples) -> Examples:
    typical = half.x_ND.norm(dim=1).median()
    size_T = torch.rand(half.n_texts, generator=torch.Generator().manual_seed(5)) * 4 + 1
    size_T *= torch.from_numpy(half.labels_T)
    return dataclasses.replace(half, x_ND=half.x_ND + typical * size_T[half.text_N, None] * direction())


def knowing_dictionary(model: Model) -> Dictionary:
    """A random dictionary whose feature 0 reads and writes the planted direction."""
    dictionary = random_dictionary(model)
    W_dec, W_enc = dictionary.W_dec.clone(), dictionary.W_enc.clone()
    W_dec[FEATURE], W_enc[:, FEATURE] = direction(), 6 * direction()
    return dataclasses.replace(dictionary, weights=dataclasses.replace(dictionary.weights, W_dec=W_dec, W_enc=W_enc))
