"""Enumerated worlds: several laws over one network, each with its truth and its table of margins."""

import pytest
import torch

from bathyscope import progress
from bathyscope.errors import ConfigError
from bathyscope.risk.inputs.law import draw
from bathyscope.risk.worlds.enumerated import EnumeratedSettings, make_enumerated
from bathyscope.risk.worlds.language import RandomLanguageSettings
from bathyscope.risk.worlds.network import NetworkSettings
from bathyscope.risk.worlds.zipf_law import ZipfLawSettings

TINY = EnumeratedSettings(
    network=NetworkSettings(
        language=RandomLanguageSettings(n_vocabulary=20, sharpness=4.0, zipf=0.0, rank=4),
        d_model=16,
        n_heads=2,
        d_hidden=16,
        n_positions=4,
        n_steps=80,
        lr=3e-2,
        batch_size=32,
    ),
    laws=tuple(ZipfLawSettings(n_positions=2, n_options=9, seed=seed) for seed in (0, 1)),
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Where the tiny worlds are."""
    out = tmp_path_factory.mktemp("enumerated") / "worlds"
    make_enumerated(TINY, out=out)
    return out


def test_each_law_is_a_world_and_margins_repeat_its_truth(folder, tmp_path):
    with progress.listening(lambda step: pytest.fail(f"{step.stage}: everything is there already")):
        one, other = make_enumerated(TINY, out=folder)
    assert one.model is other.model and one.law.sha256 != other.law.sha256
    targets = one.events(1e-6, 0.5)
    assert len(targets) > 3
    assert [one.truth[token] for token in targets] == sorted((one.truth[token] for token in targets), reverse=True)
    margins_NT = one.margins(targets, out=tmp_path / "margins")
    choices_NC = draw(one.law, 20_000, generator=torch.Generator().manual_seed(0))
    shares_T = (margins_NT[one.numbers(choices_NC)] >= 0).double().mean(0)
    for share, token in zip(shares_T.tolist(), targets, strict=True):
        p = one.truth[token]
        assert abs(share - p) <= 5 * (p * (1 - p) / 20_000) ** 0.5


def test_laws_longer_than_the_network_reads_are_refused():
    with pytest.raises(ConfigError, match="the network reads 4 tokens"):
        EnumeratedSettings(network=TINY.network, laws=(ZipfLawSettings(n_positions=4),))
    with pytest.raises(ConfigError, match="give laws"):
        EnumeratedSettings(laws=())
