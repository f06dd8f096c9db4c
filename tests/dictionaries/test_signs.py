"""Signed codes as two features each."""

import pytest
import torch

from bathyscope.dictionaries.dictionary import Dictionary, load_dictionary
from bathyscope.dictionaries.rules import Above, LargestAbsolute, Linear, Positive, Pursuit, Rule
from bathyscope.dictionaries.signs import is_signed, require_positive_codes, split_signs
from bathyscope.dictionaries.weights import Weights
from bathyscope.errors import ConfigError

F, D = 12, 6


def dictionary(rule: Rule, *, gain: bool = False) -> Dictionary:
    generator = torch.Generator().manual_seed(0)
    W_dec = torch.randn(F, D, generator=generator)
    W_dec /= W_dec.norm(dim=1, keepdim=True)
    return Dictionary(
        weights=Weights(
            W_enc=torch.randn(D, F, generator=generator),
            b_enc=torch.randn(F, generator=generator),
            W_dec=W_dec,
            b_dec=torch.randn(D, generator=generator),
            gain=1 + torch.rand(F, generator=generator) if gain else None,
        ),
        rule=rule,
        subtract_b_dec=True,
        max_activation=torch.arange(F).float(),
        min_activation=-2 * torch.arange(F).float(),
    )


@pytest.mark.parametrize("gain", [False, True])
@pytest.mark.parametrize("rule", [LargestAbsolute(k=3), Linear()], ids=["largest", "linear"])
def test_codes_are_the_two_signs_and_reconstructions_stay(rule, gain):
    signed, x_ND = (
        dictionary(rule, gain=gain),
        3 * torch.randn(200, D, generator=torch.Generator().manual_seed(1)),
    )
    split = split_signs(signed)
    codes_NF, both_NF = signed.encode(x_ND).dense(), split.encode(x_ND).dense()
    assert bool((codes_NF < 0).any()) and bool((codes_NF > 0).any())
    torch.testing.assert_close(both_NF, torch.cat([codes_NF.relu(), (-codes_NF).relu()], dim=1))
    torch.testing.assert_close(split.reconstruct(x_ND), signed.reconstruct(x_ND))


def test_the_largest_codes_of_each_sign_go_to_their_features():
    split = split_signs(dictionary(LargestAbsolute(k=3)))
    assert split.max_activation is not None and split.min_activation is None
    assert split.max_activation.tolist() == [*range(F), *(2 * f for f in range(F))]


def test_a_dictionary_without_signs_stays_as_it_is():
    plain = dictionary(Positive())
    assert split_signs(plain) is plain and not is_signed(Above())


def test_what_was_split_is_saved_and_says_of_what(tmp_path):
    signed = dictionary(LargestAbsolute(k=3))
    split_signs(signed).save(tmp_path / "split")
    found = load_dictionary(tmp_path / "split")
    assert found.n_features == 2 * F and not is_signed(found.rule)
    assert found.source is not None and found.source["split_signs_of"] == signed.digest


def test_signed_codes_are_refused_with_the_remedy_where_they_would_be_overlooked():
    require_positive_codes(dictionary(Positive()), "an index of features")
    with pytest.raises(ConfigError, match=r"an index of features looks at positive codes.*--split-signs"):
        require_positive_codes(dictionary(LargestAbsolute(k=3)), "an index of features")


def test_a_signed_pursuit_is_not_split_and_what_is_left_out_is_said(caplog):
    pursuit = dictionary(Pursuit(k=3, is_signed=True))
    with pytest.raises(ConfigError, match="take back what it took"):
        split_signs(pursuit)
    require_positive_codes(pursuit, "an index of features")
    assert "negative codes" in caplog.text
