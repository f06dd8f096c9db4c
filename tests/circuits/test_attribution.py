"""Attribution where the truth is known: behind the final norm the answer is linear in the activation."""

import dataclasses
import math

import pytest
import torch
from tiny import D_MODEL, tiny_model

from bathyscope.circuits.attribution import AttributionSettings, attribute
from bathyscope.dictionaries.dictionary import Dictionary
from bathyscope.dictionaries.rules import Largest
from bathyscope.dictionaries.weights import Weights
from bathyscope.errors import ConfigError, ModelError
from bathyscope.features.prompt import prompt_codes
from bathyscope.models.unembed import unembedding

PROMPT = "the sea is"
FEW = AttributionSettings(n_points=1, n=4, n_random=6)


@pytest.fixture(scope="module")
def model():
    return tiny_model()


def random_dictionary(hookpoint: str, *, n_features: int = 40, k: int = 8) -> Dictionary:
    generator = torch.Generator().manual_seed(1)
    rows_FD = torch.nn.functional.normalize(torch.randn(n_features, D_MODEL, generator=generator), dim=1)
    weights = Weights(
        W_enc=rows_FD.T.contiguous(),
        b_enc=torch.zeros(n_features),
        W_dec=rows_FD,
        b_dec=torch.randn(D_MODEL, generator=generator) / 10,
    )
    return Dictionary(weights=weights, rule=Largest(k=k), subtract_b_dec=False, hookpoint=hookpoint)


def test_behind_the_final_norm_every_part_is_known_exactly(model):
    dictionary = random_dictionary("norm")
    found = attribute(model, dictionary, PROMPT, answer="a", other="b", settings=FEW)
    codes_SF, tokens = prompt_codes(model, dictionary, PROMPT)
    U = unembedding(model)
    parts_F = codes_SF[-1] * (dictionary.W_dec @ (U[ord("a")] - U[ord("b")]))
    assert bytes(found.tokens).decode() == PROMPT == bytes(tokens.tolist()).decode()
    assert [one.feature for one in found.found] == parts_F.abs().argsort(descending=True)[:4].tolist()
    for one in found.found:
        assert one.attribution == pytest.approx(float(parts_F[one.feature]), abs=1e-5)
        assert one.cut == pytest.approx(one.attribution, abs=1e-4)
        assert one.token == len(found.tokens) - 1, "nothing is read after the norm but at the last token"
    assert found.attributed == pytest.approx(float(parts_F.sum()), abs=1e-4)
    assert abs(found.residual) < 1e-4
    bias = float(dictionary.b_dec @ (U[ord("a")] - U[ord("b")]))
    assert found.attributed + found.error + bias == pytest.approx(found.difference, abs=1e-4)
    assert found.cut_agreement > 0.9999


def test_many_points_leave_less_unexplained_than_one(model):
    dictionary = random_dictionary("layers.0")
    one = attribute(model, dictionary, PROMPT, answer="a", other="b", settings=FEW)
    many = attribute(model, dictionary, PROMPT, answer="a", other="b", settings=dataclasses.replace(FEW, n_points=64))
    assert one.difference == many.difference and one.features_off == many.features_off
    assert abs(many.residual) < 0.02 * abs(many.difference - many.features_off)
    assert abs(many.residual) < abs(one.residual) / 5


def test_the_other_answer_turns_every_sign(model):
    dictionary = random_dictionary("layers.1")
    forth = attribute(model, dictionary, PROMPT, answer="a", other="b", settings=FEW)
    back = attribute(model, dictionary, PROMPT, answer="b", other="a", settings=FEW)
    assert forth.difference == pytest.approx(-back.difference)
    assert [one.feature for one in forth.found] == [one.feature for one in back.found]
    for one, other in zip(forth.found, back.found, strict=True):
        assert one.attribution == pytest.approx(-other.attribution, abs=1e-6)


def test_figures_are_the_same_twice_and_ranks_count_active_features(model):
    dictionary = random_dictionary("layers.1")
    settings = dataclasses.replace(FEW, n=100)
    first, second = (attribute(model, dictionary, PROMPT, answer="a", other="b", settings=settings) for _ in "12")
    assert first == second
    assert sorted(one.activation_rank for one in first.found) == list(range(first.n_active))


def test_one_active_feature_has_no_correlation(model):
    dictionary = random_dictionary("layers.1", n_features=1, k=1)
    weights = dataclasses.replace(dictionary.weights, b_enc=torch.full((1,), 100.0))
    found = attribute(
        model, dataclasses.replace(dictionary, weights=weights), PROMPT, answer="a", other="b", settings=FEW
    )
    assert found.n_active == 1 and math.isnan(found.cut_agreement)


@pytest.mark.parametrize(
    ("prompt", "answer", "other", "message"),
    [
        (PROMPT, "ab", "c", "2 tokens"),
        (PROMPT, "a", "", "0 tokens"),
        (PROMPT, "a", "a", "same token"),
        ("", "a", "b", "no token"),
    ],
)
def test_questions_without_an_answer_are_refused(model, prompt, answer, other, message):
    with pytest.raises(ConfigError, match=message):
        attribute(model, random_dictionary("layers.1"), prompt, answer=answer, other=other)


def test_a_dictionary_that_does_not_belong_here_is_refused(model):
    silent = random_dictionary("layers.1")
    weights = dataclasses.replace(silent.weights, b_enc=torch.full((40,), -1e6))
    with pytest.raises(ConfigError, match="no feature fires"):
        attribute(model, dataclasses.replace(silent, weights=weights), PROMPT, answer="a", other="b")
    with pytest.raises(ConfigError, match="hookpoint"):
        attribute(model, dataclasses.replace(silent, hookpoint=None), PROMPT, answer="a", other="b")
    other = dataclasses.replace(silent, model_identity={"name": "another", "sha256": "0" * 64})
    mine = dataclasses.replace(model, identity={**model.identity, "sha256": "1" * 64})
    with pytest.raises(ModelError, match="another"):
        attribute(mine, other, PROMPT, answer="a", other="b")
