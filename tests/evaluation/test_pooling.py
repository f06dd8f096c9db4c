"""Means over tokens: as of one text at a time, blind to padding and special tokens, one pass for all dictionaries."""

import pytest
import torch
from evaluation.planted_texts import HOOKPOINT, letter_set, reader

from bathyscope.dictionaries.codes import Codes
from bathyscope.errors import ConfigError
from bathyscope.evaluation.pooling import add_codes, length_batches, pool, text_rows
from bathyscope.models.hooks import run

TEXTS = [example.text for example in letter_set(n=14).examples]


def test_pooled_codes_equal_the_mean_over_each_text_alone(tiny_model):
    dictionary = reader(tiny_model)
    rows = text_rows(tiny_model, TEXTS, context=20)
    assert all(row[0] == 257 and len(row) <= 20 for row in rows)
    pooled = pool(tiny_model, HOOKPOINT, rows, {"a": dictionary}, tokens_per_batch=64, sink_multiple=0.0)
    for i, row in enumerate(rows):
        x_SD = run(tiny_model, torch.tensor([row]), HOOKPOINT)[HOOKPOINT][0, 1:]
        torch.testing.assert_close(pooled.residual_TD[i], x_SD.mean(0), atol=1e-5, rtol=1e-5)
        expected_F = dictionary.encode(x_SD).dense().mean(0)
        torch.testing.assert_close(pooled.codes["a"][i], expected_F, atol=1e-4, rtol=1e-4)
        assert int(pooled.tokens_T[i]) == len(row) - 1, "the beginning is a special token"
    assert float(pooled.codes["a"].max()) > 0


def test_the_means_do_not_depend_on_the_batches(tiny_model):
    rows = text_rows(tiny_model, TEXTS, context=40)
    small, large = (
        pool(tiny_model, HOOKPOINT, rows, {"a": reader(tiny_model)}, tokens_per_batch=n, sink_multiple=0.0)
        for n in (1, 4000)
    )
    torch.testing.assert_close(small.residual_TD, large.residual_TD, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(small.codes["a"], large.codes["a"], atol=1e-4, rtol=1e-4)


def test_the_model_runs_once_for_any_number_of_dictionaries(tiny_model):
    rows, calls = text_rows(tiny_model, TEXTS, context=40), []
    dictionaries = {str(n): reader(tiny_model, n_features=20 + n) for n in range(5)}
    tiny_model.network.register_forward_pre_hook(lambda *_: calls.append(1))
    pooled = pool(tiny_model, HOOKPOINT, rows, dictionaries, tokens_per_batch=200, sink_multiple=0.0)
    assert len(calls) == len(length_batches(rows, tokens_per_batch=200))
    assert [codes.shape[1] for codes in pooled.codes.values()] == [20, 21, 22, 23, 24]


def test_batches_hold_every_row_once_and_keep_to_their_size():
    rows = [[0] * n for n in (5, 1, 9, 3, 3, 8, 2)]
    batches = length_batches(rows, tokens_per_batch=12)
    assert sorted(i for batch in batches for i in batch) == list(range(7))
    assert all(len(batch) * max(len(rows[i]) for i in batch) <= 12 for batch in batches)
    assert length_batches([[0] * 50], tokens_per_batch=12) == [[0]]


def test_adding_sparse_codes_equals_adding_dense_ones():
    generator = torch.Generator().manual_seed(0)
    dense_NF = torch.randn(30, 9, generator=generator) * (torch.rand(30, 9, generator=generator) < 0.3)
    of_text_N = torch.randint(0, 4, (30,), generator=generator)
    sums_TF = torch.zeros(4, 9)
    add_codes(sums_TF, of_text_N, Codes.from_dense(dense_NF))
    torch.testing.assert_close(sums_TF, torch.zeros(4, 9).index_add_(0, of_text_N, dense_NF))


def test_a_context_that_the_model_cannot_read_is_refused(tiny_model):
    with pytest.raises(ConfigError, match="context is 129, expected 2 to 128"):
        text_rows(tiny_model, TEXTS, context=129)
