"""Training on a random language: a model folder, a loss that falls, the same bytes after an interruption."""

import json

import pytest

from bathyscope import artifacts, progress
from bathyscope.dictionaries.checkpoint import METRICS
from bathyscope.errors import ConfigError
from bathyscope.risk.worlds.language import RandomLanguageSettings
from bathyscope.risk.worlds.network import NetworkSettings, train_small_network

LANGUAGE = RandomLanguageSettings(n_vocabulary=12, rank=4)
SIZES = {"n_layers": 1, "d_model": 8, "n_heads": 2, "d_hidden": 8, "n_positions": 5, "batch_size": 16}
TINY = NetworkSettings(language=LANGUAGE, **SIZES, n_steps=6, checkpoint_every=2)


class Interrupted(Exception):
    pass


def test_an_interrupted_training_goes_on_to_the_same_bytes(tmp_path):
    def interrupt(step: progress.Step) -> None:
        if step.done == 4:
            raise Interrupted

    with pytest.raises(Interrupted), progress.listening(interrupt):
        train_small_network(TINY, out=tmp_path / "cut")
    seen: list[int] = []
    with progress.listening(lambda step: seen.append(step.done)):
        train_small_network(TINY, out=tmp_path / "cut")
    train_small_network(TINY, out=tmp_path / "whole")
    digests = [artifacts.verify(tmp_path / name).digest for name in ("cut", "whole")]
    assert digests[0] == digests[1] and seen == [4, 6]


def test_training_lowers_the_loss(tmp_path):
    settings = NetworkSettings(language=LANGUAGE, **SIZES, n_steps=80, checkpoint_every=40)
    model = train_small_network(settings, out=tmp_path / "model")
    first, last = (json.loads(line)["loss"] for line in (tmp_path / "model" / METRICS).read_text().splitlines())
    assert last < first < 2.6 and model.n_vocabulary == 12


@pytest.mark.parametrize("wrong", [{"n_heads": 3}, {"n_positions": 1}, {"batch_size": 0}, {"n_steps": 0}, {"lr": 0.0}])
def test_settings_that_train_nothing_are_refused(wrong):
    with pytest.raises(ConfigError):
        NetworkSettings(**wrong)
