"""Writing into a subspace: what stands there afterwards, and that nothing else changes."""

import pytest
import torch

from bathyscope.circuits.subspace import Site, Subspace, activations_at, orthonormal, random_subspace, written
from bathyscope.errors import ConfigError, ModelError
from bathyscope.models.generate import generate
from bathyscope.models.hooks import record

TOKENS = torch.arange(40).reshape(4, 10) + 60
SITE = Site("layers.1", (2, 5))


def planted(rank: int = 3, seed: int = 0, site: Site = SITE) -> Subspace:
    return random_subspace(site, rank=rank, d_model=32, seed=seed)


def test_the_written_component_stands_there_and_the_rest_is_as_it_was(tiny_model):
    subspace = planted()
    values = torch.randn(4, 2, 3, generator=torch.Generator().manual_seed(1))
    with torch.no_grad(), record(tiny_model, "layers.1") as plain:
        tiny_model.network(input_ids=TOKENS)
    before = plain["layers.1"].clone()
    with torch.no_grad(), written(tiny_model, subspace, values), record(tiny_model, "layers.1") as changed:
        tiny_model.network(input_ids=TOKENS)
    after = changed["layers.1"]
    others = [p for p in range(10) if p not in SITE.positions]
    torch.testing.assert_close(after[:, others], before[:, others], rtol=0, atol=0)
    torch.testing.assert_close(subspace.components(after[:, [2, 5]]), values, rtol=0, atol=1e-5)
    moved = after[:, [2, 5]] - before[:, [2, 5]]
    inside = torch.einsum("nqr,qrd->nqd", subspace.components(moved), subspace.basis_QRD)
    torch.testing.assert_close(inside, moved, rtol=0, atol=1e-5)


def test_writing_what_is_there_changes_nothing_and_the_network_is_left_alone(tiny_model):
    own = activations_at(tiny_model, SITE, TOKENS)
    with torch.no_grad():
        plain = tiny_model.network(input_ids=TOKENS).logits
        with written(tiny_model, planted(), planted().components(own)):
            same = tiny_model.network(input_ids=TOKENS).logits
        after = tiny_model.network(input_ids=TOKENS).logits
    torch.testing.assert_close(same, plain, rtol=0, atol=1e-4)
    torch.testing.assert_close(after, plain, rtol=0, atol=0)


def test_a_written_value_acts_behind_a_cache_as_without_one(tiny_model):
    site = Site("layers.0", (3, 14, 16))  # of 13 prompt tokens and some that are generated
    subspace = planted(rank=8, site=site)
    values = 3 * torch.randn(1, 3, 8, generator=torch.Generator().manual_seed(2))
    plain = generate(tiny_model, ["twelve bytes"], max_new_tokens=6, chat=False)[0].tokens
    with written(tiny_model, subspace, values):
        cached, whole = (
            generate(tiny_model, ["twelve bytes"], max_new_tokens=6, chat=False, use_cache=use)[0].tokens
            for use in (True, False)
        )
    assert cached == whole != plain


def test_bases_are_orthonormal_and_random_ones_differ_by_seed():
    basis = planted().basis_QRD
    torch.testing.assert_close(basis @ basis.transpose(1, 2), torch.eye(3).expand(2, 3, 3), rtol=0, atol=1e-5)
    assert torch.equal(basis, planted().basis_QRD) and not torch.equal(basis, planted(seed=1).basis_QRD)
    directions = torch.randn(1, 2, 5)
    found = orthonormal(directions)
    back = torch.einsum("qsd,qrd,qre->qse", directions, found, found)
    torch.testing.assert_close(back, directions, rtol=0, atol=1e-5)


def test_what_does_not_fit_is_refused_by_name(tiny_model):
    with pytest.raises(ConfigError, match="different ones"):
        Site("layers.0", (1, 1))
    with pytest.raises(ConfigError, match="expected one each"):
        Subspace(SITE, torch.eye(32)[None, :2])
    with pytest.raises(ConfigError, match="the rows end before"):
        activations_at(tiny_model, Site("layers.0", (10,)), TOKENS)
    with pytest.raises(ConfigError, match="6 directions in 5 dimensions"):
        random_subspace(SITE, rank=6, d_model=5, seed=0)
    with (
        pytest.raises(ConfigError, match="does not fit"),
        written(tiny_model, random_subspace(SITE, rank=2, d_model=16, seed=0), torch.zeros(1, 2, 2)),
    ):
        pass
    with pytest.raises(ConfigError, match="a site has one"):
        activations_at(tiny_model, Site("layers.*", (0,)), TOKENS)
    with pytest.raises(ModelError, match="no hookpoint"):
        activations_at(tiny_model, Site("layers.9", (0,)), TOKENS)
