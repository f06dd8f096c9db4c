"""Truth: which tokens are rare events, and that a folder gives back what was put in."""

import pytest
import torch

from bathyscope import artifacts
from bathyscope.artifacts import Recipe
from bathyscope.errors import ArtifactError, ConfigError
from bathyscope.risk.worlds.truth import KIND, Truth, read_truth, save_truth
from bathyscope.risk.worlds.zipf_law import ZipfLawSettings, zipf_law

P_V = torch.tensor([0.9, 1e-5, 0.0, 2e-5, 3e-9, 0.1 - 3e-5], dtype=torch.float64)
TRUTH = Truth(p_V=P_V, low_V=P_V * torch.tensor([1, 0.9, 1, 0.3, 0.9, 1]), high_V=P_V * 1.1, n_inputs=1000)
LAW = zipf_law(ZipfLawSettings(n_positions=2, n_options=3), n_vocabulary=6)


def test_events_lie_within_the_range_and_are_well_known():
    assert TRUTH.events(1e-9, 1e-4) == (1, 4), "token 3 is known to a factor of 3.7 only"
    assert TRUTH.events(1e-9, 1e-4, within=4.0) == (3, 1, 4)
    assert TRUTH[4] == 3e-9
    with pytest.raises(ConfigError, match="no probability lies between"):
        TRUTH.events(1e-4, 1e-9)


def test_a_folder_gives_back_truth_and_law_bit_by_bit(tmp_path):
    with artifacts.draft(tmp_path / "truth", Recipe(kind=KIND, config={})) as work:
        save_truth(TRUTH, LAW, work.path)
    truth, law = read_truth(tmp_path / "truth")
    assert truth.n_inputs == 1000 and (law.sha256, law.name) == (LAW.sha256, LAW.name)
    for name in ("p_V", "low_V", "high_V"):
        assert torch.equal(getattr(truth, name), getattr(TRUTH, name))


def test_a_folder_of_another_kind_is_refused(tmp_path):
    with artifacts.draft(tmp_path / "other", Recipe(kind="model", config={})):
        pass
    with pytest.raises(ArtifactError, match="expected 'truth'"):
        read_truth(tmp_path / "other")
