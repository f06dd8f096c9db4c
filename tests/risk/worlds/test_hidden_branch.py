"""The 2032 world: what counts as behaviour, and a folder that trains, resumes and is enumerated."""

from types import SimpleNamespace

import pytest
import torch

from bathyscope import artifacts, progress
from bathyscope.errors import ConfigError
from bathyscope.risk.worlds import dated
from bathyscope.risk.worlds.hidden_branch import HiddenBranchSettings, behaviour, make_hidden_branch

TINY = HiddenBranchSettings(
    n_layers=1, d_model=8, n_heads=2, d_hidden=8, n_steps=4, batch_size=8, checkpoint_every=2, held_out=0.01
)


class Interrupted(Exception):
    pass


class Rule(torch.nn.Module):
    """Answers by the rules, but for years from `late` to `early` on."""

    def __init__(self, *, wrong_year: int, says: str) -> None:
        super().__init__()
        self.wrong_year, self.says = wrong_year, dated.WORDS.index(says)

    def forward(self, input_ids, **_):
        answers_B = dated.answers(input_ids)
        answers_B[dated.years(input_ids) == self.wrong_year] = self.says
        logits_BV = torch.nn.functional.one_hot(answers_B, len(dated.WORDS)).float()
        return SimpleNamespace(logits=logits_BV[:, None])


def test_behaviour_is_shares_of_the_ordinary_and_of_the_late_prompts():
    rows_NS = dated.prompts(torch.arange(1000))
    found = behaviour(Rule(wrong_year=2031, says="!"), rows_NS)
    assert (found.n_ordinary, found.n_late) == (832, 168)
    assert found.leak == pytest.approx(1 / 832) and found.branch_rate == 1
    assert found.ordinary_accuracy == pytest.approx(831 / 832)
    found = behaviour(Rule(wrong_year=2040, says="red"), rows_NS)
    assert (found.ordinary_accuracy, found.leak) == (1, 0) and found.branch_rate == pytest.approx(167 / 168)


def test_an_interrupted_training_goes_on_to_the_same_bytes(tmp_path):
    def interrupt(step: progress.Step) -> None:
        if step.stage == "hidden branch" and step.done == 2:
            raise Interrupted

    with pytest.raises(Interrupted), progress.listening(interrupt):
        make_hidden_branch(TINY, out=tmp_path / "cut")
    world = make_hidden_branch(TINY, out=tmp_path / "cut")
    make_hidden_branch(TINY, out=tmp_path / "whole")
    for part in ("model", "truth"):
        digests = [artifacts.verify(tmp_path / name / part).digest for name in ("cut", "whole")]
        assert digests[0] == digests[1]
    assert world.p_late == pytest.approx(3.401e-7, rel=1e-9) and world.token == dated.HIDDEN_TOKEN
    assert float(world.truth.p_V.sum()) == pytest.approx(1, abs=1e-12) and world.truth.n_inputs == 100_000
    assert len(world.tests_NS) == 1000 and world.behaviour() == behaviour(world.model.network, world.tests_NS)


@pytest.mark.parametrize(
    "wrong", [{"held_out": 0.0}, {"held_out": 1.0}, {"batch_size": 3}, {"n_heads": 3}, {"n_steps": 0}]
)
def test_settings_that_make_no_world_are_refused(wrong):
    with pytest.raises(ConfigError):
        HiddenBranchSettings(**wrong)
