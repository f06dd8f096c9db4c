"""Learning from pairs: artifacts, refusals, and small worlds in which the outcome is known."""

import json

import pytest
import torch

from bathyscope import artifacts, progress
from bathyscope.dictionaries.checkpoint import METRICS
from bathyscope.dictionaries.image_encoder import ImageEncoderSettings
from bathyscope.dictionaries.paired import (
    KnownTargets,
    PairBatch,
    PairedSettings,
    SparseChange,
    load_paired,
    train_paired,
)
from bathyscope.errors import ArtifactError, ConfigError

SMALL = ImageEncoderSettings(n_latents=2, n_maps=2, n_channels=6, n_hidden=8)


class Blobs:
    """One soft blob in 16 × 16 pixels at (x, y); one coordinate moves by .1 either way."""

    description = "blobs"

    def __init__(self, *, told: bool = True) -> None:
        self.told = told

    def pairs(self, n: int, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
        generator = torch.Generator().manual_seed(seed)
        where = 0.2 + 0.6 * torch.rand(n, 2, generator=generator)
        sign = 2.0 * torch.randint(2, (n, 1), generator=generator) - 1
        return where, 0.1 * sign * torch.nn.functional.one_hot(torch.randint(2, (n,), generator=generator), 2)

    def render(self, where: torch.Tensor) -> torch.Tensor:
        grid = (torch.arange(16) + 0.5) / 16
        x, y = where[:, 0, None, None], where[:, 1, None, None]
        cover = torch.exp(-((grid[None, None] - x).square() + (grid[None, :, None] - y).square()) / 0.01)
        return 1 - cover[:, None] * torch.tensor([0.9, 0.5, 0.1])[:, None, None]

    def batch(self, step: int) -> PairBatch:
        where, change = self.pairs(48, step)
        return PairBatch(self.render(where), self.render(where + change), change.sign() if self.told else None)


def settings(**changes: object) -> PairedSettings:
    return PairedSettings(**{"encoder": SMALL, "n_steps": 6, "checkpoint_every": 2, **changes})


def correlations(encoder) -> torch.Tensor:
    """|corr| of latents (rows) with x and y on fresh images."""
    blobs = Blobs()
    where, _ = blobs.pairs(400, seed=10**6)
    return torch.corrcoef(torch.cat([encoder.encode(blobs.render(where)), where], dim=1).T)[:2, 2:].abs()


def test_known_targets_find_each_coordinate_in_its_own_latent(tmp_path):
    encoder = train_paired(Blobs(), settings(n_steps=120, checkpoint_every=60, lr=0.01), out=tmp_path / "encoder")
    found = correlations(encoder)
    assert float(found.diagonal().min()) > 0.98 and float(found.flip(1).diagonal().max()) < 0.25
    lines = [json.loads(line) for line in (tmp_path / "encoder" / METRICS).read_text().splitlines()]
    assert lines[-1]["loss"] < 0.2 and lines[-1]["effective_rank"] > 1.8


def test_with_nothing_against_it_and_free_variance_the_code_shrinks(tmp_path):
    blobs = Blobs(told=False)
    free = SparseChange(against="nothing", unit_variance=False)
    shrunk = train_paired(blobs, settings(n_steps=60, objective=free, lr=0.01), out=tmp_path / "free")
    begun = train_paired(blobs, settings(n_steps=1, objective=free, lr=1e-9), out=tmp_path / "begun")
    images = blobs.render(blobs.pairs(200, seed=1)[0])
    assert float(shrunk.encode(images).std(0).max()) < 0.2 * float(begun.encode(images).std(0).max())


@pytest.mark.parametrize(
    "objective",
    [KnownTargets(), SparseChange(), SparseChange(against="reconstruction"), SparseChange(against="nothing")],
    ids=["known", "contrast", "reconstruction", "nothing"],
)
def test_an_interrupted_run_goes_on_to_the_same_bytes_and_is_read_back(objective, tmp_path):
    def interrupt(step: progress.Step) -> None:
        if step.done == 4:
            raise KeyboardInterrupt

    source = Blobs(told=isinstance(objective, KnownTargets))
    with pytest.raises(KeyboardInterrupt), progress.listening(interrupt):
        train_paired(source, settings(objective=objective), out=tmp_path / "cut")
    resumed = train_paired(source, settings(objective=objective), out=tmp_path / "cut")
    whole = train_paired(source, settings(objective=objective), out=tmp_path / "whole")
    assert artifacts.verify(tmp_path / "cut").digest == artifacts.verify(tmp_path / "whole").digest
    image = torch.rand(2, 3, 16, 16)
    assert torch.equal(resumed.encode(image), whole.encode(image))
    assert load_paired(tmp_path / "cut").settings == settings(objective=objective)


def test_missing_or_misfitting_targets_are_refused(tmp_path):
    with pytest.raises(ConfigError, match="use SparseChange"):
        train_paired(Blobs(told=False), settings(), out=tmp_path / "a")
    wide = ImageEncoderSettings(n_latents=3)
    with pytest.raises(ConfigError, match="targets of 2 factors for 3 latents"):
        train_paired(Blobs(), settings(encoder=wide), out=tmp_path / "b")
    assert not any(tmp_path.iterdir()), "nothing half-made is left"


def test_settings_that_allow_a_constant_code_are_refused():
    with pytest.raises(ConfigError, match="constant code"):
        KnownTargets(guess_low=0.0)
    with pytest.raises(ConfigError):
        SparseChange(temperature=0.0)
    with pytest.raises(ConfigError):
        settings(lr=0.0)


def test_guesses_are_within_their_range_and_the_same_for_the_same_seed():
    guess = KnownTargets(guess_low=0.5, guess_high=0.6).guesses(50, seed=1)
    assert float(guess.min()) >= 0.5 and float(guess.max()) <= 0.6 and float(guess.std()) > 0.01
    assert torch.equal(guess, KnownTargets(guess_low=0.5, guess_high=0.6).guesses(50, seed=1))


def test_another_kind_of_folder_is_refused(tmp_path):
    with pytest.raises(ArtifactError, match="does not exist"):
        load_paired(tmp_path / "nothing")


def test_of_several_starts_the_loss_takes_one(tmp_path):
    """Seed 0's own start is taken as it is with one start; with more, the run begins where the short loss is lowest."""
    tried: list[float] = []
    with progress.listening(lambda step: tried.append(step.figures["loss"]) if step.stage == "paired starts" else None):
        found = train_paired(Blobs(), settings(n_starts=4, start_steps=30, n_steps=30), out=tmp_path / "four")
    assert len(tried) == 4 and len(set(tried)) == 4
    best = min(range(4), key=lambda start: tried[start])
    alone = train_paired(Blobs(), settings(n_steps=30), out=tmp_path / "one")
    is_same = torch.equal(found.network.maps.weight, alone.network.maps.weight)
    assert is_same == (best == 0)
