"""Zipfian laws: weights by rank, tokens of their own at every position."""

import pytest
import torch

from bathyscope.errors import ConfigError
from bathyscope.risk.worlds.gpt2 import BOS
from bathyscope.risk.worlds.zipf_law import ZipfLawSettings, zipf_law


def test_weights_fall_with_the_rank_as_stated():
    law = zipf_law(ZipfLawSettings(n_positions=3, n_options=4, exponent=1.3), n_vocabulary=20)
    assert law.support[0].tolist() == [BOS] and law.n_positions == 4
    weights = [(1 + rank) ** -1.3 for rank in range(4)]
    for log_p_K in law.log_p[1:]:
        found = sorted(log_p_K.exp().tolist(), reverse=True)
        assert found == pytest.approx([weight / sum(weights) for weight in weights], rel=1e-12)


def test_positions_have_their_own_tokens_in_their_own_order_and_never_the_beginning():
    law = zipf_law(ZipfLawSettings(n_positions=3, n_options=8), n_vocabulary=20)
    assert not torch.equal(law.support[1], law.support[2]) and not torch.equal(law.log_p[1], law.log_p[2])
    assert all(BOS not in ids_K.tolist() for ids_K in law.support[1:])


def test_the_seed_decides_the_law():
    digests = [zipf_law(ZipfLawSettings(seed=seed), n_vocabulary=40).sha256 for seed in (1, 1, 2)]
    assert digests[0] == digests[1] != digests[2]


def test_more_options_than_tokens_are_refused():
    with pytest.raises(ConfigError, match="24 options of a vocabulary of 24"):
        zipf_law(ZipfLawSettings(n_options=24), n_vocabulary=24)
    with pytest.raises(ConfigError, match="at least one position"):
        ZipfLawSettings(n_positions=0)
