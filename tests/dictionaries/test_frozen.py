"""Frozen-random nulls: what is held stays, everything else learns."""

import typing

import pytest
import torch
from dictionaries.contract_cases import CASES
from dictionaries.planted import FakeStore, matched_cosine, world
from torch import Tensor

from bathyscope.artifacts import read_manifest
from bathyscope.cli import main
from bathyscope.cli import train as train_command
from bathyscope.dictionaries import topk
from bathyscope.dictionaries.end_to_end import EndToEnd
from bathyscope.dictionaries.frozen import Frozen, FrozenTrainee, Part, hold, in_cone
from bathyscope.dictionaries.member import Member
from bathyscope.dictionaries.plain import PlainKind
from bathyscope.dictionaries.pursuit import MatchingPursuit
from bathyscope.dictionaries.topk import TopK
from bathyscope.dictionaries.train import TrainSettings, train
from bathyscope.errors import ConfigError

D, F = 32, 64
KIND = TopK(n_features=F, k=4, dead_after_tokens=2000)

each_plain_kind = pytest.mark.parametrize("cls", typing.get_args(PlainKind), ids=lambda cls: cls.__name__)


def member_of(kind: Frozen, *, steps: int, lr: float = 1e-2, seed: int = 0) -> tuple[Member, dict[str, Tensor]]:
    """A member after some steps, and its rows as they were drawn."""
    optimisation = TrainSettings(lr=lr).optimisation(kind, D)
    member = Member(kind, d_model=D, optimisation=optimisation, seed=seed)
    drawn = {name: tensor.detach().clone() for name, tensor in rows_of(member).items()}
    planted = world(n_true=F, d_model=D, n_tokens=4096, seed=seed)
    member.start(planted.x_ND)
    for n, x_ND in zip(range(steps), planted.batches(256) * 99, strict=False):
        member.step(x_ND, progress=(n + 0.5) / steps)
    return member, drawn


def rows_of(member: Member) -> dict[str, Tensor]:
    assert isinstance(member.trainee, FrozenTrainee)
    found = dict(member.trainee.inner.named_parameters())
    return {name: found[name] for name in ("W_enc_FD", "W_dec_FD") if name in found}


@each_plain_kind
@pytest.mark.parametrize("part", ["decoder", "encoder", "soft-decoder"])
def test_the_held_part_is_bit_for_bit_as_drawn_and_the_rest_moves(cls, part: Part):
    kind = Frozen(of=CASES[cls].kind, part=part)  # pyright: ignore[reportArgumentType]
    if cls is MatchingPursuit and part == "encoder":
        with pytest.raises(ConfigError, match="MatchingPursuit has no encoder rows to hold"):
            kind.build(D, generator=torch.Generator())
        return
    member, drawn = member_of(kind, steps=6)
    now, held = rows_of(member), "W_enc_FD" if part == "encoder" else "W_dec_FD"
    for name, before_FD in drawn.items():
        if name != held:
            assert (now[name].detach() - before_FD).abs().amax() > 1e-3, name
        elif part == "soft-decoder":
            assert not torch.equal(now[name], before_FD)
        else:
            assert torch.equal(now[name], before_FD), name
    assert "W_dec_FD" in drawn, "every kind names its decoder rows alike"


@pytest.mark.parametrize("part", ["decoder", "encoder"])
def test_the_optimiser_keeps_nothing_for_held_rows(part: Part):
    member, _ = member_of(Frozen(of=KIND, part=part), steps=3)
    held = "W_enc_FD" if part == "encoder" else "W_dec_FD"
    names = {name.split(".")[2] for name in member.state()[0] if name.startswith("adam.inner.")}
    assert names == {"W_enc_FD", "W_dec_FD", "b_enc_F", "b_pre_D"} - {held}


def test_soft_rows_go_to_the_edge_of_their_cone_and_no_further():
    member, drawn = member_of(Frozen(of=KIND, part="soft-decoder", least_cosine=0.9), steps=150)
    cosines_F = torch.cosine_similarity(rows_of(member)["W_dec_FD"].detach(), drawn["W_dec_FD"])
    assert cosines_F.min() > 0.9 - 1e-5
    assert (cosines_F < 0.9 + 1e-4).float().mean() > 0.5, "most features lie outside the cones of random directions"
    free = Member(KIND, d_model=D, optimisation=KIND.optimisation(D), seed=0)
    planted = world(n_true=F, d_model=D, n_tokens=4096)
    free.start(planted.x_ND)
    before_FD = free.trainee.get_parameter("W_dec_FD").detach().clone()
    for x_ND in planted.batches(256) * 10:
        free.step(x_ND, progress=0.3)
    assert torch.cosine_similarity(free.trainee.get_parameter("W_dec_FD").detach(), before_FD).min() < 0.8


def test_in_cone_turns_a_row_within_the_plane_it_spans_with_its_start():
    start_FD = torch.tensor([[1.0, 0, 0]] * 4)
    rows_FD = torch.tensor([[0.0, 3.0, 0], [2.0, 0.2, 0], [-5.0, 0, 0], [0.0, 0, 0]])
    found_FD = in_cone(rows_FD, start_FD, least_cosine=0.8)
    torch.testing.assert_close(found_FD, torch.tensor([[2.4, 1.8, 0], [2.0, 0.2, 0], [5.0, 0, 0], [0.0, 0, 0]]))


def test_a_frozen_decoder_explains_variance_without_a_true_feature():
    planted = world(n_true=24, d_model=D, n_tokens=4096, p_active=0.08)
    kind, settings = TopK(n_features=24, k=3), TrainSettings(epochs=6, lr=1e-2)
    free = train(planted.batches(64), kind, settings=settings)
    null = train(planted.batches(64), hold(kind, "decoder"), settings=settings)
    assert matched_cosine(free.W_dec, planted.truth_GD) > 0.85
    assert matched_cosine(null.W_dec, planted.truth_GD) < 0.4
    assert 0.2 < null.training["survey"]["variance_explained"] < free.training["survey"]["variance_explained"] - 0.2


def test_rows_that_a_kind_takes_from_data_are_random_in_its_null(monkeypatch):
    original = topk.TopKTrainee.start

    def start(self, x_ND):
        original(self, x_ND)
        with torch.no_grad():
            self.W_dec_FD.copy_(torch.nn.functional.normalize(x_ND[:F], dim=1))
            self.W_enc_FD.copy_(self.W_dec_FD)

    monkeypatch.setattr(topk.TopKTrainee, "start", start)
    member, drawn = member_of(hold(KIND, "decoder"), steps=0)
    for name, rows_FD in rows_of(member).items():
        assert torch.equal(rows_FD, drawn[name]), name
    assert rows_of(member)["W_dec_FD"].shape == (F, D)
    assert member.trainee.get_parameter("inner.b_pre_D").abs().max() > 0, "biases do begin from data"


def test_a_null_that_goes_on_from_a_dictionary_holds_its_rows():
    finished, _ = member_of(hold(KIND, "decoder"), steps=8, seed=3)
    dictionary = finished.fold()
    member, drawn = member_of(hold(KIND, "decoder"), steps=0)
    member.adopt(dictionary)
    for x_ND in world(n_true=F, d_model=D, n_tokens=1024).batches(256):
        member.step(x_ND, progress=0.5)
    assert not torch.equal(rows_of(member)["W_dec_FD"], drawn["W_dec_FD"])
    assert torch.equal(rows_of(member)["W_dec_FD"], dictionary.W_dec)


def test_what_cannot_be_frozen_is_refused_by_name():
    with pytest.raises(ConfigError, match=r"EndToEnd cannot be frozen: choose one of .*TopK"):
        hold(EndToEnd(), "decoder")
    with pytest.raises(ConfigError, match=r"least_cosine is 1\.2"):
        Frozen(of=KIND, least_cosine=1.2)
    with pytest.raises(ConfigError, match="cannot be had with a frozen encoder"):
        Frozen(of=TopK(aligned=True), part="encoder")
    assert Frozen(of=TopK(aligned=True), part="decoder").of.n_features == 4608


def test_the_command_line_freezes_any_kind(tmp_path, monkeypatch):
    store = FakeStore(tmp_path / "activations", world(n_true=F, d_model=D, n_tokens=1024).x_ND)
    monkeypatch.setattr(train_command, "_opened", lambda folders: store)
    words = f"train --activations {store.path} --out {tmp_path / 'd'} --json --epochs 1 --frozen encoder topk --k 4"
    assert main([*words.split(), f"--n-features={F}"]) == 0
    config = read_manifest(tmp_path / "d").config["kind"]
    assert (config["kind"], config["part"], config["of"]["kind"], config["of"]["k"]) == ("Frozen", "encoder", "TopK", 4)
