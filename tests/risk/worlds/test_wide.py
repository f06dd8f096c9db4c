"""The wide world as it comes with the package: whole, made by the stated settings, and true of its network."""

import pytest
import torch

from bathyscope import artifacts
from bathyscope.config import to_json
from bathyscope.files import read_json
from bathyscope.risk.worlds.counting import CountSettings
from bathyscope.risk.worlds.language import RandomLanguageSettings
from bathyscope.risk.worlds.network import NetworkSettings
from bathyscope.risk.worlds.wide import STORED, WideSettings, make_wide, open_wide
from bathyscope.risk.worlds.zipf_law import ZipfLawSettings, zipf_law

TINY = WideSettings(
    network=NetworkSettings(
        language=RandomLanguageSettings(n_vocabulary=12, order=4, rank=4),
        n_layers=1,
        d_model=8,
        n_heads=2,
        d_hidden=8,
        n_positions=6,
        n_steps=2,
        batch_size=8,
    ),
    law=ZipfLawSettings(n_positions=4, n_options=5, exponent=1.0),
    count=CountSettings(n_samples=3000),
)


def test_the_stored_folders_are_whole_and_their_settings_are_the_defaults():
    settings, model, truth = WideSettings(), artifacts.verify(STORED / "model"), artifacts.verify(STORED / "truth")
    assert model.config == to_json(settings.network)
    assert truth.config["settings"] == to_json(settings.count)
    assert truth.parents["model"]["digest"] == model.digest
    law, made = open_wide().law, zipf_law(settings.law, n_vocabulary=settings.network.language.n_vocabulary)
    assert truth.config["law"] == law.sha256 and law.n_positions == 17
    for ids_K, made_K, log_p_K, made_log_p_K in zip(law.support, made.support, law.log_p, made.log_p, strict=True):
        assert torch.equal(ids_K, made_K)
        torch.testing.assert_close(log_p_K, made_log_p_K, rtol=1e-14, atol=1e-15)


def test_the_stored_counts_add_up_and_hold_enough_rare_events():
    data, truth = read_json(STORED / "truth" / "truth.json"), open_wide().truth
    assert sum(data["counts"]) == data["n_inputs"] == 2**28
    assert float(truth.p_V.sum()) == pytest.approx(1, abs=1e-12)
    rare = truth.events(1e-7, 1e-4)
    assert len(rare) >= 32
    assert min(data["counts"][token] for token in rare) >= 25


def test_the_networks_own_forward_agrees_with_the_stored_counts():
    world = open_wide()
    tokens_NS = world.law.sample(6000, torch.Generator().manual_seed(0))
    with torch.inference_mode():
        said_N = torch.cat(
            [
                world.model.network(input_ids=part_NS, use_cache=False, logits_to_keep=1).logits[:, -1].argmax(1)
                for part_NS in tokens_NS.split(2000)
            ]
        )
    counts_V = torch.bincount(said_N, minlength=world.model.n_vocabulary)
    frequent_V = world.truth.p_V > 0.002
    expected_V = 6000 * world.truth.p_V[frequent_V]
    assert int(frequent_V.sum()) > 20
    chi_square = float(((counts_V[frequent_V] - expected_V) ** 2 / expected_V).sum())
    n = int(frequent_V.sum())
    assert abs(chi_square - n) < 4 * (2 * n) ** 0.5


def test_a_world_of_ones_own_is_made_and_read_back(tmp_path):
    made = make_wide(TINY, out=tmp_path / "wide")
    read = open_wide(tmp_path / "wide")
    assert made.truth.n_inputs == 3000 and torch.equal(made.truth.p_V, read.truth.p_V)
    assert made.events(1e-3, 0.5) == read.truth.events(1e-3, 0.5)
