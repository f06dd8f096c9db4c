"""A vector from contrast to steering: scores beside nulls, units, provenance, resuming, and what is refused."""

import dataclasses
import json

import numpy as np
import pytest
import torch
from tiny import D_MODEL, tiny_model
from vectors.planted import FEATURE, PLACE, direction, knowing_dictionary, labelled, planted, unplanted

from bathyscope import artifacts
from bathyscope.activations.pairs.collect import PairSettings, collect_pairs
from bathyscope.activations.pairs.pair import Pair, PairSet
from bathyscope.errors import ArtifactError, ConfigError, ModelError
from bathyscope.models.hooks import run
from bathyscope.steering.steer import steer
from bathyscope.vectors.contrast import contrast_of_pairs, contrast_of_texts
from bathyscope.vectors.decoder_row import DecoderRow
from bathyscope.vectors.detection import HARD, OTHER, detected, random_rows, shuffled
from bathyscope.vectors.diff_mean import DiffMean
from bathyscope.vectors.examples import Examples
from bathyscope.vectors.exchange import load_vector
from bathyscope.vectors.learn import VectorSettings, learn_vector
from bathyscope.vectors.logistic import LogisticProbe
from bathyscope.vectors.reft import ReFTr1

QUICK = VectorSettings(n_random=40, n_shuffles=4)


@pytest.fixture(scope="module")
def model():
    return tiny_model()


@pytest.fixture(scope="module")
def vector(model, tmp_path_factory):
    return learn_vector(planted(model), DiffMean(), out=tmp_path_factory.mktemp("v") / "vector", settings=QUICK)


def by_subject(vector):
    return {(row.subject, row.metric.partition(" · ")[0]): row for row in vector.scores}


def test_a_planted_direction_is_detected_and_its_nulls_are_not(vector):
    rows = by_subject(vector)
    assert rows["vector", "AUROC"].value > 0.95
    assert rows["vector", "accuracy"].value > 0.9
    assert rows["random direction", "AUROC"].value < rows["vector", "AUROC"].value
    assert (rows["random direction", "AUROC"].n, rows["shuffled labels", "AUROC"].n) == (40, 4)


def test_a_probe_on_labels_that_say_nothing_is_at_a_half(model, tmp_path):
    settings = VectorSettings(n_random=10, n_shuffles=8)
    vector = learn_vector(unplanted(model), LogisticProbe(penalty=0.01), out=tmp_path / "v", settings=settings)
    rows = by_subject(vector)
    assert rows["vector", "AUROC"].low < 0.5 < rows["vector", "AUROC"].high
    assert 0.35 < rows["shuffled labels", "AUROC"].value < 0.65
    assert 0.35 < rows["random direction", "AUROC"].value < 0.65


def test_a_feature_that_was_chosen_elsewhere_has_no_null_of_shuffled_labels(model, tmp_path):
    dictionary = knowing_dictionary(model)
    method, settings = DecoderRow(feature=FEATURE), VectorSettings(n_random=3)
    vector = learn_vector(planted(model), method, out=tmp_path / "v", dictionary=dictionary, settings=settings)
    assert {row.subject for row in vector.scores} == {"vector", "random direction"}
    assert vector.origin["chosen"][PLACE]["feature"] == FEATURE
    assert vector.origin["dictionary"] == dictionary.digest


def test_shuffling_makes_half_of_each_label_wrong_and_turns_half_of_the_pairs(model):
    teach = unplanted(model).places[PLACE].teach
    wrong_T = shuffled(teach, seed=1).labels_T != teach.labels_T
    assert wrong_T[teach.labels_T].mean() == wrong_T[~teach.labels_T].mean() == 0.5
    labels_T = np.arange(teach.n_texts) % 2 == 1
    paired = dataclasses.replace(teach, labels_T=labels_T, is_paired=True)
    turned = shuffled(paired, seed=1)
    signs = (turned.shifts_PD() * paired.shifts_PD()).sum(1).sign()
    assert signs.sum() == 0 and np.array_equal(turned.labels_T, labels_T)
    torch.testing.assert_close(turned.shifts_PD().abs(), paired.shifts_PD().abs())


def test_figures_of_known_scores_are_those_counted_by_hand():
    labels_T = np.array([True, True, True, False, False, False, False, False])
    report = Examples(
        x_ND=torch.zeros(8, 2),
        text_N=torch.arange(8),
        labels_T=labels_T,
        groups_T=np.arange(8),
        tokens=((1,),) * 8,
        is_hard_T=np.array([False, False, False, True, True, False, False, False]),
    )
    scores_T = np.array([3.0, 2.0, 0.0, 2.5, 0.0, 2.2, 0.0, 0.0])
    rows = {row.metric: row for row in detected("x", scores_T, report, threshold=1.0, seed=0)}
    assert rows["F1"].value == pytest.approx(2 * 2 / (2 * 2 + 2 + 1)), "2 found, 2 false alarms, 1 missed"
    assert rows["accuracy"].value == 5 / 8
    assert rows["AUROC"].value == pytest.approx((5 + 3 + 1.5) / 15), "ties count half"
    assert (rows[HARD].value, rows[OTHER].value) == (1 / 2, pytest.approx(1 / 3))
    assert (rows[HARD].n, rows[OTHER].n, rows["F1"].n) == (2, 3, 8)
    nothing = {row.metric: row.value for row in detected("x", scores_T, report, threshold=None, seed=0)}
    assert (nothing["F1"], nothing[HARD], nothing["accuracy"]) == (0, 0, 5 / 8)
    easy = detected("x", scores_T, dataclasses.replace(report, is_hard_T=None), threshold=1.0, seed=0)
    assert [row.metric for row in easy] == ["AUROC", "accuracy", "F1"]


def test_random_directions_on_labels_that_say_nothing_are_at_a_half(model):
    area, f1 = random_rows(unplanted(model).places[PLACE], "mean", n=200, seed=0)
    assert area.low < 0.5 < area.high and abs(area.value - 0.5) < 0.1
    assert 0.2 < f1.value < 0.67


def test_groups_of_a_true_and_a_false_text_become_pairs_the_false_one_first():
    examples = Examples(
        x_ND=torch.tensor([[5.0], [1.0], [10.0], [12.0], [7.0]]),
        text_N=torch.arange(5),
        labels_T=np.array([True, False, False, True, True]),
        groups_T=np.array([1, 1, 0, 0, 2]),
        tokens=((1,), (2,), (3,), (4,), (5,)),
        is_hard_T=np.array([False, True, False, False, False]),
    )
    pairs = examples.as_pairs()
    assert pairs.shifts_PD().flatten().tolist() == [2.0, 4.0]
    assert pairs.tokens == ((3,), (4,), (2,), (1,)), "a text without its other side is left out"
    assert pairs.is_hard_T.tolist() == [False, False, True, False]
    with pytest.raises(ConfigError, match="no pairs"):
        examples.choose(np.array([0, 3, 4])).as_pairs()


def test_the_reporting_half_shares_no_group_and_teaches_nothing(model, tmp_path):
    contrast = planted(model)
    halves = contrast.places[PLACE]
    assert set(halves.teach.groups_T).isdisjoint(halves.report.groups_T)
    turned = dataclasses.replace(halves.report, x_ND=-halves.report.x_ND)
    other = dataclasses.replace(contrast, places={PLACE: halves._replace(report=turned)})
    one = learn_vector(contrast, DiffMean(), out=tmp_path / "a", settings=QUICK)
    two = learn_vector(other, DiffMean(), out=tmp_path / "b", settings=QUICK)
    assert torch.equal(one.direction(), two.direction()) and one.units == two.units
    assert one.scores != two.scores


def test_adding_moves_tokens_by_the_stated_length_and_leaves_special_ones(model, vector):
    tokens = torch.tensor([[257, *b"the sea"]])
    plain = run(model, tokens, PLACE)[PLACE][0]
    for unit, size in (("norm", vector.units[PLACE].norm), ("maximum", vector.units[PLACE].maximum)):
        with steer(model, [vector.add(0.5, unit)]):
            moved = run(model, tokens, PLACE)[PLACE][0] - plain
        assert torch.equal(moved[0], torch.zeros(D_MODEL))
        torch.testing.assert_close(moved[1:].norm(dim=1), torch.full((7,), 0.5 * size), rtol=1e-4, atol=1e-4)
        assert float(moved[1] @ direction()) > 0
    typical = planted(model).places[PLACE].teach.x_ND.norm(dim=1).median()
    assert vector.units[PLACE].norm == pytest.approx(float(typical))


def test_strength_zero_is_a_bit_identical_no_op(model, vector):
    tokens = torch.tensor([[257, *b"the sea"]])
    plain = model.network(tokens).logits
    for unit in ("norm", "maximum"):
        with steer(model, [vector.add(0.0, unit)]):
            assert torch.equal(model.network(tokens).logits, plain)


def test_the_folder_reads_back_and_says_where_the_vector_is_from(model, tmp_path):
    contrast = planted(model)
    vector = learn_vector(contrast, DiffMean(), out=tmp_path / "v", settings=QUICK)
    again = load_vector(tmp_path / "v")
    assert torch.equal(again.add(1.0).vector_D, vector.add(1.0).vector_D)
    assert again.scores == vector.scores and again.units == vector.units
    assert again.origin["method"] == {"kind": "DiffMean"}
    assert again.origin["contrast"]["digest"] == contrast.digest
    assert again.model_identity == dict(model.identity)
    manifest = artifacts.verify(tmp_path / "v")
    assert (manifest.kind, manifest.seed) == ("vector", 0)
    with pytest.raises(ArtifactError, match="other settings"):
        learn_vector(contrast, LogisticProbe(), out=tmp_path / "v", settings=QUICK)


def test_another_model_width_hookpoint_and_unit_are_refused(model, vector):
    other = tiny_model(seed=1)
    with pytest.raises(ModelError, match=r"tiny-llama-0.*tiny-llama-1"), steer(other, [vector.add(1.0)]):
        pass
    with pytest.raises(ModelError, match="tiny-llama-1"):
        learn_vector(planted(model), DiffMean(), out="never", model=other)
    wide = dataclasses.replace(vector, directions={PLACE: torch.ones(D_MODEL + 1)})
    with pytest.raises(ConfigError, match=f"width {D_MODEL}"), steer(model, [wide.add(1.0)]):
        pass
    with pytest.raises(ConfigError, match=r"layers\.0.*expected one of: layers\.1"):
        vector.add(1.0, at="layers.0")
    with pytest.raises(ConfigError, match=r"no unit 'length'.*norm, maximum"):
        vector.add(1.0, "length")
    with pytest.raises(ConfigError, match="is no length"):
        vector.add(float("nan"))
    with pytest.raises(ArtifactError, match=r"layers\.1 is one non-zero, finite"):
        dataclasses.replace(vector, directions={PLACE: torch.full((D_MODEL,), float("nan"))})


@pytest.mark.parametrize("stop_at", [1, 4])
def test_an_interrupted_learner_goes_on_to_the_same_bytes(model, tmp_path, monkeypatch, stop_at):
    contrast, method = planted(model), ReFTr1(n_epochs=1, batch_texts=8, save_every=1)
    settings = VectorSettings(n_random=2, n_shuffles=1)
    whole = learn_vector(contrast, method, out=tmp_path / "whole", model=model, settings=settings)
    checkpoint, calls = artifacts.Draft.checkpoint, []

    def stop(self, state):
        checkpoint(self, state)
        calls.append(1)
        if len(calls) == stop_at:
            raise KeyboardInterrupt

    monkeypatch.setattr(artifacts.Draft, "checkpoint", stop)
    with pytest.raises(KeyboardInterrupt):
        learn_vector(contrast, method, out=tmp_path / "cut", model=model, settings=settings)
    monkeypatch.undo()
    learn_vector(contrast, method, out=tmp_path / "cut", model=model, settings=settings)
    digests = [artifacts.read_manifest(tmp_path / name).digest for name in ("whole", "cut")]
    assert digests[0] == digests[1]
    assert whole.origin["chosen"][PLACE]["steps"] > 1


def test_pairs_become_a_contrast_whose_true_side_has_the_value(model, tmp_path):
    pairs = [
        Pair(
            before=f"{'black' if n % 2 else 'white'} gull {n}",
            after=f"{'white' if n % 2 else 'black'} gull {n}",
            values_before={"colour": "black" if n % 2 else "white"},
            values_after={"colour": "white" if n % 2 else "black"},
            support={"colour": True},
        )
        for n in range(24)
    ]
    store = collect_pairs(
        model,
        PairSet(name="gulls", factors=("colour",), pairs=tuple(pairs)),
        out=tmp_path / "p",
        hookpoint=[PLACE],
        settings=PairSettings(position="mean"),
    )
    contrast = contrast_of_pairs(store, factor="colour", value="white")
    teach, report = contrast.places[PLACE]
    assert teach.n_texts + report.n_texts == 48 and teach.is_paired
    for half in (teach, report):
        words = [bytes(token for token in row if token < 256).decode() for row in half.tokens]
        assert (
            [word.startswith("white") for word in words]
            == half.labels_T.tolist()
            == [False, True] * (half.n_texts // 2)
        )
    vector = learn_vector(contrast, DiffMean(), out=tmp_path / "v", settings=QUICK)
    assert artifacts.read_manifest(tmp_path / "v").parents["pairs"]["digest"] == store.manifest.digest
    assert vector.scores[0].value > 0.9
    with pytest.raises(ConfigError, match="expected one of: colour"):
        contrast_of_pairs(store, factor="size")
    with pytest.raises(ConfigError, match="black, white"):
        contrast_of_pairs(store, factor="colour", value="red")
    with pytest.raises(ConfigError, match="belongs to a factor"):
        contrast_of_pairs(store, value="red")


def test_several_hookpoints_give_several_directions(model, tmp_path):
    contrast = contrast_of_texts(model, labelled(), hookpoint=["layers.0", "layers.1"])
    vector = learn_vector(contrast, DiffMean(), out=tmp_path / "v", settings=VectorSettings(n_random=2, n_shuffles=0))
    assert vector.hookpoints == ("layers.0", "layers.1")
    assert [operation.hookpoint for operation in vector.add_all(0.5)] == ["layers.0", "layers.1"]
    with pytest.raises(ConfigError, match=r"layers\.0, layers\.1"):
        vector.add(0.5)
    with steer(model, vector.add_all(0.5)) as steering:
        model.network(torch.tensor([[257, *b"sea"]]))
    assert steering.n_tokens_moved == 3


def test_pooling_takes_the_mean_or_the_largest():
    examples = Examples(
        x_ND=torch.tensor([[1.0, 0.0], [3.0, 0.0], [-2.0, 1.0]]),
        text_N=torch.tensor([0, 0, 1]),
        labels_T=np.array([True, False]),
        groups_T=np.array([0, 1]),
        tokens=((1, 2), (3,)),
    )
    along = torch.tensor([1.0, 0.0])
    assert examples.scores(along, "mean").tolist() == [2.0, -2.0]
    assert examples.scores(along, "max").tolist() == [3.0, -2.0]
    swapped = examples.choose(np.array([1, 0]))
    assert swapped.x_ND.tolist() == [[-2.0, 1.0], [1.0, 0.0], [3.0, 0.0]]
    assert swapped.tokens == ((3,), (1, 2)) and swapped.text_N.tolist() == [0, 1, 1]


@pytest.mark.parametrize("damage", [{"units": 3}, {"scores": [{}]}, {"units": {"layers.9": {}}}, {"pool": None}])
def test_a_described_vector_that_is_none_is_refused(vector, tmp_path, damage):
    from bathyscope.vectors.vector import undescribed

    told = json.loads(json.dumps({**vector.described(), **damage}))
    with pytest.raises(ArtifactError, match="here"):
        undescribed(vector.directions, told, where=tmp_path / "here")
