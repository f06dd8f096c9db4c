"""Interchange: exchanges whose outcome is known, and the one-forward answer beside the plain decoding loop."""

import pytest
import torch
from circuits.planted_exchanges import SITE, changed, exchanged, planted
from jaxtyping import TypeCheckError
from tiny import N_LAYERS, tiny_model

from bathyscope.circuits.interchange import Exchanges, exchanges, interchange, interchange_token_by_token, intervene
from bathyscope.circuits.subspace import Site, activations_at, random_subspace
from bathyscope.errors import ConfigError


@pytest.fixture(scope="module")
def model():
    return tiny_model("gpt2")


def test_the_planted_subspace_answers_as_wanted_and_a_random_one_where_nothing_depends_on_it(model):
    among = exchanged(model, planted(rank=8), n=60)
    crossing = changed(model, among)
    assert len(crossing) > 20
    assert bool(interchange(model, planted(rank=8), among).all())
    other = interchange(model, random_subspace(SITE, rank=8, d_model=32, seed=1), crossing)
    assert float(other.double().mean()) < 0.5


@pytest.mark.parametrize("n_answer", [1, 3])
def test_one_forward_says_what_decoding_token_by_token_says(model, n_answer):
    among = exchanged(model, planted(rank=8), n=40, n_answer=n_answer)
    for seed in range(3):
        subspace = random_subspace(SITE, rank=12, d_model=32, seed=seed)
        assert torch.equal(interchange(model, subspace, among), interchange_token_by_token(model, subspace, among))
    assert 0 < int(interchange(model, subspace, among).sum()) < 40


def test_exchanging_everything_behind_the_last_block_gives_the_source_answer(model):
    site = Site(f"h.{N_LAYERS - 1}", (5,))
    whole = random_subspace(site, rank=32, d_model=32, seed=0)
    generator = torch.Generator().manual_seed(0)
    base, source = torch.randint(60, 120, (2, 30, 6), generator=generator).unbind(0)
    with torch.no_grad():
        answer = model.network(input_ids=source).logits[:, -1:].argmax(-1)
    assert bool(interchange(model, whole, exchanges(base, source, source_answer_PA=answer, wanted_PA=answer)).all())


def test_a_held_component_is_the_same_as_one_source_for_all(model):
    among = exchanged(model, planted(rank=8), n=20)
    one_source = Exchanges(among.base_PS, among.source_PS[:1].expand_as(among.source_PS), among.wanted_PA)
    values = planted(rank=8).components(activations_at(model, SITE, among.source_PS[:1]))[0]
    rows = torch.cat([among.base_PS, among.wanted_PA], dim=1)
    found = intervene(model, planted(rank=8), values, rows, n_answer=1)
    assert torch.equal(found, interchange(model, planted(rank=8), one_source))


def test_pairs_that_do_not_belong_together_are_refused():
    rows = torch.zeros(4, 6, dtype=torch.long)
    with pytest.raises((ConfigError, TypeCheckError), match=r"do not belong together|source_PS"):
        Exchanges(rows, rows[:3], rows[:, :1])  # while tests run, shapes are refused even before
    with pytest.raises(ConfigError, match="must end with the wanted answer"):
        Exchanges(rows, rows, torch.ones(4, 2, dtype=torch.long))
