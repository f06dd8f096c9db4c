"""Enumeration: the same probabilities as asking every input by itself, in a known order, resumable."""

import pytest
import torch
from risk.worlds.random_folder import random_folder

from bathyscope import artifacts, progress
from bathyscope.errors import ConfigError
from bathyscope.models.load import load_model
from bathyscope.risk.inputs.law import log_prob
from bathyscope.risk.inputs.product import ProductTokens
from bathyscope.risk.worlds import enumeration
from bathyscope.risk.worlds.enumeration import choices_of, enumerate_tokens, n_inputs, numbers_of, tabulate_margins
from bathyscope.risk.worlds.zipf_law import ZipfLawSettings, zipf_law

LAW = zipf_law(ZipfLawSettings(n_positions=3, n_options=5), n_vocabulary=24)
ENDED = ProductTokens(support=(*LAW.support, LAW.support[0]), log_p=(*LAW.log_p, LAW.log_p[0]), name="ended")


class Interrupted(Exception):
    pass


def one_by_one(folder, law):
    """P of every input and its logits, by the network's plain forward."""
    choices_NC = torch.cartesian_prod(*[torch.arange(len(ids_K)) for ids_K in law.support])
    logits_NV = load_model(folder).network(input_ids=law.tokens(choices_NC)).logits[:, -1]
    return choices_NC, log_prob(law, choices_NC).exp(), logits_NV


@pytest.fixture
def small_batches(monkeypatch):
    monkeypatch.setattr(enumeration, "BATCH", 40)


@pytest.mark.parametrize("n_layers", [1, 2])
@pytest.mark.parametrize("law", [LAW, ENDED], ids=lambda law: law.name)
@pytest.mark.usefixtures("small_batches")
def test_probabilities_are_those_of_asking_one_by_one(tmp_path, n_layers, law):
    folder = random_folder(tmp_path / "model", n_layers=n_layers)
    truth = enumerate_tokens(folder, law, out=tmp_path / "truth")
    _, p_N, logits_NV = one_by_one(folder, law)
    wanted_V = torch.zeros(24, dtype=torch.float64).index_add(0, logits_NV.argmax(1), p_N)
    assert int((wanted_V > 0).sum()) > 5, "many tokens are the likeliest somewhere"
    torch.testing.assert_close(truth.p_V, wanted_V, rtol=1e-12, atol=0)
    assert float(truth.p_V.sum()) == pytest.approx(1, abs=1e-12) and truth.n_inputs == 125


def test_numbers_and_options_are_each_others_inverse_in_lexicographic_order():
    numbers_N = torch.arange(n_inputs(LAW))
    choices_NC = choices_of(LAW, numbers_N)
    assert torch.equal(numbers_of(LAW, choices_NC), numbers_N)
    assert choices_NC[:6].tolist() == [[0, 0, 0, k] for k in range(5)] + [[0, 0, 1, 0]]


@pytest.mark.usefixtures("small_batches")
def test_the_margin_says_who_wins_and_by_how_much(tmp_path):
    folder = random_folder(tmp_path / "model")
    targets = (3, 7, 11, 20)
    margins_NT = tabulate_margins(folder, LAW, targets, out=tmp_path / "margins")
    choices_NC, _, logits_NV = one_by_one(folder, LAW)
    assert torch.equal(numbers_of(LAW, choices_NC), torch.arange(125)), "rows are in the order of numbers"
    for column_N, target in zip(margins_NT.unbind(1), targets, strict=True):
        others_NV = logits_NV.clone()
        others_NV[:, target] = -torch.inf
        torch.testing.assert_close(column_N, logits_NV[:, target] - others_NV.amax(1), rtol=0, atol=1e-5)


def test_inputs_with_nearly_equal_logits_widen_the_bounds_of_both_tokens(tmp_path, monkeypatch):
    folder = random_folder(tmp_path / "model")
    monkeypatch.setattr(enumeration, "NEARLY_EQUAL", 0.5)
    truth = enumerate_tokens(folder, LAW, out=tmp_path / "truth")
    _, p_N, logits_NV = one_by_one(folder, LAW)
    best_N2, tokens_N2 = logits_NV.topk(2)
    is_close_N = best_N2[:, 0] - best_N2[:, 1] < 0.5
    assert 5 < int(is_close_N.sum()) < 120
    for token in range(24):
        lost = float(p_N[is_close_N & (tokens_N2[:, 0] == token)].sum())
        won = float(p_N[is_close_N & (tokens_N2[:, 1] == token)].sum())
        assert float(truth.low_V[token]) == pytest.approx(truth[token] - lost, abs=1e-12)
        assert float(truth.high_V[token]) == pytest.approx(truth[token] + won, abs=1e-12)


@pytest.mark.usefixtures("small_batches")
def test_an_interrupted_enumeration_goes_on_to_the_same_bytes(tmp_path):
    folder = random_folder(tmp_path / "model")

    def interrupt(step: progress.Step) -> None:
        if step.done == 80:
            raise Interrupted

    with pytest.raises(Interrupted), progress.listening(interrupt):
        enumerate_tokens(folder, LAW, out=tmp_path / "cut")
    seen: list[int] = []
    with progress.listening(lambda step: seen.append(step.done)):
        enumerate_tokens(folder, LAW, out=tmp_path / "cut")
    enumerate_tokens(folder, LAW, out=tmp_path / "whole")
    digests = [artifacts.verify(tmp_path / name).digest for name in ("cut", "whole")]
    assert digests[0] == digests[1] and seen == [120, 125]


def test_laws_that_cannot_be_enumerated_are_refused_by_name(tmp_path):
    folder = random_folder(tmp_path / "model")
    too_many = zipf_law(ZipfLawSettings(n_positions=10, n_options=8), n_vocabulary=24)
    with pytest.raises(ConfigError, match="1073741824 inputs, too many"):
        enumerate_tokens(folder, too_many, out=tmp_path / "truth")
    nothing_first = ProductTokens(support=LAW.support[1:], log_p=LAW.log_p[1:], name="headless")
    with pytest.raises(ConfigError, match="headless: expected a law whose first token is fixed"):
        enumerate_tokens(folder, nothing_first, out=tmp_path / "truth")
