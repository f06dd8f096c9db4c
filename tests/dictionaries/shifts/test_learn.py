"""Learning from shifts: the concepts of a small world, the folder, interruptions, and what must fail."""

import dataclasses
import json
import math

import pytest
import torch
from dictionaries.shifts.sparse_shifts import mcc, sparse_shifts

from bathyscope.artifacts import verify
from bathyscope.config import from_json, to_json
from bathyscope.dictionaries.checkpoint import last_checkpoint
from bathyscope.dictionaries.dictionary import load_dictionary
from bathyscope.dictionaries.rules import Linear
from bathyscope.dictionaries.shifts.ascent import AscentSettings
from bathyscope.dictionaries.shifts.learn import ShiftOrigin, learn_shifts, read_path
from bathyscope.dictionaries.shifts.settings import ShiftSettings
from bathyscope.errors import ArtifactError, ConfigError
from bathyscope.progress import Step, listening

SHIFTS_PD, CHANGES_PC, DIRECTIONS_CD = sparse_shifts()
QUICK = ShiftSettings(n_features=5, n_restarts=2, n_refined=1, ratio=0.7, ascent=AscentSettings(n_steps=50))


@pytest.fixture(scope="module")
def learnt():
    return learn_shifts(SHIFTS_PD, QUICK)


def test_the_concepts_of_fresh_pairs_are_found(learnt):
    fresh_PD, fresh_PC, _ = sparse_shifts(seed=1)
    assert mcc(learnt.pre(fresh_PD), fresh_PC) > 0.99
    cosine_CF = torch.nn.functional.normalize(DIRECTIONS_CD, dim=1) @ learnt.W_dec.T
    assert float(cosine_CF.abs().amax(1).min()) > 0.98


def test_without_a_bound_everything_is_reconstructed_and_nothing_found():
    free = dataclasses.replace(QUICK, start="tied", beta=1e9, refit=False, ascent=AscentSettings(n_steps=800))
    found = [learn_shifts(SHIFTS_PD, dataclasses.replace(free, seed=seed)) for seed in (0, 1)]
    assert min(each.training["mean_square_explained"] for each in found) > 0.99
    assert sum(mcc(each.pre(SHIFTS_PD), CHANGES_PC) for each in found) / 2 < 0.85


def test_it_is_an_ordinary_dictionary_of_unit_rows_and_signed_codes(learnt):
    torch.testing.assert_close(learnt.W_dec.norm(dim=1), torch.ones(5))
    assert learnt.rule == Linear() and not learnt.subtract_b_dec and not learnt.b_enc.any()
    codes = learnt.encode(SHIFTS_PD)
    torch.testing.assert_close(codes.dense(), SHIFTS_PD @ learnt.W_enc, rtol=1e-4, atol=1e-4)
    assert float(codes.values_NK.min()) < 0
    torch.testing.assert_close(learnt.reconstruct(SHIFTS_PD), SHIFTS_PD, rtol=1e-2, atol=1e-2)
    codes_PC = learnt.pre(SHIFTS_PD)
    size_C = codes_PC.square().mean(0)
    assert bool((size_C[:-1] >= size_C[1:] - 1e-5).all()), "the largest first"
    assert bool((codes_PC.mean(0) > -1e-5).all()), "changes are positive on average"
    assert from_json(ShiftSettings, learnt.kind) == QUICK


@pytest.mark.parametrize("tool", ["saelens", "sparsify", "dictionary_learning"])
def test_it_is_refused_where_few_features_a_token_are_meant(learnt, tool, tmp_path):
    with pytest.raises(ConfigError, match="an index of features needs a dictionary that keeps few features"):
        learnt.require_selection("an index of features")
    with pytest.raises(ConfigError, match=r"cannot express this dictionary \(rule Linear\)"):
        learnt.save(tmp_path / tool, format=tool)


def test_columns_beyond_the_directions_of_the_shifts_stay_empty():
    found = learn_shifts(SHIFTS_PD, dataclasses.replace(QUICK, n_features=7, beta=0.7))
    lengths_F = found.W_dec.norm(dim=1)
    torch.testing.assert_close(lengths_F, torch.tensor([1.0] * 5 + [0.0] * 2))
    assert "vary in 5 directions only: 2 of 7 columns stay empty" in found.training["warnings"][0]


def test_the_mean_can_be_taken_off():
    found = learn_shifts(SHIFTS_PD + 3, dataclasses.replace(QUICK, centre=True, alike=False, beta=0.7))
    torch.testing.assert_close(found.b_dec, (SHIFTS_PD + 3).mean(0), rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(found.reconstruct(SHIFTS_PD + 3), SHIFTS_PD + 3, rtol=1e-2, atol=1e-2)


def test_a_concept_of_short_shifts_is_found_where_pairs_count_alike():
    """A concept that changes alone and a hundred times less than the others, looked for with too few columns."""
    is_alone_P = CHANGES_PC.count_nonzero(1) == 1
    changes_PC = torch.where(is_alone_P[:, None], CHANGES_PC, 100 * CHANGES_PC)
    changes_PC[changes_PC[:, 1:].any(1), 0] = 0
    shifts_PD = (changes_PC @ DIRECTIONS_CD)[changes_PC.any(1)]
    shifts_PD += 0.02 * torch.randn(shifts_PD.shape, generator=torch.Generator().manual_seed(0))
    alike, as_they_are = (
        learn_shifts(shifts_PD, dataclasses.replace(QUICK, n_features=4, alike=is_alike)) for is_alike in (True, False)
    )
    short_D = torch.nn.functional.normalize(DIRECTIONS_CD[0], dim=0)
    assert float((alike.W_dec @ short_D).abs().max()) > 0.95
    assert float((as_they_are.W_dec @ short_D).abs().max()) < 0.6


def test_a_mean_is_not_taken_off_shifts_of_length_one():
    with pytest.raises(ConfigError, match="alike=False"):
        ShiftSettings(centre=True)


def test_a_folder_holds_the_dictionary_and_its_path(tmp_path):
    found = learn_shifts(SHIFTS_PD, QUICK, out=tmp_path / "d", origin=ShiftOrigin(hookpoint="layers.3"))
    verify(tmp_path / "d")
    again = load_dictionary(tmp_path / "d")
    assert again.digest == found.digest and again.hookpoint == "layers.3"
    rows = read_path(tmp_path / "d")
    assert rows[0].beta == 1.0 and [row.beta for row in rows] != sorted(row.beta for row in rows)
    assert any(not row.is_kept for row in rows) and found.training["beta"] in [row.beta for row in rows]
    learn_shifts(SHIFTS_PD, QUICK, out=tmp_path / "d", origin=ShiftOrigin(hookpoint="layers.3"))
    with pytest.raises(ArtifactError, match="n_restarts"):
        learn_shifts(SHIFTS_PD, dataclasses.replace(QUICK, n_restarts=3), out=tmp_path / "d")
    with pytest.raises(ArtifactError, match="shifts_sha256"):
        learn_shifts(2 * SHIFTS_PD, QUICK, out=tmp_path / "d")


def test_an_interrupted_path_goes_on_after_its_last_bound_to_the_same_bytes(tmp_path):
    learn_shifts(SHIFTS_PD, QUICK, out=tmp_path / "straight")

    def stop(step: Step) -> None:
        if step.done == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt), listening(stop):
        learn_shifts(SHIFTS_PD, QUICK, out=tmp_path / "resumed")
    with pytest.raises(ArtifactError, match="a path of shifts"):
        last_checkpoint(tmp_path / "resumed.partial")
    seen: list[int] = []
    with listening(lambda step: seen.append(step.done)):
        learn_shifts(SHIFTS_PD, QUICK, out=tmp_path / "resumed")
    assert seen[0] == 4
    assert verify(tmp_path / "resumed").digest == verify(tmp_path / "straight").digest


def test_a_path_with_gaps_survives_its_file(tmp_path):
    learn_shifts(SHIFTS_PD, dataclasses.replace(QUICK, n_restarts=1, beta=0.02), out=tmp_path / "d")
    (row,) = read_path(tmp_path / "d")
    assert math.isnan(row.agreement) and not row.is_kept
    text = (tmp_path / "d" / "path.jsonl").read_text()
    assert json.loads(text)["agreement"] is None and "NaN" not in text and "Infinity" not in text


def test_bad_shifts_are_refused_before_anything_is_made(tmp_path):
    with pytest.raises(ConfigError, match="all 9 pairs are equal"):
        learn_shifts(torch.zeros(9, 3), QUICK, out=tmp_path / "d")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("settings", "line"),
    [
        ({"n_features": 0}, "n_features is 0"),
        ({"ratio": 1.0}, "ratio is 1.0"),
        ({"beta": -1.0}, "beta is -1.0"),
        ({"tolerance": 1.5}, "tolerance is 1.5"),
    ],
)
def test_impossible_settings_are_refused_by_name(settings, line):
    with pytest.raises(ConfigError, match=line):
        ShiftSettings(**settings)


def test_settings_survive_json():
    assert from_json(ShiftSettings, to_json(QUICK)) == QUICK
