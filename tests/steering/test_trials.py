"""Trials: every arm at every strength answers every instruction, as it would alone, and goes on when interrupted."""

import pytest
import torch
from tiny import D_MODEL, tiny_model

from bathyscope.errors import ArtifactError, ConfigError
from bathyscope.evaluation.steering.answers import read_answers
from bathyscope.models.generate import generate
from bathyscope.steering import trials as room
from bathyscope.steering.arm import Arm
from bathyscope.steering.rewrites.perturb import Perturb
from bathyscope.steering.steer import steer
from bathyscope.steering.trials import TrialSettings, run_trials

SETTINGS = TrialSettings(
    instructions=("Say one.", "Say two!", "And three?"), max_new_tokens=6, temperature=0.0, batch_size=4
)


@pytest.fixture(scope="module")
def model():
    return tiny_model()


def arms() -> list[Arm]:
    direction_D = torch.randn(D_MODEL, generator=torch.Generator().manual_seed(1))
    return [
        Arm.unsteered("sea", "plain"),
        Arm.adding("sea", "way", direction_D, factors=(0.5, 4.0), typical=3.0, hookpoint="layers.1"),
        Arm.unsteered("sea", "prompt", system="Speak of the sea."),
        Arm.adding("money", "way", -direction_D, factors=(4.0,), typical=3.0, hookpoint="layers.1"),
    ]


def test_each_answer_is_the_one_that_its_arm_alone_gives(model, tmp_path):
    rows = run_trials(model, arms(), out=tmp_path / "out", settings=SETTINGS)
    assert [(row.concept, row.method, row.factor) for row in rows[::3]] == [
        ("sea", "plain", 0.0),
        ("sea", "way", 0.5),
        ("sea", "way", 4.0),
        ("money", "way", 4.0),
        ("sea", "prompt", 0.0),
    ]
    by_key = {(row.concept, row.method, row.factor): row for row in rows if row.instruction == 1}
    plain = generate(model, ["Say two!"], max_new_tokens=6)[0]
    assert tuple(by_key["sea", "plain", 0.0].tokens) == plain.tokens
    prompted = generate(model, ["Say two!"], max_new_tokens=6, system="Speak of the sea.")[0]
    assert tuple(by_key["sea", "prompt", 0.0].tokens) == prompted.tokens
    for arm in arms():
        for factor, operations in arm.operations.items():
            if operations:
                with steer(model, operations):
                    alone = generate(model, ["Say two!"], max_new_tokens=6)[0]
                assert tuple(by_key[arm.concept, arm.method, factor].tokens) == alone.tokens
    assert by_key["sea", "way", 4.0].tokens != by_key["sea", "plain", 0.0].tokens


def test_an_interrupted_run_goes_on_to_the_same_bytes(model, tmp_path, monkeypatch):
    run_trials(model, arms(), out=tmp_path / "whole", settings=SETTINGS)
    answers, calls = room._answers, []

    def failing(*given, **options):
        calls.append(1)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return answers(*given, **options)

    monkeypatch.setattr(room, "_answers", failing)
    with pytest.raises(KeyboardInterrupt):
        run_trials(model, arms(), out=tmp_path / "out", settings=SETTINGS)
    calls.append(1)
    run_trials(model, arms(), out=tmp_path / "out", settings=SETTINGS)
    assert len(calls) == 3 + 1 + 2, "two batches of the four were kept"
    assert (tmp_path / "out" / "trials.jsonl").read_bytes() == (tmp_path / "whole" / "trials.jsonl").read_bytes()


def test_arms_that_cannot_be_told_apart_are_refused(model, tmp_path):
    with pytest.raises(ConfigError, match="no two of one concept and method"):
        run_trials(model, [arms()[0], arms()[0]], out=tmp_path / "out", settings=SETTINGS)
    with pytest.raises(ConfigError, match="at least one arm"):
        run_trials(model, [], out=tmp_path / "out", settings=SETTINGS)
    with pytest.raises(ConfigError, match="none of them twice"):
        TrialSettings(instructions=("Twice.", "Twice."))


def test_an_arm_that_rewrites_has_an_answer_to_each_copy_and_keeps_what_was_asked(model, tmp_path):
    rewrites = {share: Perturb(share=share, n_copies=2) for share in (0.2, 0.5)}
    arm = Arm.rewriting("sea", "perturb", rewrites)
    rows = run_trials(model, [arms()[0], arm], out=tmp_path / "out", settings=SETTINGS)
    plain, own = rows[:3], rows[3:]
    assert all((row.copy, row.given) == (0, None) for row in plain)
    assert [(row.factor, row.instruction, row.copy) for row in own] == [
        (share, number, copy) for share in rewrites for number in range(3) for copy in range(2)
    ]
    for row in own:
        assert row.prompt == SETTINGS.instructions[row.instruction]
        assert row.given == rewrites[row.factor].texts(row.prompt)[row.copy] != row.prompt
        assert tuple(row.tokens) == generate(model, [row.given], max_new_tokens=6)[0].tokens


def test_an_arm_at_some_factors_gives_the_same_answers_there(model, tmp_path):
    several = [arms()[1], Arm.rewriting("sea", "perturb", {share: Perturb(share=share) for share in (0.2, 0.5)})]
    everywhere = run_trials(model, several, out=tmp_path / "all", settings=SETTINGS)
    chosen = [several[0].at([4.0, 9.0]), several[1].at([0.2])]
    found = run_trials(model, chosen, out=tmp_path / "some", settings=SETTINGS)
    assert found == [row for row in everywhere if row.factor in (4.0, 0.2)]


def test_a_rewrite_is_part_of_what_a_run_is(model, tmp_path):
    run_trials(model, [Arm.rewriting("sea", "own", {0.5: Perturb(share=0.5)})], out=tmp_path / "out", settings=SETTINGS)
    other = Arm.rewriting("sea", "own", {0.5: Perturb(share=0.5, seed=1)})
    with pytest.raises(ArtifactError, match="other settings"):
        run_trials(model, [other], out=tmp_path / "out", settings=SETTINGS)
    with pytest.raises(ConfigError, match="rewrites at factors"):
        Arm(concept="sea", method="own", operations={1.0: ()}, rewrites={2.0: Perturb(share=0.5)})


def test_any_character_of_an_instruction_is_read_back(model, tmp_path):
    odd = TrialSettings(instructions=("One\u2028line", "Another\x85one"), max_new_tokens=2, temperature=0.0)
    rows = run_trials(model, arms()[:1], out=tmp_path / "out", settings=odd)
    assert [row.prompt for row in rows] == list(odd.instructions)
    assert [answer.prompt for answer in read_answers(tmp_path / "out")] == list(odd.instructions)


def test_greedy_answers_are_made_by_length_and_kept_in_order(model, tmp_path, monkeypatch):
    """Batches hold texts of one length; every row stands where it stood, with the answer of its own text."""
    given: list[list[int]] = []
    answers = room._answers

    def watched(model, batch, settings, *, seed):
        given.append([len(row.given) for row in batch])
        return answers(model, batch, settings, seed=seed)

    monkeypatch.setattr(room, "_answers", watched)
    instructions = ("Say one, and then two, and three.", "Say two!", "And so on and so on.")
    settings = TrialSettings(instructions=instructions, max_new_tokens=6, temperature=0.0, batch_size=4)
    rows = run_trials(model, arms(), out=tmp_path / "out", settings=settings)
    assert given[0] == [8, 8, 8, 8] and given[1] == [20, 20, 20, 20]
    assert [row.prompt for row in rows] == list(instructions) * 5
    for row in rows[:3]:
        assert tuple(row.tokens) == generate(model, [row.prompt], max_new_tokens=6)[0].tokens


def test_one_prompt_under_many_arms_passes_the_first_blocks_once(model, tmp_path):
    seen: dict[int, list[int]] = {0: [], 2: []}
    handles = [
        model.body.layers[number].mlp.register_forward_hook(
            lambda _m, given, _o, number=number: seen[number].append(given[0].shape[0])
        )
        for number in seen
    ]
    settings = TrialSettings(instructions=("Say one.", "Say two!"), max_new_tokens=2, temperature=0.0, batch_size=8)
    run_trials(model, [arm for arm in arms() if arm.system is None], out=tmp_path / "out", settings=settings)
    for handle in handles:
        handle.remove()
    assert seen == {0: [2, 8], 2: [8, 8]}
