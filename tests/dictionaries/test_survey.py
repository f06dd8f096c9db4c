"""The look at training activations: extremes of the codes for each sign, and figures that count both."""

import dataclasses

import pytest
import torch
from torch import Tensor

from bathyscope.dictionaries.dictionary import Dictionary, load_dictionary
from bathyscope.dictionaries.rules import Largest, LargestAbsolute, Rule
from bathyscope.dictionaries.survey import Survey, survey
from bathyscope.dictionaries.trainee import Example
from bathyscope.dictionaries.weights import Weights
from bathyscope.errors import ArtifactError

X_ND = torch.tensor([[3.0, 0.5, 0.0], [-4.0, 1.0, 0.0], [0.2, -2.0, 0.0], [1.0, 0.0, 0.0]])
"""Feature 0 fires with both signs, 1 with the negative alone, 2 never."""


def dictionary(rule: Rule) -> Dictionary:
    weights = Weights(W_enc=torch.eye(3), b_enc=torch.zeros(3), W_dec=torch.eye(3), b_dec=torch.zeros(3))
    return Dictionary(weights=weights, rule=rule, subtract_b_dec=False)


def surveyed(rule: Rule, x_ND: Tensor = X_ND, *, size: int = 3) -> Dictionary:
    surveys = [Survey(dictionary(rule), lambda batch: Example(batch, batch))]
    (found,) = survey(surveys, iter(x_ND.split(size)), n_rows=len(x_ND))
    return found


def test_observed_extremes_are_kept_for_each_sign():
    found = surveyed(LargestAbsolute(k=1))
    assert found.max_activation is not None and found.min_activation is not None
    assert found.max_activation.tolist() == [3, 0, 0]
    assert found.min_activation.tolist() == [-4, -2, 0]


def test_codes_without_a_sign_have_no_lower_extreme():
    found = surveyed(Largest(k=1))
    assert found.min_activation is None and found.max_activation is not None
    assert found.max_activation.tolist() == [3, 1, 0]


def test_a_negative_code_is_a_firing():
    figures = surveyed(LargestAbsolute(k=1)).training["survey"]
    assert figures["l0"] == 1 and figures["dead_share"] == pytest.approx(1 / 3)
    assert figures["rows"] == 4
    unsigned = surveyed(Largest(k=1)).training["survey"]
    assert unsigned["l0"] == 1 and unsigned["dead_share"] == pytest.approx(1 / 3)
    left = X_ND - torch.tensor([[3.0, 0, 0], [-4.0, 0, 0], [0, -2.0, 0], [1.0, 0, 0]])
    explained = 1 - left.square().sum() / (X_ND - X_ND.mean(0)).square().sum()
    assert figures["variance_explained"] == pytest.approx(float(explained), abs=1e-6)


@pytest.mark.parametrize("size", [1, 2, 4])
def test_figures_do_not_depend_on_the_batches(size):
    found, wanted = surveyed(LargestAbsolute(k=2), size=size), surveyed(LargestAbsolute(k=2))
    assert found.training["survey"] == pytest.approx(wanted.training["survey"])
    assert torch.equal(found.min_activation, wanted.min_activation)  # pyright: ignore[reportArgumentType]


def test_both_extremes_are_saved_and_loaded(tmp_path):
    found = surveyed(LargestAbsolute(k=1))
    found.save(tmp_path / "d")
    again = load_dictionary(tmp_path / "d")
    assert torch.equal(again.max_activation, found.max_activation)  # pyright: ignore[reportArgumentType]
    assert torch.equal(again.min_activation, found.min_activation)  # pyright: ignore[reportArgumentType]
    surveyed(Largest(k=1)).save(tmp_path / "unsigned")
    assert load_dictionary(tmp_path / "unsigned").min_activation is None


def test_extremes_of_another_size_are_refused():
    with pytest.raises(ArtifactError, match=r"min_activation has shape \(2,\), expected \[3\]"):
        dataclasses.replace(dictionary(LargestAbsolute(k=1)), min_activation=torch.zeros(2))
