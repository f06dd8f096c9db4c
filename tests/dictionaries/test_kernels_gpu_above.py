"""What lies above a bound, and the largest of a batch, in Triton against the plain references: see `on_triton.py`."""

import math
from collections.abc import Iterator

import pytest
import torch
from dictionaries.on_triton import D, F, K, N, close, draw, encoder_leaves, gradients, leaf, on_triton, some_features

from bathyscope.dictionaries.kernels import above, jump

pytest.importorskip("triton")


@pytest.fixture(autouse=True)
def everywhere(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    with on_triton(monkeypatch):
        yield


def test_encode_above_equals_its_reference_with_every_gradient():
    leaves = encoder_leaves()
    bound_F, weight = draw(F, seed=7) + 4, draw(N, F, seed=9)
    outcomes = []
    for function in (above.encode_above_counted, above.encode_above_reference):
        kept = function(*leaves, bound_F)
        scalar = (kept.values_NK * weight.gather(1, kept.indices_NK)).sum()
        outcomes.append((kept, gradients(scalar, leaves)))
    (found, found_gradients), (wanted, wanted_gradients) = outcomes
    assert wanted.n_kept_N.max() > 3 and wanted.n_kept_N.min() < wanted.n_kept_N.max()
    assert torch.equal(found.indices_NK, wanted.indices_NK) and torch.equal(found.n_kept_N.long(), wanted.n_kept_N)
    close(found.values_NK, wanted.values_NK)
    close(found_gradients, wanted_gradients)


def test_encode_above_makes_room_where_more_lies_above_than_was_guessed():
    leaves = [t.detach() for t in encoder_leaves()]
    found = above.encode_above(*leaves, -math.inf)
    assert torch.equal(found.indices_NK, torch.arange(F).expand(N, F))


def test_encode_above_shows_one_nan_of_each_token():
    x_ND, *weights = (t.detach() for t in encoder_leaves())
    x_ND[1] = torch.nan
    weights[2][[3, 200]] = torch.nan  # of b_enc
    kept = above.encode_above_counted(x_ND, *weights, math.inf)
    assert kept.n_kept_N.tolist() == [1] * N
    assert kept.values_NK[:, 0].isnan().all()
    assert kept.indices_NK[:, 0].tolist() == [3, 0, *[3] * (N - 2)]


@pytest.mark.parametrize("n_keep", [1, 40, N * F])
def test_batch_selection_equals_its_reference_with_every_gradient(n_keep):
    leaves, weight = encoder_leaves(), draw(N, F, seed=9)
    outcomes = []
    for function in (above.select_batch, above.select_batch_reference):
        pairs = function(*leaves, n_keep)
        scalar = (pairs.values_NK * weight.gather(1, pairs.indices_NK)).sum()
        outcomes.append((pairs, gradients(scalar, leaves)))
    (found, found_gradients), (wanted, wanted_gradients) = outcomes
    assert torch.equal(found.indices_NK, wanted.indices_NK)
    close(found.values_NK, wanted.values_NK)
    close(found_gradients, wanted_gradients)


def test_batch_selection_takes_the_first_among_equals_and_lowers_a_bound_that_was_too_high(monkeypatch):
    from bathyscope.dictionaries.kernels.gpu import above as on_gpu

    asked = []
    sample = on_gpu._sample
    monkeypatch.setattr(on_gpu, "_sample", lambda encoder: asked.append(1) or sample(encoder) + 100)
    b_enc_F = torch.zeros(F)
    b_enc_F[[5, 150, 250]] = 1.0
    pairs = above.select_batch(torch.zeros(4, D), torch.zeros(D), torch.zeros(F, D), b_enc_F, 8)
    assert asked and pairs.values_NK.tolist() == [[1, 1, 1], [1, 1, 1], [1, 1, 0], [0, 0, 0]]
    assert pairs.indices_NK.tolist() == [[5, 150, 250], [5, 150, 250], [5, 150, 0], [0, 0, 0]]


def test_thresholds_of_features_get_the_summed_gradient_of_their_pairs():
    threshold_F, indices_NK, weight_NK = leaf(F, seed=0), some_features() % 7, draw(N, K, seed=1)
    (found,) = gradients((jump.at_features(threshold_F, indices_NK) * weight_NK).sum(), [threshold_F])
    (wanted,) = gradients((threshold_F[indices_NK] * weight_NK).sum(), [threshold_F])
    close(found, wanted)
