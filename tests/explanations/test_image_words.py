"""Words of an image model: read off firings they are patches; what needs an unembedding is refused."""

import numpy as np
import pytest
from explanations.planted_text import reading_of
from models.tiny_vision import tiny_image_model

from bathyscope.errors import ModelError
from bathyscope.explanations.by_text import words_of_text
from bathyscope.explanations.explain import with_words
from bathyscope.explanations.firing_information import FiringInformation
from bathyscope.explanations.methods import TOP
from bathyscope.features.tokens import TokenTable


def test_words_read_off_firings_are_patches(tmp_path):
    model = tiny_image_model()
    rng = np.random.default_rng(0)
    tokens = rng.integers(0, 12, (40, 16))
    names = [piece.decode() for piece in model.words.pieces()[:12]]
    alone = next(token for token in range(12) if names.count(names[token]) == 1)
    values = np.stack([(tokens == alone).ravel(), rng.random(tokens.size) < 0.1], axis=1) * 1.0
    reading = reading_of(tmp_path / "postings", tokens, values, TokenTable.of_model(model))
    found = words_of_text(reading, FiringInformation(radius=0), TokenTable.of_model(model), n=3, seed=0)
    top = next(part for part in found.parts if part.method == TOP)
    assert top.words[0, 0] == names[alone] and top.beats_null is not None and bool(top.beats_null[0, 0])
    assert not top.beats_null[1].any(), "a feature that fires at random is given no patch"


def test_directions_of_an_image_model_cannot_be_put_into_words():
    with pytest.raises(ModelError, match=r"tiny-vit-0 reads images: .* cannot be put into words"):
        with_words(tiny_image_model())
