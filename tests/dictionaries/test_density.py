"""Sparse or dense steps: the path follows the last batch, and the log says once each way that it changed."""

import logging

import pytest
import torch

from bathyscope.dictionaries.density import Density

X_ND = torch.zeros(1, 4)


def test_the_log_has_a_line_when_steps_become_dense_and_one_when_sparse_again(caplog: pytest.LogCaptureFixture):
    density = Density(100)
    with caplog.at_level(logging.INFO, "bathyscope"):
        assert not density.is_sparse(X_ND) and not caplog.messages, "nothing is known yet, so nothing changed"
        taken = list[bool]()
        for n_pairs in (10.0, 60.0, 70.0, 25.0, 60.0, 10.0):
            density.begin_at(torch.tensor(n_pairs))
            taken.append(density.is_sparse(X_ND))
    assert taken == [True, False, False, True, False, True]
    assert caplog.messages == [
        "60 of 100 features a token: steps are dense from here (sparse steps pay up to 25)",
        "25 of 100 features a token: steps are sparse again from here (sparse steps pay up to 25)",
    ]


def test_a_run_that_stays_sparse_says_nothing(caplog: pytest.LogCaptureFixture):
    density = Density(100)
    density.begin_at(torch.tensor(10.0))
    with caplog.at_level(logging.INFO, "bathyscope"):
        assert density.is_sparse(X_ND) and not caplog.messages


def test_numbers_that_no_kernel_takes_are_dense_and_no_line_blames_the_codes(caplog: pytest.LogCaptureFixture):
    density = Density(100)
    density.begin_at(torch.tensor(10.0))
    with caplog.at_level(logging.INFO, "bathyscope"):
        assert not density.is_sparse(X_ND.bfloat16()) and not caplog.messages
