"""Absorption on planted dictionaries with known absorbed words, and end to end on a model that knows its letters."""

import dataclasses

import numpy as np
import pytest
import torch

from bathyscope import artifacts
from bathyscope.dictionaries.dictionary import Dictionary
from bathyscope.dictionaries.rules import LargestAbsolute, Positive
from bathyscope.dictionaries.weights import Weights
from bathyscope.errors import ConfigError
from bathyscope.evaluation import letters as letter_room
from bathyscope.evaluation.absorption import AbsorptionSettings, absorption, dictionary_rows, main_features, outcomes
from bathyscope.evaluation.letters import LetterProbes, fit_letter_probes, word_activations, words_by_letter

N_LETTERS, N_WORDS = 3, 40
D = N_LETTERS * (1 + N_WORDS)
SETTINGS = AbsorptionSettings()
LETTERS_W = np.repeat(np.arange(N_LETTERS), N_WORDS)
IS_TRAIN_W = np.tile(np.arange(N_WORDS) % 2 == 0, N_LETTERS)
SHORT, SEA = 1, 3
"""Held-out words of letter 0."""


def activations():
    """Three of the letter's axis and two of the word's own axis."""
    return 3 * torch.eye(D)[LETTERS_W] + 2 * torch.eye(D)[N_LETTERS + np.arange(len(LETTERS_W))]


def probes() -> LetterProbes:
    return LetterProbes(
        directions_LD=torch.eye(D)[:N_LETTERS], predicted_W=LETTERS_W, letters_W=LETTERS_W, is_train_W=IS_TRAIN_W
    )


def planted(absorbed=(), *, left: float = 0.0) -> Dictionary:
    """A feature for each letter and each word; an absorbed word's feature holds the letter, whose own one is silent.

    `left` is the part of the letter that its own feature still carries on absorbed words.
    """
    W_dec, W_enc = torch.eye(D), torch.eye(D).clone()
    for word in absorbed:
        axis, letter = N_LETTERS + word, int(LETTERS_W[word])
        both = torch.zeros(D)
        both[letter], both[axis] = 3.0 - left, 2.0
        W_dec[axis] = both / both.norm()
        W_enc[:, axis] = 0
        W_enc[axis, axis] = float(both.norm()) / 2
        W_enc[axis, letter] = -(3.0 - left) / 2
    weights = Weights(W_enc=W_enc, b_enc=torch.zeros(D), W_dec=W_dec, b_dec=torch.zeros(D))
    return Dictionary(weights=weights, rule=Positive(), subtract_b_dec=False)


def figures(dictionary, settings=SETTINGS):
    rows = dictionary_rows("planted", dictionary, probes(), activations(), settings)
    return {(row.subject, row.metric): row for row in rows}


def test_planted_dictionaries_reconstruct_their_words():
    for dictionary in (planted(), planted([SHORT, SEA]), planted([SHORT], left=1.0)):
        torch.testing.assert_close(dictionary.reconstruct(activations()), activations())


def test_absorbed_words_are_counted_and_no_others():
    found = figures(planted([SHORT, SEA]))
    n = N_LETTERS * N_WORDS // 2
    assert found["planted", "absorption rate"].value == pytest.approx(2 / n)
    assert found["planted", "absorption rate"].n == n
    assert found["planted", "absorption fraction"].value == pytest.approx(2 / n)
    assert found["planted", "main features silent"].value == pytest.approx(2 / n)
    assert found["planted", "main features per letter"].value == 1


def test_a_dictionary_without_absorption_scores_zero():
    found = figures(planted())
    for metric in ("absorption rate", "absorption fraction", "main features silent"):
        assert found["planted", metric].value == 0


def test_a_silent_main_feature_that_nothing_replaces_is_no_absorption():
    silent = planted()
    W_enc = silent.W_enc.clone()
    W_enc[N_LETTERS + SHORT, 0] = -10
    found = figures(dataclasses.replace(silent, weights=dataclasses.replace(silent.weights, W_enc=W_enc)))
    assert found["planted", "main features silent"].value > 0
    assert found["planted", "absorption rate"].value == found["planted", "absorption fraction"].value == 0


def test_a_word_absorbed_in_part_counts_for_the_fraction_only():
    found = outcomes(
        planted([SHORT], left=1.0),
        activations()[[SHORT]],
        planted([SHORT], left=1.0).encode(activations()[[SHORT]]).dense(),
        torch.eye(D)[0],
        np.array([0]),
        SETTINGS,
    )
    assert not found.is_absorbed_W[0] and not found.is_silent_W[0]
    assert found.fraction_W[0] == pytest.approx(2 / 3, abs=1e-5)


def test_random_directions_find_no_absorption_where_the_probe_does():
    found = figures(planted([SHORT, SEA]))
    assert (
        found["planted, random directions", "absorption rate"].value < found["planted", "absorption rate"].value / 1.5
    )
    assert found["planted, random directions", "main features silent"].value == pytest.approx(2 / 60)


def test_training_words_never_count():
    held_in = [0, 2]
    assert IS_TRAIN_W[held_in].all()
    assert figures(planted(held_in))["planted", "absorption rate"].value == 0


def test_a_negative_code_counts_as_firing():
    signed = dataclasses.replace(planted(), rule=LargestAbsolute(k=2))
    W_dec, W_enc = signed.W_dec.clone(), signed.W_enc.clone()
    W_dec[0], W_enc[:, 0] = -W_dec[0], -W_enc[:, 0]
    weights = dataclasses.replace(signed.weights, W_enc=W_enc, W_dec=W_dec)
    found = figures(dataclasses.replace(signed, weights=weights))
    assert found["planted", "main features silent"].value == 0


def test_two_features_that_share_a_letter_are_both_main():
    """Even words fire one feature, odd words the other: feature splitting, not absorption."""
    split = planted()
    W_enc = split.W_enc.clone()
    W_enc[N_LETTERS + 4 * np.arange(N_WORDS // 4), 0] = -10
    W_enc[N_LETTERS + 4 * np.arange(N_WORDS // 4) + 1, 0] = -10
    other = W_enc[:, 0].clone()
    other[N_LETTERS : N_LETTERS + N_WORDS] = 0
    for i in (2, 3):
        other[N_LETTERS + 4 * np.arange(N_WORDS // 4) + i] = -10
    weights = Weights(
        W_enc=torch.cat([W_enc, other[:, None]], 1),
        b_enc=torch.zeros(D + 1),
        W_dec=torch.cat([split.W_dec, split.W_dec[:1]]),
        b_dec=torch.zeros(D),
    )
    dictionary = dataclasses.replace(split, weights=weights)
    codes_WF = dictionary.encode(activations()).dense()
    assert sorted(main_features(codes_WF, probes(), 0, SETTINGS).tolist()) == [0, D]
    assert figures(dictionary)["planted", "absorption rate"].value == 0


@pytest.fixture
def speller(tiny_model, monkeypatch):
    """The tiny model with 200 of its tokens spelled as words of four letters, and the letter in their embeddings."""
    pieces = [f" {'abcd'[i % 4]}word".encode() for i in range(200)] + [b"the"] * 60
    table = letter_room.TokenTable(tuple(pieces), frozenset())
    monkeypatch.setattr(letter_room.TokenTable, "of", classmethod(lambda cls, tokenizer: table))
    weight = tiny_model.network.get_input_embeddings().weight
    axes = torch.linalg.qr(torch.randn(32, 4, generator=torch.Generator().manual_seed(5))).Q.T
    with torch.no_grad():
        weight[:200] += 4 * axes[torch.arange(200) % 4]
    return tiny_model


def test_letters_are_read_from_a_model_that_holds_them_and_the_table_has_its_nulls(speller, tmp_path):
    generator = torch.Generator().manual_seed(0)
    rows = torch.nn.functional.normalize(torch.randn(60, 32, generator=generator), dim=1)
    weights = Weights(W_enc=rows.T.contiguous(), b_enc=torch.zeros(60), W_dec=rows, b_dec=torch.zeros(32))
    dictionary = Dictionary(weights=weights, rule=Positive(), subtract_b_dec=False, hookpoint="layers.0")
    settings = AbsorptionSettings(template="It is", min_words=20, words_per_letter=30)
    rows = absorption(speller, {"mine": dictionary}, out=tmp_path / "scores", settings=settings)
    found = {(row.subject, row.metric): row for row in rows}
    assert found["residual probe", "letter accuracy"].value > 0.8
    assert found["commonest letter", "letter accuracy"].value == 0.25
    for subject in ("mine", "mine, random directions", "random dictionary", "random dictionary, random directions"):
        row = found[subject, "absorption rate"]
        assert 0 <= row.low <= row.value <= row.high <= 1 and row.unit == "words"
    assert artifacts.read_manifest(tmp_path / "scores").config["hookpoint"] == "layers.0"
    assert absorption(speller, {"mine": dictionary}, out=tmp_path / "scores", settings=settings) == rows


def test_words_are_halved_within_each_letter_and_never_shared(speller):
    words = words_by_letter(speller, per_letter=30, min_words=20, seed=0)
    assert words.letters == ("a", "b", "c", "d")
    assert np.bincount(words.letters_W).tolist() == [30] * 4
    assert np.bincount(words.letters_W[words.is_train_W]).tolist() == [15] * 4
    assert len(set(words.tokens_W.tolist())) == 120
    assert all(token % 4 == letter for token, letter in zip(words.tokens_W, words.letters_W, strict=True))


def test_probe_directions_have_length_one_and_see_the_training_half_only(speller):
    words = words_by_letter(speller, per_letter=30, min_words=20, seed=0)
    x_WD = word_activations(speller, "layers.0", words.tokens_W, template="It is")
    fitted = fit_letter_probes(words, x_WD)
    changed = fit_letter_probes(words, torch.where(torch.from_numpy(words.is_train_W)[:, None], x_WD, 9 * x_WD + 1))
    torch.testing.assert_close(fitted.directions_LD.norm(dim=1), torch.ones(4))
    torch.testing.assert_close(fitted.directions_LD, changed.directions_LD)


def test_a_vocabulary_without_words_is_refused(tiny_model):
    with pytest.raises(ConfigError, match="no two letters with 40 words"):
        words_by_letter(tiny_model, per_letter=50, min_words=40, seed=0)


def test_settings_out_of_range_are_refused():
    with pytest.raises(ConfigError, match="min_words"):
        AbsorptionSettings(min_words=200)
    with pytest.raises(ConfigError, match="min_share is 0"):
        AbsorptionSettings(min_share=0.0)
