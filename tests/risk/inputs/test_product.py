import math

import pytest
import torch
from risk.enumerable import enumerable_law

from bathyscope.errors import ConfigError
from bathyscope.risk.inputs.law import Opened, draw, draw_again, free_choices, log_prob
from bathyscope.risk.inputs.product import ProductTokens

HALVES = torch.tensor([0.5, 0.5], dtype=torch.float64).log()


def test_a_row_is_as_likely_as_the_product_of_its_tokens():
    law = ProductTokens(
        support=(torch.tensor([3]), torch.tensor([1, 5])), log_p=(torch.zeros(1, dtype=torch.float64), HALVES)
    )
    assert law.log_prob(torch.tensor([[3, 1], [3, 5]])).tolist() == pytest.approx([math.log(0.5)] * 2)


def test_samples_follow_the_law():
    law = enumerable_law()
    rows_NC = draw(law, 40_000, generator=torch.Generator().manual_seed(0))
    for log_p, column_N in zip(law.log_p, rows_NC.unbind(1), strict=True):
        share = torch.bincount(column_N, minlength=len(log_p)) / len(column_N)
        assert float((share - log_p.exp()).abs().max()) < 0.01


def test_marked_choices_alone_are_drawn_again_from_their_own_weights():
    law, generator = enumerable_law(), torch.Generator().manual_seed(0)
    rows_NC = draw(law, 20_000, generator=generator)
    again_NC = torch.zeros(rows_NC.shape, dtype=torch.bool)
    again_NC[:10_000, 2] = True
    twice = [log_p + math.log(2) for log_p in law.log_p]
    new_NC = draw_again(twice, rows_NC, again_NC, generator=generator)
    assert torch.equal(new_NC[~again_NC], rows_NC[~again_NC])
    assert not torch.equal(new_NC, rows_NC)
    share = torch.bincount(new_NC[:10_000, 2], minlength=len(law.log_p[2])) / 10_000
    assert float((share - law.log_p[2].exp()).abs().max()) < 0.02


def test_choices_and_tokens_are_each_others_inverse():
    law = enumerable_law()
    tokens_NS = law.sample(50, torch.Generator().manual_seed(1))
    assert torch.equal(law.tokens(law.choices(tokens_NS)), tokens_NS)
    assert torch.equal(law.log_prob(tokens_NS), log_prob(law, law.choices(tokens_NS)))


def test_positions_that_hold_one_token_are_not_free():
    assert free_choices(enumerable_law()).tolist() == [1, 2, 3, 4]


def test_the_same_law_has_the_same_digest_and_another_law_another():
    law = ProductTokens(support=(torch.tensor([1, 5]),), log_p=(HALVES,))
    other = ProductTokens(support=(torch.tensor([1, 6]),), log_p=(HALVES,))
    assert law.sha256 == ProductTokens(support=(torch.tensor([1, 5]),), log_p=(HALVES,)).sha256 != other.sha256


@pytest.mark.parametrize(
    ("support", "log_p", "message"),
    [
        (torch.tensor([5, 1]), HALVES, "must ascend"),
        (torch.tensor([1, 1]), HALVES, "none twice"),
        (torch.tensor([-1, 1]), HALVES, "none negative"),
        (torch.tensor([1, 2]), HALVES - 1, "sum to"),
        (torch.tensor([1, 2]), HALVES * math.nan, "sum to nan"),
        (torch.tensor([1, 2]), HALVES.float(), "float64"),
        (torch.tensor([1, 2, 3]), HALVES, "as many"),
    ],
)
def test_what_is_no_law_is_refused(support, log_p, message):
    with pytest.raises(ConfigError, match=message):
        ProductTokens(support=(support,), log_p=(log_p,))


def test_a_token_outside_the_support_is_refused_by_name_and_position():
    law = ProductTokens(support=(torch.tensor([1, 5]),), log_p=(HALVES,))
    with pytest.raises(ConfigError, match="token 4 cannot stand at position 0"):
        law.log_prob(torch.tensor([[4]]))


def test_an_opened_law_still_sums_to_one_and_gives_every_option_its_even_part():
    law = enumerable_law()
    for log_p, ordinary in zip(Opened(law=law, share=0.5).log_p, law.log_p, strict=True):
        assert float(log_p.exp().sum()) == pytest.approx(1)
        assert float(log_p.exp().min()) >= min(0.5 / len(ordinary), 1)
