"""The fast sampler beside its reference: the network's own forward, and the law itself."""

import pytest
import torch
from risk.worlds.random_folder import random_folder

from bathyscope.errors import ModelError
from bathyscope.models.load import load_model
from bathyscope.risk.inputs.product import ProductTokens
from bathyscope.risk.worlds.last_position import LastPosition
from bathyscope.risk.worlds.zipf_law import ZipfLawSettings, zipf_law

LAW = zipf_law(ZipfLawSettings(n_positions=4, n_options=7, exponent=1.0), n_vocabulary=24)


def test_logits_are_those_of_the_network(tmp_path):
    model = load_model(random_folder(tmp_path / "model"))
    fast = LastPosition(model, LAW)
    choices_NC = fast.draw(500, generator=torch.Generator().manual_seed(0))
    wanted_NV = model.network(input_ids=LAW.tokens(choices_NC)).logits[:, -1]
    found_NV = fast.logits(choices_NC)
    torch.testing.assert_close(found_NV, wanted_NV, rtol=0, atol=1e-4)
    assert len(wanted_NV.argmax(1).unique()) > 5, "attention and tokens decide"
    assert torch.equal(found_NV.argmax(1), wanted_NV.argmax(1))


def test_draws_follow_the_law_at_every_position(tmp_path):
    rare_2 = torch.tensor([0.999, 0.001], dtype=torch.float64).log()
    uneven = ProductTokens(support=(*LAW.support[:3], LAW.support[3][:2]), log_p=(*LAW.log_p[:3], rare_2))
    fast, n = LastPosition(load_model(random_folder(tmp_path / "model")), uneven), 100_000
    choices_NC = fast.draw(n, generator=torch.Generator().manual_seed(0))
    for log_p_K, chosen_N in zip(uneven.log_p, choices_NC.unbind(1), strict=True):
        p_K, counts_K = log_p_K.exp(), torch.bincount(chosen_N, minlength=len(log_p_K))
        assert len(counts_K) == len(p_K)
        assert bool(((counts_K - n * p_K).abs() <= 5 * (n * p_K * (1 - p_K)).sqrt()).all())
    tables = fast._alias
    for keep_K, other_K, n_options, log_p_K in zip(*tables, uneven.log_p, strict=True):
        own_K = torch.tensor(keep_K[:n_options])
        p_K = own_K.index_add(0, torch.tensor(other_K[:n_options]), 1 - own_K) / int(n_options)
        torch.testing.assert_close(p_K, log_p_K.exp(), rtol=1e-12, atol=1e-15)


def test_a_network_of_two_layers_is_refused(tmp_path):
    with pytest.raises(ModelError, match="no GPT-2 of one layer"):
        LastPosition(load_model(random_folder(tmp_path / "model", n_layers=2)), LAW)
