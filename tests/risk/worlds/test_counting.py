"""Counting: it finds what enumeration finds, within its intervals, and resumes to the same counts."""

import math

import pytest
import torch
from risk.worlds.random_folder import random_folder

from bathyscope import artifacts, progress
from bathyscope.errors import ConfigError
from bathyscope.files import read_json
from bathyscope.risk.worlds import counting
from bathyscope.risk.worlds.counting import CountSettings, count_tokens, counted
from bathyscope.risk.worlds.enumeration import enumerate_tokens
from bathyscope.risk.worlds.zipf_law import ZipfLawSettings, zipf_law

LAW = zipf_law(ZipfLawSettings(n_positions=3, n_options=5), n_vocabulary=24)


class Interrupted(Exception):
    pass


def at_most(k, n, p):
    """P(Binomial(n, p) ≤ k), term by term."""
    return math.fsum(math.comb(n, i) * p**i * (1 - p) ** (n - i) for i in range(k + 1))


def test_counts_agree_with_the_enumerated_truth(tmp_path):
    folder = random_folder(tmp_path / "model")
    exact = enumerate_tokens(folder, LAW, out=tmp_path / "exact")
    found = count_tokens(folder, LAW, CountSettings(n_samples=50_000), out=tmp_path / "counted")
    n_V = 50_000 * exact.p_V
    off_V = (50_000 * found.p_V - n_V).abs()
    assert bool((off_V <= 5 * n_V.sqrt()).all()) and int((n_V > 100).sum()) > 5
    inside_V = (found.low_V <= exact.p_V) & (exact.p_V <= found.high_V)
    assert int(inside_V.sum()) >= 20, "of 24 intervals of 95 %"


def test_bounds_are_clopper_and_pearsons():
    truth = counted(torch.tensor([975, 25, 0]))
    assert truth.n_inputs == 1000 and truth[1] == 0.025
    low, high = float(truth.low_V[1]), float(truth.high_V[1])
    assert at_most(25, 1000, high) == pytest.approx(0.025, rel=1e-6)
    assert 1 - at_most(24, 1000, low) == pytest.approx(0.025, rel=1e-6)
    assert (float(truth.low_V[2]), float(truth.high_V[2])) == pytest.approx((0, 1 - 0.05 ** (1 / 1000)))


def test_an_interrupted_count_goes_on_to_the_same_bytes(tmp_path, monkeypatch):
    monkeypatch.setattr(counting, "CHUNK", 1500)
    folder, settings = random_folder(tmp_path / "model"), CountSettings(n_samples=4000)

    def interrupt(step: progress.Step) -> None:
        if step.done == 3000:
            raise Interrupted

    with pytest.raises(Interrupted), progress.listening(interrupt):
        count_tokens(folder, LAW, settings, out=tmp_path / "cut")
    seen: list[int] = []
    with progress.listening(lambda step: seen.append(step.done)):
        count_tokens(folder, LAW, settings, out=tmp_path / "cut")
    count_tokens(folder, LAW, settings, out=tmp_path / "whole")
    assert artifacts.verify(tmp_path / "cut").digest == artifacts.verify(tmp_path / "whole").digest
    assert seen == [3000, 4000]
    assert sum(read_json(tmp_path / "cut" / "truth.json")["counts"]) == 4000


def test_no_samples_are_refused():
    with pytest.raises(ConfigError, match="n_samples is 0"):
        CountSettings(n_samples=0)
