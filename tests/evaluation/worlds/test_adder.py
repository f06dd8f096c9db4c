"""The adder: a model folder like any other, the same bytes after an interruption, answers as `generate` gives them."""

import json

import pytest
import torch

from bathyscope import artifacts, progress
from bathyscope.dictionaries.checkpoint import METRICS
from bathyscope.errors import ArtifactError, ConfigError
from bathyscope.evaluation.worlds.adder import AdderSettings, held_out_sums, is_right, train_adder
from bathyscope.models.generate import generate
from bathyscope.models.hookpoints import names

TINY = AdderSettings(base=3, d_model=16, n_heads=2, n_steps=6, batch_size=20, checkpoint_every=2, held_out=0.2)


class Interrupted(Exception):
    pass


def test_the_folder_is_a_model_that_answers_and_has_hookpoints(tmp_path):
    model = train_adder(TINY, out=tmp_path / "adder")
    assert model.d_model == 16 and {"h.0", "h.1", "h.1.ln_2"} <= set(names(model))
    world = TINY.world
    sums_N2 = world.sums()[:12]
    found = generate(model, [f"{''.join(map(str, row[:6]))}" for row in _written(world, sums_N2)], max_new_tokens=3)
    said = [answer.text for answer in found]
    right_N = is_right(model.network, world.rows(sums_N2))
    wanted = ["".join(row[6:]) for row in _written(world, sums_N2)]
    assert right_N.tolist() == [one == other for one, other in zip(said, wanted, strict=True)]
    rows_NS = world.rows(sums_N2)
    rows_NS[:, 6:] = torch.tensor([[int(digit) if digit.isdigit() else 0 for digit in text] for text in said])
    as_said = [all(digit.isdigit() for digit in text) for text in said]
    assert is_right(model.network, rows_NS).tolist() == as_said, "the network's own answers are right by definition"


def _written(world, sums_N2) -> list[list[str]]:
    return [["0123456789+="[token] for token in row] for row in world.rows(sums_N2).tolist()]


def test_an_interrupted_training_goes_on_to_the_same_bytes(tmp_path):
    def interrupt(step: progress.Step) -> None:
        if step.stage == "adder" and step.done == 4:
            raise Interrupted

    with pytest.raises(Interrupted), progress.listening(interrupt):
        train_adder(TINY, out=tmp_path / "cut")
    assert (tmp_path / "cut.partial" / "checkpoint" / "state.json").exists()
    seen: list[int] = []
    with progress.listening(lambda step: seen.append(step.done)):
        train_adder(TINY, out=tmp_path / "cut")
    train_adder(TINY, out=tmp_path / "whole")
    digests = [artifacts.verify(tmp_path / name).digest for name in ("cut", "whole")]
    assert digests[0] == digests[1]
    assert seen == [4, 6], "only what was not saved yet is done again"


def test_a_finished_folder_is_read_and_one_with_other_settings_refused(tmp_path):
    train_adder(TINY, out=tmp_path / "adder")
    with progress.listening(lambda step: pytest.fail("nothing is left to train")):
        train_adder(TINY, out=tmp_path / "adder")
    with pytest.raises(ArtifactError, match="other settings"):
        train_adder(AdderSettings(base=4), out=tmp_path / "adder")


def test_training_lowers_the_loss_and_never_sees_held_out_sums(tmp_path):
    settings = AdderSettings(base=3, d_model=16, n_heads=2, n_steps=60, batch_size=30, checkpoint_every=30, lr=1e-2)
    train_adder(settings, out=tmp_path / "adder")
    lines = [json.loads(line) for line in (tmp_path / "adder" / METRICS).read_text().splitlines()]
    assert lines[1]["loss"] < lines[0]["loss"] < 2.6
    held = held_out_sums(settings)
    assert len(held) == 16 and torch.equal(held, held_out_sums(settings))


@pytest.mark.parametrize("wrong", [{"n_heads": 3}, {"n_steps": 0}, {"lr": 0.0}, {"base": 12}])
def test_settings_that_make_no_network_are_refused(wrong, tmp_path):
    with pytest.raises(ConfigError):
        train_adder(AdderSettings(**wrong), out=tmp_path / "adder")
