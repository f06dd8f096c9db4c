"""Silence is counted in tokens."""

import torch

from bathyscope.dictionaries.dead import Silence

FIRES = torch.tensor([3, 0, 0])


def test_counts_are_tokens_not_steps():
    silence = Silence(3)
    silence.update(FIRES, 100)
    silence.update(torch.tensor([0, 1, 0]), 50)
    assert silence.tokens_F.tolist() == [50, 0, 150]
    assert silence.dead(100).tolist() == [False, False, True]


def test_looking_ahead_changes_nothing():
    silence = Silence(3)
    assert silence.after(FIRES, 7).tolist() == [0, 7, 7]
    assert silence.tokens_F.tolist() == [0, 0, 0]


def test_counts_are_exact_beyond_float_precision_and_survive_half():
    silence = Silence(3)
    silence.tokens_F += 2**40
    silence.half().update(FIRES, 1)
    assert silence.tokens_F.tolist() == [0, 2**40 + 1, 2**40 + 1]
