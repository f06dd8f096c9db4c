"""Triton kernels against the plain references, on a CPU through Triton's interpreter: values and every gradient.

`TRITON_INTERPRET=0 .venv/bin/pytest tests/dictionaries/test_kernels_gpu*.py` runs the same on a GPU.
"""

import math
from collections.abc import Iterator

import pytest
import torch
from dictionaries.on_triton import (
    DEVICE,
    D,
    F,
    K,
    N,
    by_column,
    close,
    compiled_for_a_cpu,
    draw,
    encoder_leaves,
    gradients,
    leaf,
    on_triton,
    some_features,
)
from torch import Tensor

from bathyscope.dictionaries.jumprelu import JumpReLU
from bathyscope.dictionaries.kernels import (
    auxiliary,
    decode,
    encode,
    engine,
    error,
    nested,
    rows,
    select,
    unit_rows,
)
from bathyscope.dictionaries.kernels.gpu.graph import WARM_UPS, CapturedStep
from bathyscope.dictionaries.topk import TopK
from bathyscope.errors import DeviceError

pytest.importorskip("triton")


@pytest.fixture(autouse=True)
def everywhere(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    with on_triton(monkeypatch):
        yield


# --------------------------------------------------------------------------------------------------------- selection


@pytest.mark.parametrize("absolute", [False, True])
def test_selection_equals_the_compiled_one_with_ties_nan_and_infinities(absolute, monkeypatch):
    from bathyscope.dictionaries.kernels.gpu import largest

    monkeypatch.setattr(largest, "BLOCK", 64)  # 300 columns are more than a block
    pre_NF = draw(6, F).mul(2).round()
    pre_NF[1], pre_NF[2, 7], pre_NF[3], pre_NF[3, 5] = -0.0, torch.nan, torch.nan, -1
    pre_NF[4, 9], pre_NF[5], pre_NF[5, 3] = torch.inf, -torch.inf, torch.nan
    found = select.Pairs(*(t.cpu() for t in select.select_largest(pre_NF, 4, absolute=absolute)))
    with compiled_for_a_cpu(monkeypatch):
        wanted = select.select_largest(pre_NF.cpu(), 4, absolute=absolute)
    assert torch.equal(found.values_NK.isnan().sum(1), wanted.values_NK.isnan().sum(1))
    sure = [0, 1, 2, 4, 5]  # row 3 has fewer than k numbers and gets NaN from any columns
    assert torch.equal(found.indices_NK[sure], wanted.indices_NK[sure])
    assert torch.equal(found.values_NK[sure], wanted.values_NK[sure])
    assert 5 in found.indices_NK[3] and int(found.values_NK[3].isnan().sum()) == 3


@pytest.mark.parametrize("absolute", [False, True])
@pytest.mark.parametrize("per_tile", [None, 1, 2])
def test_encode_equals_its_reference_with_every_gradient(absolute, per_tile, monkeypatch):
    from bathyscope.dictionaries.kernels.gpu import product

    if per_tile:  # too few candidates in a tile: those that may be left out are computed again
        monkeypatch.setattr(product, "candidates_per_tile", lambda n_features, k: per_tile)
    leaves = encoder_leaves(offset=0 if absolute else -4)
    weight = draw(N, F, seed=9)
    outcomes = []
    for function in (encode.encode_largest, encode.encode_largest_reference):
        pairs = function(*leaves, K, absolute=absolute)
        scalar = (pairs.values_NK * weight.gather(1, pairs.indices_NK)).sum()
        outcomes.append((by_column(pairs), gradients(scalar, leaves)))
    (found, found_gradients), (wanted, wanted_gradients) = outcomes
    assert torch.equal(found[1], wanted[1])
    close(found[0], wanted[0])
    close(found_gradients, wanted_gradients)


@pytest.mark.parametrize("k", [1, 130, F])
def test_encode_is_exact_when_k_is_more_than_a_tile_holds(k):
    leaves = encoder_leaves()
    found, wanted = encode.encode_largest(*leaves, k), encode.encode_largest_reference(*leaves, k)
    close(found.values_NK, by_column(wanted)[0])
    assert torch.equal(found.indices_NK, by_column(wanted)[1])


@pytest.mark.parametrize("per_tile", [1, 2, 3])
def test_equal_pre_activations_give_the_lowest_features_however_they_lie_in_tiles(per_tile, monkeypatch):
    from bathyscope.dictionaries.kernels.gpu import product

    monkeypatch.setattr(product, "candidates_per_tile", lambda n_features, k: per_tile)
    W_enc_FD, b_enc_F = torch.zeros(F, D), torch.zeros(F)
    b_enc_F[[130, 140, 150, 290]] = 1.0
    pairs = encode.encode_largest(draw(2, D), torch.zeros(D), W_enc_FD, b_enc_F, 7)
    assert pairs.indices_NK.tolist() == [[0, 1, 2, 130, 140, 150, 290]] * 2
    assert pairs.values_NK.tolist() == [[0, 0, 0, 1, 1, 1, 1]] * 2


def test_encode_hides_neither_nan_nor_infinity():
    x_ND, b_pre_D, W_enc_FD, b_enc_F = (t.detach() for t in encoder_leaves())
    x_ND[1], x_ND[2, 0] = torch.nan, torch.inf
    b_enc_F[7] = torch.inf
    values = encode.encode_largest(x_ND, b_pre_D, W_enc_FD, b_enc_F, K).values_NK
    assert values[1].isnan().all() and values[2].isinf().any()
    assert values[0].max() == torch.inf and values[0].isfinite().sum() == K - 1


def test_a_batch_cut_into_parts_and_an_empty_batch_encode_the_same(monkeypatch):
    from bathyscope.dictionaries.kernels.gpu import encode as on_gpu

    leaves = [t.detach() for t in encoder_leaves()]
    wanted = encode.encode_largest(*leaves, K)
    monkeypatch.setattr(on_gpu, "WORKSPACE_BYTES", 20_000)
    found = encode.encode_largest(*leaves, K)
    assert torch.equal(found.indices_NK, wanted.indices_NK) and torch.equal(found.values_NK, wanted.values_NK)
    assert encode.encode_largest(torch.empty(0, D), *leaves[1:], K).values_NK.shape == (0, K)


def test_few_candidates_are_kept_of_each_tile_of_a_wide_dictionary():
    from bathyscope.dictionaries.kernels.gpu.product import MOST_PER_TILE, candidates_per_tile

    found = [candidates_per_tile(131_072, k) for k in (32, 64)]
    assert found == sorted(found) and found[-1] <= 8
    assert candidates_per_tile(256, 64) > MOST_PER_TILE
    for k in (1, 32):  # Poisson tail, by hand
        m, mean = candidates_per_tile(16_384, k), 4 * k / 128
        tail = [1 - sum(math.exp(-mean) * mean**j / math.factorial(j) for j in range(upto + 1)) for upto in (m - 1, m)]
        assert tail[1] * 128 <= 0.01 < tail[0] * 128


def test_half_precision_is_summed_in_float32_and_rounded_once():
    """In float16: Triton's interpreter multiplies the bits of bfloat16 as if they were integers."""
    x_ND, b_pre_D, W_enc_FD, b_enc_F = (t.detach().half() for t in encoder_leaves())
    found = encode.encode_largest(x_ND, b_pre_D, W_enc_FD, b_enc_F, K)
    exact_NF = (x_ND - b_pre_D).double() @ W_enc_FD.double().T + b_enc_F.double()
    assert found.values_NK.dtype == torch.float16
    assert torch.equal(found.indices_NK, exact_NF.topk(K, dim=1).indices.sort(1).values)
    wanted = exact_NF.gather(1, found.indices_NK).relu().half()
    torch.testing.assert_close(found.values_NK, wanted, rtol=1e-3, atol=0)


# ---------------------------------------------------------------------------------------------------- sums of rows


def test_pairs_are_sorted_by_feature_then_token_with_the_zeros_behind():
    values_NK = torch.tensor([[1.0, 0.0], [2.0, 3.0], [4.0, -5.0]])
    indices_NK = torch.tensor([[2, 1], [0, 2], [0, 2]])
    found = rows.by_feature(values_NK, indices_NK, 4)
    assert found.offsets.tolist() == [0, 2, 2, 5, 5]
    assert found.pairs.tolist() == [2, 4, 0, 3, 5, 1]


@pytest.mark.parametrize("name", ["decode", "error"])
def test_decode_and_error_equal_their_references_with_every_gradient(name):
    values_NK, indices_NK = leaf(N, K, seed=1), some_features()
    with torch.no_grad():
        values_NK[:, -1] = 0  # an unfired pair: its value still has a gradient
    leaves = [values_NK, leaf(F, D, seed=2), leaf(D, seed=3)]
    if name == "decode":
        functions = (decode.decode_pairs, decode.decode_pairs_reference)
        outcomes = [(f(values_NK, indices_NK, *leaves[1:]),) for f in functions]
        scalars = [(o[0] * draw(N, D, seed=4)).sum() for o in outcomes]
    else:
        x_ND = leaf(N, D, seed=5)
        functions = (error.reconstruction_error, error.reconstruction_error_reference)
        outcomes = [f(x_ND, values_NK, indices_NK, *leaves[1:]) for f in functions]
        scalars, leaves = [3 * o.squared for o in outcomes], [x_ND, *leaves]
    close(outcomes[0], outcomes[1])
    close(gradients(scalars[0], leaves), gradients(scalars[1], leaves))


def test_sums_over_more_pairs_and_columns_than_a_program_reads_at_once():
    n_features, n_d, k = 3, 300, 37
    values_NK, x_ND, rows_FD = draw(4, k), draw(4, n_d, seed=1), draw(n_features, n_d, seed=2)
    indices_NK = torch.arange(4 * k).reshape(4, k) % 2  # feature 2 stays silent
    dense_NF = torch.zeros(4, n_features).scatter_add(1, indices_NK, values_NK)
    gathered = rows.gather_tokens(rows.by_feature(values_NK, indices_NK, n_features), values_NK, x_ND, factor=2.0)
    close(gathered, 2 * dense_NF.T @ x_ND)
    assert torch.equal(gathered[2], torch.zeros(n_d))
    out_ND = x_ND.clone()
    rows.mix_rows(values_NK, indices_NK, rows_FD, out_ND)
    close(out_ND, x_ND + dense_NF @ rows_FD)
    residual_ND, squared, along_NK = rows.residual_rows(x_ND, values_NK, indices_NK, rows_FD, x_ND[0])
    close(residual_ND, x_ND - x_ND[0] - dense_NF @ rows_FD)
    close(squared, residual_ND.double().square().sum())
    close(along_NK, (residual_ND @ rows_FD.T).gather(1, indices_NK))
    close(rows.compare_rows(x_ND, rows_FD, indices_NK), (x_ND @ rows_FD.T).gather(1, indices_NK))


def test_rows_of_sixteen_bits_are_summed_in_float32():
    values_NK, W_dec_FD, b_dec_D = (draw(*shape, seed=1).bfloat16() for shape in ((N, K), (F, D), (D,)))
    found = decode.decode_pairs(values_NK, some_features(), W_dec_FD, b_dec_D)
    wanted = decode.decode_pairs_reference(values_NK.double(), some_features(), W_dec_FD.double(), b_dec_D.double())
    assert found.dtype == torch.bfloat16
    torch.testing.assert_close(found.double(), wanted, rtol=0.01, atol=0.02)


def test_nan_codes_show_in_the_reconstruction():
    values_NK = torch.ones(N, K)
    values_NK[2, 1] = torch.nan
    guess_ND = decode.decode_pairs(values_NK, some_features(), draw(F, D), draw(D))
    assert guess_ND[2].isnan().all() and guess_ND[[0, 1, 3]].isfinite().all()


@pytest.mark.parametrize("sizes", [(F,), (0, 40, 200)])
def test_nested_errors_equal_their_reference_with_every_gradient(sizes):
    values_NK = leaf(N, K, seed=1)
    with torch.no_grad():
        values_NK[:, 0] = 0
    leaves = [leaf(N, D, seed=5), values_NK, leaf(F, D, seed=2), leaf(D, seed=3)]
    outcomes = []
    for function in (nested.nested_error, nested.nested_error_reference):
        found = function(leaves[0], values_NK, some_features(), *leaves[2:], sizes)
        weight_G = torch.arange(1.0, len(sizes) + 1)
        outcomes.append((found, gradients((weight_G * found.squared_G).sum(), leaves)))
    close(outcomes[0], outcomes[1])


def test_row_constraints_equal_their_references():
    W_dec_FD = torch.nn.Parameter(draw(7, 20))
    with torch.no_grad():
        W_dec_FD[3] = 0
    wanted = unit_rows.unit_rows_reference(W_dec_FD.detach())
    unit_rows.unit_rows(W_dec_FD)
    close(W_dec_FD.detach(), wanted)
    W_dec_FD.grad = draw(7, 20, seed=1)
    wanted = unit_rows.projected_reference(W_dec_FD.grad, W_dec_FD.detach())
    unit_rows.project_gradient(W_dec_FD)
    close(W_dec_FD.grad, wanted)


# ------------------------------------------------------------------------------------------------ whole dictionaries


@pytest.mark.parametrize(
    "kind", [TopK(n_features=140, k=3, k_anneal=0.0, dead_after_tokens=1), JumpReLU(n_features=140, l0=3)]
)
def test_a_step_of_training_equals_that_of_the_references(kind, monkeypatch):
    monkeypatch.setattr(engine, "COMPILED", ())
    outcomes = []
    for devices in ((DEVICE,), ()):
        monkeypatch.setattr(engine, "TRITON_DEVICES", devices)
        with torch.device("cpu"):
            trainee = kind.build(D, generator=torch.Generator().manual_seed(0))
            trainee.start(draw(16, D, seed=8).cpu())
        trainee.to(DEVICE)
        loss = trainee.loss(draw(16, D, seed=8))
        loss.total.backward()
        trainee.before_step()
        outcomes.append([loss.total.detach(), *(p.grad for p in trainee.parameters())])
    torch.testing.assert_close(outcomes[0], outcomes[1], rtol=1e-4, atol=1e-4)


def test_dead_features_guess_from_their_rows_alone():
    leaves, dead_F = encoder_leaves(), torch.arange(F) % 50 == 0
    weights = (leaves[2], leaves[3], leaf(F, D, seed=4))
    found = auxiliary.auxiliary_guess(leaves[0], dead_F, *weights, 4)
    close(found, auxiliary.auxiliary_guess_reference(leaves[0], dead_F, *weights, 4))


def recorded_and_not(is_recorded: bool) -> list[float]:
    """Losses of two batches after the warm-up on a third one."""
    weights = [torch.nn.Parameter(t) for t in (draw(D), draw(F, D, seed=1), draw(F, seed=2), draw(F, D, seed=3))]
    adam = torch.optim.Adam(weights, lr=0.01, capturable=True)

    def step(x_ND: Tensor) -> Tensor:
        pairs = encode.encode_largest(x_ND, *weights[:3], K)
        squared = error.reconstruction_error(x_ND, *pairs, weights[3], weights[0]).squared
        adam.zero_grad()
        squared.backward()
        adam.step()
        return squared.detach()

    batches = [draw(N, D, seed=seed) for seed in range(3)]
    if is_recorded:
        step_of = CapturedStep(step, batches[0])
        return [float(step_of(x_ND)) for x_ND in batches[1:]]
    return [float(step(x_ND)) for x_ND in (*[batches[0]] * WARM_UPS, *batches[1:])][WARM_UPS:]


@pytest.mark.skipif(DEVICE == "cpu", reason="CUDA graphs need a GPU")
def test_a_recorded_step_learns_what_it_learns_without_a_recording():
    assert recorded_and_not(True) == recorded_and_not(False)


@pytest.mark.skipif(DEVICE == "cuda", reason="this step has a GPU")
def test_a_step_without_a_gpu_cannot_be_recorded():
    with pytest.raises(DeviceError, match="a step on cpu cannot be recorded"):
        CapturedStep(lambda x_ND: x_ND, torch.zeros(1))
