import pytest
import torch
from risk.enumerable import enumerable_model, problem

from bathyscope.errors import ModelError
from bathyscope.risk.budget import Budget, BudgetSpent
from bathyscope.risk.inputs.law import draw
from bathyscope.risk.look import Look


@pytest.fixture(name="look")
def _look():
    return Look(problem(), Budget(forward=100), batch_size=16)


def rows(n, seed=0):
    return draw(problem().inputs, n, generator=torch.Generator().manual_seed(seed))


def test_a_row_seen_before_costs_nothing_and_says_the_same(look):
    first = look.at(rows(60))
    spent = look.ledger.spent
    again = look.at(rows(60))
    assert look.ledger.spent == spent == len(rows(60).unique(dim=0))
    assert torch.equal(first.score_N, again.score_N)
    assert torch.equal(first.value_N, again.value_N)


def test_memory_gives_back_what_the_model_says_without_it(look):
    assert torch.allclose(look.at(rows(30)).score_N, look.at(rows(30), remember=False).score_N)


def test_the_ledger_counts_every_row_that_the_network_sees():
    look, seen = Look(problem(), Budget(forward=500), batch_size=16), []
    handle = enumerable_model().network.register_forward_hook(
        lambda _module, _args, output: seen.append(len(output.logits))
    )
    with handle:
        look.at(rows(40))
        look.slopes(rows(20, seed=1))
    assert look.ledger.forward == sum(seen)
    n_slopes = len(rows(20, seed=1).unique(dim=0))
    assert look.ledger.backward == n_slopes
    assert look.ledger.spent == sum(seen) + 2 * n_slopes


def test_a_batch_that_cannot_be_paid_for_is_not_begun(look):
    look.at(rows(60), remember=False)
    with pytest.raises(BudgetSpent):
        look.at(rows(60), remember=False)
    assert look.ledger.forward == 60
    with pytest.raises(BudgetSpent):
        look.slopes(rows(20))


def test_slopes_are_the_change_of_the_score_along_an_embedding(look):
    row_1C = rows(1)
    slopes = look.slopes(row_1C)
    model, law, event = look.model, problem().inputs, problem().event
    embedded = model.network.get_input_embeddings()(law.inputs(model, row_1C)["input_ids"]).double()
    generator = torch.Generator().manual_seed(0)
    direction = torch.randn(embedded.shape, generator=generator, dtype=torch.float64)
    direction, step = direction / direction.norm(), 1e-3
    ends = [
        event.outcome(model, {"inputs_embeds": (embedded + sign * step * direction).float()}).score_B
        for sign in (1, -1)
    ]
    found = float((slopes.slope_NSD.double() * direction).sum())
    assert found == pytest.approx(float(ends[0] - ends[1]) / (2 * step), rel=0.02, abs=1e-2)


def test_witnesses_are_distinct_and_likeliest_first():
    look = Look(problem(4), Budget(forward=500))
    look.at(rows(200))
    witnesses = look.witnesses()
    assert len({witness.tokens for witness in witnesses}) == len(witnesses) > 3
    assert [witness.log_p for witness in witnesses] == sorted((w.log_p for w in witnesses), reverse=True)


def test_a_model_that_says_nan_is_refused_by_name(monkeypatch, look):
    weight = enumerable_model().network.get_output_embeddings().weight
    monkeypatch.setattr(weight, "data", torch.full_like(weight, torch.nan))
    with pytest.raises(ModelError, match="enumerable gives NaN for argmax"):
        look.at(rows(3))
