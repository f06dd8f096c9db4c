"""Pieces that several ranks put together: selection with ties, moments, what each is told; and what is refused."""

from pathlib import Path

import pytest
import torch
from dictionaries.planted import FakeStore, world
from ranks import run_ranks, said

from bathyscope.dictionaries.codes import Codes
from bathyscope.dictionaries.gated import Gated
from bathyscope.dictionaries.job import TrainSettings
from bathyscope.dictionaries.kernels.above import select_batch_reference
from bathyscope.dictionaries.kernels.moments import moments
from bathyscope.dictionaries.kernels.select import Pairs, select_largest
from bathyscope.dictionaries.ranks.division import is_divided
from bathyscope.dictionaries.ranks.mesh import ALONE, Mesh, joined_mesh
from bathyscope.dictionaries.ranks.moments import whole_moments
from bathyscope.dictionaries.ranks.selection import largest_of_batch, largest_of_token, least_kept
from bathyscope.dictionaries.topk import TopK
from bathyscope.dictionaries.train import train
from bathyscope.errors import ConfigError
from bathyscope.launch.group import joined

N, D, F, K = 7, 6, 12, 4


def tied() -> torch.Tensor:
    """Pre-activations [N, F] of few different values, so that many are equal; one token has none above 0."""
    pre_NF = torch.randint(-2, 4, (N, F), generator=torch.Generator().manual_seed(3)).float()
    pre_NF[2] = -pre_NF[2].abs()
    return pre_NF


def first_among_equals(pre_NF: torch.Tensor, n_keep: int) -> torch.Tensor:
    """The `n_keep` largest positive entries of all, the lowest token and then the lowest feature first; others 0."""
    flat = pre_NF.relu().flatten()
    order = flat.sort(descending=True, stable=True).indices[:n_keep]
    return torch.zeros_like(flat).scatter(0, order, flat[order]).view_as(pre_NF)


def own_pairs(pre_NF: torch.Tensor, mesh: Mesh, k: int) -> Pairs:
    """A rank's candidates: the k largest of its tokens' own features."""
    return select_largest(mesh.own_tokens(pre_NF)[:, mesh.own_features(F)].contiguous(), k)


def own_share(codes_NF: torch.Tensor, mesh: Mesh) -> torch.Tensor:
    return mesh.own_tokens(codes_NF)[:, mesh.own_features(F)]


def compare() -> None:
    """What each of four ranks (two shares of the tokens, two of the features) does."""
    with joined(feature_ranks=2) as mesh:
        pre_NF, each = tied(), F // 2
        kept = largest_of_token(own_pairs(pre_NF, mesh, K), K, mesh)
        of_token_NF = Codes(*select_largest(pre_NF, K), F).dense()
        assert torch.equal(Codes(*kept, each).dense(), own_share(of_token_NF, mesh))
        for n_keep in (1, 9, 17, N * F):
            candidates = own_pairs(pre_NF, mesh, each)
            kept = largest_of_batch(candidates, n_keep, mesh, n_tokens=N, n_features=F)
            of_batch_NF = first_among_equals(pre_NF, n_keep)
            assert torch.equal(Codes(*kept, each).dense(), own_share(of_batch_NF, mesh)), n_keep
            assert least_kept(kept.values_NK, mesh) == of_batch_NF[of_batch_NF > 0].min()
        x_ND = torch.randn(N, D, generator=torch.Generator().manual_seed(4))
        whole, ours = moments(x_ND), whole_moments(mesh.own_tokens(x_ND), mesh)
        assert ours.n == whole.n
        torch.testing.assert_close(ours.mean_D, whole.mean_D)
        torch.testing.assert_close(ours.variation, whole.variation)
        assert mesh.told(lambda: {"rank": mesh.rank}) == {"rank": 0}
        rows = torch.arange(F)[mesh.own_features(F)]
        together = mesh.whole(rows)
        assert (together is not None) == mesh.is_first
        assert together is None or together.tolist() == list(range(F))
        with pytest.raises(ConfigError, match="4 processes cannot be split into 3 shares"):
            joined_mesh(n_feature_ranks=3)


def test_four_ranks_select_and_sum_as_one_does(tmp_path):
    assert run_ranks(4, compare, tmp_path) == [0] * 4, said(tmp_path)


def test_the_reference_of_these_ties_is_that_of_the_kernels():
    pre_NF, no_bias_F = tied(), torch.zeros(F)
    pairs = select_batch_reference(pre_NF, no_bias_F, torch.eye(F), no_bias_F, 5)
    values = Codes(*pairs, F).dense().flatten().sort().values
    assert torch.equal(values, first_among_equals(pre_NF, 5).flatten().sort().values)


def test_shares_of_a_batch_are_neighbours_and_leave_nothing_out():
    batch = torch.arange(7.0)[:, None]
    meshes = [Mesh(rank=rank, n_data_ranks=3) for rank in range(3)]
    shares = [mesh.own_tokens(batch) for mesh in meshes]
    assert torch.equal(torch.cat(shares), batch)
    assert [mesh.first_token(7) for mesh in meshes] == [int(share[0]) for share in shares] == [0, 3, 5]


def test_a_mesh_of_one_exchanges_nothing():
    x_ND = torch.ones(2, 3)
    assert ALONE.sum_over_all(x_ND) is x_ND and ALONE.told(lambda: 5) == 5
    assert ALONE.gather_from_all(x_ND[0], padding=0.0).tolist() == [1, 1, 1]


@pytest.mark.parametrize(
    ("name", "n_dims", "divided"),
    [
        ("trainee.W_enc_FD", 2, True),
        ("adam.W_dec_FD.exp_avg", 2, True),
        ("adam.b_enc_F.step", 0, False),
        ("trainee.silence.tokens_F", 1, True),
        ("adam.b_pre_D.exp_avg", 1, False),
        ("generator", 1, False),
    ],
)
def test_what_is_divided_is_told_by_its_shape_letters(name, n_dims, divided):
    assert is_divided(name, n_dims) is divided


@pytest.mark.parametrize(
    ("kind", "mesh", "settings", "reason"),
    [
        (
            Gated(n_features=8),
            Mesh(n_data_ranks=2),
            {},
            "Gated is trained by one process; several can train TopK, Batch",
        ),
        (TopK(n_features=9, k=2), Mesh(n_feature_ranks=2), {}, "9 features cannot be split evenly over 2 processes"),
        (
            TopK(n_features=8, k=2),
            Mesh(n_data_ranks=2),
            {"batch_size": 9},
            "a batch of 1 tokens cannot be split over 2",
        ),
        (TopK(n_features=8, k=2), Mesh(n_data_ranks=2), {"n_tokens": 65, "batch_size": 64}, "a batch of 1 tokens"),
    ],
)
def test_what_cannot_be_shared_is_refused_before_work_starts(kind, mesh, settings, reason, tmp_path: Path):
    store = FakeStore(tmp_path / "activations", world(n_true=8, d_model=4, n_tokens=100).x_ND)
    with pytest.raises(ConfigError, match=reason):
        train(store, kind, out=tmp_path / "d", settings=TrainSettings(**settings), mesh=mesh)
    assert not (tmp_path / "d.partial").exists()


def test_several_processes_need_a_folder():
    with pytest.raises(ConfigError, match="give out"):
        train([torch.randn(64, 4)], TopK(n_features=8, k=2), mesh=Mesh(n_data_ranks=2))
