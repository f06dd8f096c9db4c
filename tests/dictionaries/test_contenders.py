"""The k largest of each row, found block by block, against the selection from whole rows."""

import numpy as np
import pytest
import torch
from torch import Tensor

from bathyscope.dictionaries.kernels import encode
from bathyscope.dictionaries.kernels.contenders import Contenders
from bathyscope.dictionaries.kernels.select import Pairs, select_largest_compiled


def found(pre_NF: Tensor, bias_F: Tensor, k: int, *, width: int, absolute: bool) -> tuple[Pairs, np.ndarray]:
    contenders = Contenders(len(pre_NF), k, dtype=pre_NF.dtype, absolute=absolute)
    for block_NM, bias_M in zip(pre_NF.split(width, dim=1), bias_F.split(width), strict=True):
        contenders.take(block_NM.contiguous(), bias_M)
    return contenders.largest()


def draw(*shape: int, seed: int = 0, dtype: torch.dtype = torch.float32) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


@pytest.mark.parametrize("width", [16, 100, 700])
@pytest.mark.parametrize("k", [1, 8, 50])
@pytest.mark.parametrize("absolute", [False, True])
@pytest.mark.parametrize("n_digits", [None, 1])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_blocks_give_what_whole_rows_give(width, k, absolute, n_digits, dtype):
    pre_NF, bias_F = draw(40, 700, seed=k, dtype=dtype), draw(700, seed=1, dtype=dtype)
    if n_digits is not None:  # many entries are equal: the lowest columns win
        pre_NF, bias_F = pre_NF.round(decimals=n_digits), bias_F.round()
    pairs, is_whole_N = found(pre_NF, bias_F, k, width=width, absolute=absolute)
    wanted = select_largest_compiled(pre_NF.clone(), bias_F, k, absolute=absolute)
    assert is_whole_N.all()
    assert torch.equal(pairs.indices_NK, wanted.indices_NK)
    assert torch.equal(pairs.values_NK, wanted.values_NK)


def test_rising_rows_fill_the_list_again_and_again():
    pre_NF = torch.arange(5000.0).repeat(3, 1)
    pairs, _ = found(pre_NF, torch.zeros(5000), 7, width=333, absolute=False)
    assert pairs.indices_NK.tolist() == [list(range(4993, 5000))] * 3


def test_infinite_entries_are_kept():
    pre_NF = draw(2, 900)
    pre_NF[0, [5, 800]] = torch.inf
    pre_NF[1, :890] = -torch.inf
    pairs, is_whole_N = found(pre_NF, torch.zeros(900), 4, width=100, absolute=False)
    assert is_whole_N.all()
    assert {5, 800} <= set(pairs.indices_NK[0].tolist())
    assert int(pairs.values_NK[0].isinf().sum()) == 2
    assert set(pairs.indices_NK[1].tolist()) <= set(range(890, 900))


def test_a_row_with_too_few_numbers_is_said_to_be_none():
    pre_NF = draw(3, 200)
    pre_NF[1, 3:] = torch.nan
    pre_NF[2, :] = -torch.inf
    assert found(pre_NF, torch.zeros(200), 4, width=64, absolute=False)[1].tolist() == [True, False, False]


@pytest.mark.parametrize("k", [3, 40])
def test_encoding_by_blocks_equals_encoding_by_rows_with_nan_in_some_tokens(k, monkeypatch):
    monkeypatch.setattr(encode, "CHUNK_BYTES", 64 * 30 * 4)
    monkeypatch.setattr(encode, "BLOCK_ROWS", 30)
    x_ND, W_enc_FD, b_enc_F = draw(70, 6), draw(900, 6, seed=1), draw(900, seed=2)
    x_ND[[4, 33]] = torch.nan
    pairs = encode.largest_compiled(x_ND, W_enc_FD, b_enc_F, k)
    wanted = select_largest_compiled(x_ND @ W_enc_FD.T, b_enc_F, k)
    assert torch.equal(pairs.indices_NK, wanted.indices_NK)
    torch.testing.assert_close(pairs.values_NK, wanted.values_NK, equal_nan=True)
    assert pairs.values_NK[[4, 33]].isnan().all()
