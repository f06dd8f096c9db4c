"""What the finished dictionary of every kind must do. A kind that has no case in `contract_cases.py` fails here."""

import dataclasses
import typing

import pytest
import torch
from dictionaries.contract_cases import CASES, D, F, each_kind, gives, takes, trained, world_of
from dictionaries.planted import World, matched_cosine

from bathyscope.artifacts import verify
from bathyscope.config import from_json, to_json
from bathyscope.dictionaries import kinds
from bathyscope.dictionaries.dictionary import Dictionary, load_dictionary
from bathyscope.dictionaries.trainee import KindSettings
from bathyscope.errors import ConfigError


def test_every_kind_of_the_union_has_a_case():
    assert set(CASES) == set(typing.get_args(kinds.Kind))


@pytest.fixture
def planted(kind: KindSettings) -> World:
    return world_of(type(kind))


@pytest.fixture
def dictionary(kind: KindSettings) -> Dictionary:
    return trained(kind)


@dataclasses.dataclass(frozen=True)
class Choice:
    """A settings file that leaves the kind open."""

    any_kind: kinds.Kind


@each_kind
def test_settings_survive_json(kind):
    assert from_json(Choice, to_json(Choice(any_kind=kind))).any_kind == kind


@each_kind
def test_the_planted_features_are_found(kind, dictionary, planted):
    assert matched_cosine(dictionary.W_dec, planted.truth_GD) >= CASES[type(kind)].matched
    random_FD = torch.randn(dictionary.W_dec.shape, generator=torch.Generator().manual_seed(1))
    assert matched_cosine(random_FD, planted.truth_GD) < 0.6, "a random dictionary must not pass"


@each_kind
def test_save_and_load_give_the_same_dictionary(kind, dictionary, planted, tmp_path):
    dictionary = dataclasses.replace(dictionary, hookpoint="layers.3", model_identity={"name": "tiny", "sha256": "00"})
    dictionary.save(tmp_path / "d")
    found = load_dictionary(tmp_path / "d")
    assert found.digest == dictionary.digest
    assert (found.rule, found.hookpoint, found.kind) == (dictionary.rule, "layers.3", to_json(kind))
    assert found.model_identity == dictionary.model_identity and found.training == dictionary.training
    assert torch.equal(found.max_activation, dictionary.max_activation)
    before, after = (d.encode(takes(kind, planted.x_ND)) for d in (dictionary, found))
    assert torch.equal(before.values_NK, after.values_NK) and torch.equal(before.indices_NK, after.indices_NK)
    verify(tmp_path / "d")


@each_kind
def test_encode_never_exceeds_its_number_of_active_features(kind, dictionary, planted):
    codes = dictionary.encode(takes(kind, planted.x_ND))
    n_active_N = (codes.values_NK != 0).sum(1)
    assert 0 < int(n_active_N.max()) <= CASES[type(kind)].most_active


@each_kind
def test_codes_of_a_token_do_not_depend_on_its_batch_mates(kind, dictionary, planted):
    x_ND = takes(kind, planted.x_ND)
    together = dictionary.encode(x_ND[:100]).dense()
    alone = torch.cat([dictionary.encode(x_ND[n : n + 1]).dense() for n in range(100)])
    torch.testing.assert_close(together, alone, rtol=1e-5, atol=1e-5)


@each_kind
def test_permuting_features_permutes_codes(kind, dictionary, planted):
    order = torch.randperm(F, generator=torch.Generator().manual_seed(0))
    w = dictionary.weights
    permuted = dataclasses.replace(
        dictionary,
        weights=dataclasses.replace(
            w,
            W_enc=w.W_enc[:, order].contiguous(),
            b_enc=w.b_enc[order],
            W_dec=w.W_dec[order],
            threshold=None if w.threshold is None else w.threshold[order],
        ),
    )
    x_ND = takes(kind, planted.x_ND)[:500]
    assert not torch.equal(order, torch.arange(F))
    torch.testing.assert_close(permuted.encode(x_ND).dense(), dictionary.encode(x_ND).dense()[:, order])
    torch.testing.assert_close(permuted.reconstruct(x_ND), dictionary.reconstruct(x_ND))


@each_kind
@pytest.mark.parametrize("n", [0, 1, 5000])
def test_shapes_of_encode_and_decode(kind, dictionary, n):
    x_ND = torch.randn(n, D, generator=torch.Generator().manual_seed(0))
    codes = dictionary.encode(x_ND)
    assert codes.dense().shape == (n, F)
    assert dictionary.decode(codes).shape == (n, len(range(*CASES[type(kind)].gives)))


@each_kind
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float64])
def test_other_number_formats_are_taken(kind, dictionary, planted, dtype):
    x_ND = takes(kind, planted.x_ND)[:50].to(dtype)
    torch.testing.assert_close(dictionary.reconstruct(x_ND), dictionary.reconstruct(x_ND.float()))


@each_kind
def test_another_width_is_refused(kind, dictionary):
    with pytest.raises(ConfigError, match=r"shape \(3, 16\).*takes \[N, 32\]"):
        dictionary.encode(torch.zeros(3, 16))


@each_kind
def test_observed_maxima_are_those_of_the_final_weights(kind, dictionary, planted):
    codes_NF = dictionary.encode(takes(kind, planted.x_ND)).dense()
    torch.testing.assert_close(dictionary.max_activation, codes_NF.amax(0))


@each_kind
def test_training_figures_are_those_of_a_hand_computation(kind, dictionary, planted):
    x_ND, y_ND = takes(kind, planted.x_ND), gives(kind, planted.x_ND)
    error = (y_ND - dictionary.reconstruct(x_ND)).double().square().sum()
    explained = 1 - error / (y_ND - y_ND.mean(0)).double().square().sum()
    figures = dictionary.training["survey"]
    assert figures["variance_explained"] == pytest.approx(float(explained), abs=1e-6)
    assert figures["l0"] == pytest.approx(dictionary.encode(x_ND).l0())
    assert figures["dead_share"] == float((dictionary.encode(x_ND).fires() == 0).double().mean())


@each_kind
def test_attribution_can_differentiate_through_encode_and_decode(kind, dictionary, planted):
    x_ND = takes(kind, planted.x_ND)[:20].clone().requires_grad_()
    (slope_ND,) = torch.autograd.grad(dictionary.reconstruct(x_ND).sum(), [x_ND])
    active_NF = dictionary.encode(x_ND.detach()).dense() != 0
    if not CASES[type(kind)].reads_once:
        pytest.skip("several looks at what is left: tested in the kind's own file")
    wanted_ND = (active_NF * dictionary.W_dec.sum(1)) @ dictionary.W_enc.T
    torch.testing.assert_close(slope_ND, wanted_ND, rtol=1e-4, atol=1e-4)
