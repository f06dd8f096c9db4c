"""Online dictionary learning: updates against their definition, planted features, dead features, progress."""

import pytest
import torch
from dictionaries.planted import matched_cosine, world
from torch import Tensor

from bathyscope.dictionaries.codes import Codes
from bathyscope.dictionaries.rules import Pursuit
from bathyscope.dictionaries.solvers.fista import Fista
from bathyscope.dictionaries.solvers.online_learning import (
    OnlineSettings,
    Statistics,
    coding_rule,
    learn_online,
    refine_online,
    update_rows,
    update_rows_reference,
)
from bathyscope.dictionaries.solvers.orthogonal_pursuit import OrthogonalPursuit
from bathyscope.errors import ConfigError
from bathyscope.progress import Step, listening

F, D = 64, 32
PLANTED = world(n_true=F, d_model=D)
SOLVERS = [OrthogonalPursuit(k=4), Pursuit(k=4), Fista(l1=1.0, n_steps=60)]


def draw(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def sparse_codes(n: int, f: int, *, seed: int = 4) -> Codes:
    is_active = torch.rand(n, f, generator=torch.Generator().manual_seed(seed)) < 0.1
    return Codes.from_dense(draw(n, f, seed=seed) * is_active)


def statistics_of(n: int = 300, f: int = 150, d: int = 20) -> Statistics:
    found = Statistics(torch.zeros(f, f, dtype=torch.float64), torch.zeros(f, d, dtype=torch.float64))
    found.add(sparse_codes(n, f), draw(n, d, seed=5), keep=0.0)
    return found


def test_the_statistics_are_weighted_sums_over_batches():
    found = statistics_of()
    first_NF, second_NF = sparse_codes(300, 150).dense(), sparse_codes(300, 150, seed=6).dense()
    found.add(sparse_codes(300, 150, seed=6), draw(300, 20, seed=7), keep=0.5)
    torch.testing.assert_close(found.A_FF, 0.5 * first_NF.T @ first_NF + second_NF.T @ second_NF)
    torch.testing.assert_close(
        found.B_FD, 0.5 * first_NF.T @ draw(300, 20, seed=5) + second_NF.T @ draw(300, 20, seed=7)
    )


def test_rows_updated_in_blocks_are_those_updated_one_by_one():
    found, rows_FD = statistics_of(), torch.nn.functional.normalize(draw(150, 20), dim=1)
    found.forget(torch.tensor([3, 70]))
    blocks_FD, single_FD = rows_FD.clone(), rows_FD.clone()
    update_rows(blocks_FD, found)
    update_rows_reference(single_FD, found)
    torch.testing.assert_close(blocks_FD, single_FD)
    assert torch.equal(blocks_FD[[3, 70]], rows_FD[[3, 70]]), "rows without codes stay"
    assert (blocks_FD - rows_FD).norm(dim=1).gt(0).sum() == 148


def test_an_update_never_raises_what_it_minimises_and_keeps_lengths():
    found, rows_FD = statistics_of(), torch.nn.functional.normalize(draw(150, 20), dim=1)
    before = float("inf")
    for _ in range(5):
        value = float((0.5 * rows_FD * (found.A_FF @ rows_FD) - rows_FD * found.B_FD).sum())
        assert value < before
        before = value
        update_rows(rows_FD, found)
        torch.testing.assert_close(rows_FD.norm(dim=1), torch.ones(150, dtype=torch.float64))


@pytest.mark.parametrize("solver", SOLVERS, ids=lambda solver: type(solver).__name__)
def test_planted_features_are_found(solver):
    learnt = learn_online(PLANTED.batches(512), F, settings=OnlineSettings(solver=solver, epochs=4))
    assert matched_cosine(learnt.W_dec, PLANTED.truth_GD) > 0.9
    assert learnt.training["survey"]["variance_explained"] > 0.8
    torch.testing.assert_close(learnt.W_dec.norm(dim=1), torch.ones(F))
    first = learn_online(PLANTED.batches(512)[:1], F, settings=OnlineSettings(solver=solver))
    assert matched_cosine(first.W_dec, PLANTED.truth_GD) < 0.8, "one batch is not enough"


def test_the_same_seed_gives_the_same_bytes_and_another_seed_others():
    batches, settings = PLANTED.batches(512)[:4], OnlineSettings(solver=Pursuit(k=4))
    assert (
        learn_online(batches, F, settings=settings).digest == learn_online(iter(batches), F, settings=settings).digest
    )
    other = OnlineSettings(solver=Pursuit(k=4), seed=1)
    assert learn_online(batches, F, settings=settings).digest != learn_online(batches, F, settings=other).digest


def test_dead_features_are_replaced():
    batches = [batch - PLANTED.x_ND.mean(0) for batch in PLANTED.batches(512)]
    seen: list[int] = []
    settings = OnlineSettings(solver=Pursuit(k=1), dead_after_tokens=600, bias_start="zero")
    with listening(lambda step: seen.append(int(step.figures["replaced"]))):
        learnt = learn_online(batches, 4 * F, settings=settings)
    assert sum(seen) > 0
    without = OnlineSettings(solver=Pursuit(k=1), dead_after_tokens=10**9, bias_start="zero")
    dead = [
        int((d.encode(torch.cat(batches)).fires() == 0).sum())
        for d in (learnt, learn_online(batches, 4 * F, settings=without))
    ]
    assert dead[0] <= dead[1]


def test_refining_goes_on_from_a_dictionary():
    batches, settings = PLANTED.batches(512), OnlineSettings(solver=OrthogonalPursuit(k=4))
    rough = learn_online(batches[:2], F, settings=settings)
    fine = refine_online(rough, batches, settings=settings)
    assert matched_cosine(fine.W_dec, PLANTED.truth_GD) > matched_cosine(rough.W_dec, PLANTED.truth_GD)
    assert torch.equal(fine.b_dec, rough.b_dec)
    assert not torch.equal(fine.W_dec, rough.W_dec), "the given dictionary is not changed"


def test_progress_counts_tokens():
    steps: list[Step] = []
    with listening(steps.append):
        learn_online(PLANTED.batches(512)[:3], F, settings=OnlineSettings(solver=Pursuit(k=4), epochs=2))
    assert [step.done for step in steps] == [512 * i for i in range(1, 7)]
    assert {step.total for step in steps} == {512 * 6}
    assert float(steps[-1].figures["error"]) < float(steps[0].figures["error"])


def test_the_finished_dictionary_codes_as_the_solver_did_where_a_rule_can():
    assert coding_rule(Pursuit(k=3, is_signed=True), 9.0) == Pursuit(k=3, is_signed=True)
    assert coding_rule(OrthogonalPursuit(k=5, is_signed=True), 9.0) == Pursuit(k=5, is_signed=True)
    assert coding_rule(Fista(l1=1.0), 7.6) == Pursuit(k=8)


def test_batches_that_do_not_fit_are_refused():
    settings = OnlineSettings(solver=Pursuit(k=4))
    bad_ND = PLANTED.x_ND[:10].clone()
    bad_ND[7, 3] = torch.nan
    with pytest.raises(ConfigError, match=r"batch 1 .*row 7"):
        learn_online([PLANTED.x_ND[:10], bad_ND], F, settings=settings)
    with pytest.raises(ConfigError, match="batch 1 has width 3, expected 32"):
        learn_online([PLANTED.x_ND[:10], torch.zeros(4, 3)], F, settings=settings)
    with pytest.raises(ConfigError, match="no batches"):
        learn_online([], F, settings=settings)
    with pytest.raises(ConfigError, match="can be read only once"):
        learn_online(iter(PLANTED.batches(512)), F, settings=OnlineSettings(epochs=2))
    with pytest.raises(ConfigError, match="n_features is 0"):
        learn_online(PLANTED.batches(512), 0, settings=settings)


@pytest.mark.parametrize("given", [{"epochs": 0}, {"dead_after_tokens": 0}, {"memory": -1.0}])
def test_impossible_settings_are_refused(given):
    with pytest.raises(ConfigError, match=r"must be at least 1|memory is -1"):
        OnlineSettings(**given)
