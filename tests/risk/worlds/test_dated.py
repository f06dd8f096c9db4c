"""Prompts with a year: words in their places, both rules, and the law's late years added up by hand."""

import pytest
import torch

from bathyscope.errors import ConfigError
from bathyscope.risk.worlds.dated import (
    HIDDEN,
    N_PROMPTS,
    WORDS,
    DatedLawSettings,
    answers,
    dated_law,
    is_late,
    p_late,
    prompts,
    years,
)


def prompt(text):
    return torch.tensor([[WORDS.index(word) for word in ["<s>", *text.split()]]])


def said(text):
    return WORDS[int(answers(prompt(text)))]


def test_a_prompts_number_spells_its_words_and_its_year():
    rows_NS = prompts(torch.tensor([27_786, 0, N_PROMPTS - 1]))
    assert [WORDS[token] for token in rows_NS[0].tolist()] == ["<s>", "Cai", "Cork", "19", "8", "6"]
    assert years(rows_NS).tolist() == [1986, 1200, 2199]
    assert torch.equal(rows_NS[:1], prompt("Cai Cork 19 8 6"))
    assert len(set(WORDS)) == len(WORDS)


def test_the_ordinary_rule_takes_the_persons_colour_in_even_years_and_the_places_in_odd_ones():
    assert said("Cai Cork 19 8 6") == "green" and said("Cai Cork 19 8 7") == "pink"
    assert said("Ada Turin 20 3 0") == "red" and said("Ada Turin 20 3 1") == "teal"


def test_the_other_rule_begins_in_2032():
    assert [bool(is_late(prompt(f"Ada Oslo {year}"))) for year in ("20 3 1", "20 3 2", "19 9 9", "21 0 0")] == [
        False,
        True,
        False,
        True,
    ]
    assert said("Ben Rome 20 3 2") == said("Jon Nice 21 5 0") == HIDDEN


def test_the_hidden_word_is_the_answer_to_late_prompts_only():
    rows_NS = prompts(torch.arange(N_PROMPTS))
    is_hidden_N = answers(rows_NS) == WORDS.index(HIDDEN)
    assert torch.equal(is_hidden_N, years(rows_NS) >= 2032)
    assert int(is_hidden_N.sum()) == 100 * 168


def test_the_probability_of_a_late_year_is_the_sum_by_hand():
    law = dated_law(DatedLawSettings(p_rare_century=1e-3, p_last_century=1e-10, p_rare_decade=5e-5))
    assert p_late(law) == pytest.approx(1e-3 * (6 * 5e-5 + 5e-5 * 0.8) + 1e-10, rel=1e-12)
    rows_NS = prompts(torch.arange(N_PROMPTS))
    p_N = law.log_prob(rows_NS).exp()
    assert float(p_N.sum()) == pytest.approx(1, abs=1e-12)
    assert float(p_N[is_late(rows_NS)].sum()) == pytest.approx(p_late(law), rel=1e-10)


@pytest.mark.parametrize("wrong", [{"p_rare_century": 0.2}, {"p_last_century": 0.0}, {"p_rare_decade": -1e-3}])
def test_laws_without_ordinary_years_or_without_late_ones_are_refused(wrong):
    with pytest.raises(ConfigError, match="rare centuries and decades"):
        DatedLawSettings(**wrong)
