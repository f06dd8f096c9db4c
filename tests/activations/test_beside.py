"""Activations side by side: several hookpoints, adjacent tokens, two models."""

import json

import numpy as np
import pytest
import torch
from activations.small_store import HOOKPOINTS, PACKING, SETTINGS, TEXT, make_store
from tiny import tiny_model

from bathyscope.activations.batches import BufferedShuffle, HookpointRows, WholeShuffle, batches, shuffled
from bathyscope.activations.beside import AdjacentRows, Beside
from bathyscope.activations.collect import CollectSettings, collect
from bathyscope.activations.store import ActivationStore
from bathyscope.activations.text import Texts
from bathyscope.artifacts import read_manifest
from bathyscope.config import to_json
from bathyscope.dictionaries.blocks import Block
from bathyscope.dictionaries.crosscoder import Crosscoder
from bathyscope.dictionaries.dictionary import load_dictionary
from bathyscope.dictionaries.source import Store
from bathyscope.dictionaries.temporal import Temporal
from bathyscope.dictionaries.topk import TopK
from bathyscope.dictionaries.train import TrainSettings, train
from bathyscope.dictionaries.train_many import train_many
from bathyscope.dictionaries.transcoder import Transcoder
from bathyscope.errors import ArtifactError, ConfigError
from bathyscope.evaluation.latent_scaling import latent_scaling
from bathyscope.progress import Step, listening

WHOLE, TIGHT = 1500.0, 0.05
each_limit = pytest.mark.parametrize("limit", [WHOLE, TIGHT])


@pytest.fixture(scope="module")
def store(tmp_path_factory) -> ActivationStore:
    return make_store(tmp_path_factory.mktemp("store") / "activations")


@pytest.fixture(scope="module")
def chat(tmp_path_factory) -> ActivationStore:
    """The same text through another model, which loses some tokens as sinks that the first one keeps."""
    out = tmp_path_factory.mktemp("chat") / "activations"
    settings = CollectSettings(shard_rows=170, packing=PACKING, sink_multiple=1.3)
    return collect(tiny_model(seed=1), TEXT, out=out, hookpoint=HOOKPOINTS, n_tokens=1500, settings=settings)


def rows_of(x_NW: torch.Tensor) -> dict[bytes, bytes]:
    """Row's left half → its right half, both of width 32."""
    return {row[:32].numpy().tobytes(): row[32:].numpy().tobytes() for row in x_NW}


@each_limit
def test_several_hookpoints_lie_side_by_side_in_the_order_given(store, limit) -> None:
    names = ("layers.0.mlp.up_proj", "layers.1")
    found_NW = torch.cat(list(batches(store, batch_size=32, hookpoint=names, epochs=1, memory_limit_mb=limit)))
    assert found_NW.shape == (len(store.rows("train")), 48 + 32)
    left_ND, right_ND = (store.read(store.rows("train"), name) for name in names)
    expected = {left.numpy().tobytes(): right.numpy().tobytes() for left, right in zip(left_ND, right_ND, strict=True)}
    for row in found_NW:
        assert expected[row[:48].numpy().tobytes()] == row[48:].numpy().tobytes()


def test_several_hookpoints_are_shuffled_as_one_is(store) -> None:
    both_NW = torch.cat(list(batches(store, batch_size=32, hookpoint=("layers.1", HOOKPOINTS[1]), epochs=2, seed=3)))
    one_ND = torch.cat(list(batches(store, batch_size=32, hookpoint="layers.1", epochs=2, seed=3)))
    assert torch.equal(both_NW[:, :32], one_ND)


def test_the_memory_limit_counts_all_columns(store) -> None:
    limit = 1.01e-6 * len(store.rows("train")) * 32 * store.dtype.itemsize
    one = batches(store, batch_size=8, hookpoint="layers.1", memory_limit_mb=limit)
    two = batches(store, batch_size=8, hookpoint=("layers.1", "layers.1"), memory_limit_mb=limit)
    assert isinstance(one._shuffle, WholeShuffle) and isinstance(two._shuffle, BufferedShuffle)


def test_a_stream_of_several_hookpoints_goes_on_from_a_position(store) -> None:
    names = ("layers.1", "layers.0.mlp.up_proj")
    whole = list(store.stream(batch_size=100, hookpoint=names, epochs=2))
    begun = store.stream(batch_size=100, hookpoint=names, epochs=2)
    for _ in range(7):
        next(begun)
    position = json.loads(json.dumps(to_json(begun.position())))
    rest = list(store.stream(batch_size=100, hookpoint=names, epochs=2, position=position))
    assert len(rest) == len(whole) - 7
    assert all(torch.equal(a, b) for a, b in zip(rest, whole[7:], strict=True))


def test_a_hookpoint_that_is_not_there_is_named(store) -> None:
    with pytest.raises(ConfigError, match=r"no hookpoint 'layers\.9'"):
        batches(store, batch_size=8, hookpoint=("layers.1", "layers.9"))


def test_the_views_offer_what_training_asks_of_a_store(store, chat) -> None:
    assert isinstance(store.adjacent(), Store) and isinstance(Beside(store, chat), Store)


@each_limit
def test_pairs_are_adjacent_in_a_piece_and_never_cross_documents(store, limit) -> None:
    at_N, documents_T, positions_T = store.row_tokens(), np.asarray(store.documents), np.asarray(store.positions)
    seconds = [
        r for r in store.rows("train").tolist() if r > 0 and at_N[r] - at_N[r - 1] == 1 and positions_T[at_N[r]] > 0
    ]
    assert len(seconds) > 500
    assert all(documents_T[at_N[r]] == documents_T[at_N[r - 1]] for r in seconds)
    x_ND = store.read(slice(None), "layers.1")
    expected = sorted(torch.cat([x_ND[r - 1], x_ND[r]]).numpy().tobytes() for r in seconds)
    source = AdjacentRows(store.adjacent(), HookpointRows(store, "layers.1"))
    stream = list(shuffled(source, batch_size=64, epochs=1, memory_limit_mb=limit))
    assert sorted(row.numpy().tobytes() for row in torch.cat(stream)) == expected
    if limit == WHOLE:
        other = list(store.adjacent().stream(batch_size=64, hookpoint="layers.1", epochs=1))
        assert all(torch.equal(a, b) for a, b in zip(stream, other, strict=True))


def test_a_documents_first_token_has_no_previous_one(store) -> None:
    view = store.adjacent()
    documents_N = np.asarray(store.documents)[store.row_tokens()]
    firsts = np.flatnonzero(np.diff(documents_N, prepend=-1))
    assert len(firsts) > 30 and not np.isin(firsts, view.rows("all")).any()


def test_pairs_go_on_from_a_position(store) -> None:
    view = store.adjacent()
    whole = list(view.stream(batch_size=50, hookpoint="layers.1", epochs=1, seed=2))
    begun = view.stream(batch_size=50, hookpoint="layers.1", epochs=1, seed=2)
    next(begun)
    rest = view.stream(batch_size=50, hookpoint="layers.1", epochs=1, seed=2, position=to_json(begun.position()))
    assert all(torch.equal(a, b) for a, b in zip(rest, whole[1:], strict=True))


def test_adjacent_tokens_are_read_at_one_hookpoint(store) -> None:
    assert store.adjacent().blocks("layers.1") == (Block("layers.1 at the previous token", 32), Block("layers.1", 32))
    with pytest.raises(ConfigError, match="at one hookpoint, 2 were named"):
        store.adjacent().stream(batch_size=8, hookpoint=("layers.1", "layers.1"))


def test_two_models_lie_side_by_side_at_the_tokens_that_both_keep(store, chat) -> None:
    view = Beside(store, chat)
    first, second = ({int(t): r for r, t in enumerate(s.row_tokens())} for s in (store, chat))
    common = sorted(set(first) & set(second))
    assert 0 < len(common) < len(first), "the second model drops tokens that the first keeps"
    train = {first[t] for t in common} & set(store.rows("train").tolist())
    assert view.rows("train").tolist() == sorted(train)
    found = rows_of(torch.cat(list(view.stream(batch_size=64, hookpoint="layers.1", epochs=1))))
    left, right = store.read(view.rows("train"), "layers.1"), {}
    for r, x_D in zip(view.rows("train").tolist(), left, strict=True):
        token = int(store.row_tokens()[r])
        right[x_D.numpy().tobytes()] = chat.read([second[token]], "layers.1")[0].numpy().tobytes()
    assert found == right


def test_two_models_are_named_in_blocks_parents_and_identity(store, chat) -> None:
    view = Beside(store, chat)
    assert view.blocks("layers.1") == (Block("tiny-llama-0 layers.1", 32), Block("tiny-llama-1 layers.1", 32))
    assert view.parents == {"activations": store.path, "activations beside": chat.path}
    assert view.model_identity["name"] == "tiny-llama-0 | tiny-llama-1"
    assert [block.name for block in Beside(store, store).blocks("layers.1")] == [
        "tiny-llama-0 (first) layers.1",
        "tiny-llama-0 (second) layers.1",
    ]


def test_stores_over_other_tokens_are_refused_by_the_array_that_differs(store, tmp_path) -> None:
    shorter = make_store(tmp_path / "shorter", n_tokens=700)
    with pytest.raises(ConfigError, match=r"holds .* tokens, .*: two stores lie side by side only"):
        Beside(store, shorter)
    words = Texts([text.replace("a", "e") for text in TEXT.texts])
    other = collect(tiny_model(), words, out=tmp_path / "other", hookpoint=HOOKPOINTS, n_tokens=1500, settings=SETTINGS)
    with pytest.raises(ConfigError, match=r"the tokens of .* differ from token \d+ on"):
        Beside(store, other)
    settings = CollectSettings(shard_rows=200, packing=PACKING, seed=5)
    shuffled_otherwise = collect(
        tiny_model(), TEXT, out=tmp_path / "order", hookpoint=HOOKPOINTS, n_tokens=1500, settings=settings
    )
    with pytest.raises(ConfigError, match="differ from token"):
        Beside(store, shuffled_otherwise)


SHORT = TrainSettings(n_tokens=1024, start_rows=512, batch_size=128)


def test_a_transcoder_learns_from_two_hookpoints_and_knows_them(store, tmp_path) -> None:
    names = ("layers.1", "layers.0.mlp.up_proj")
    kind = Transcoder(n_features=16, k=2, d_in=32)
    found = train(store, kind, out=tmp_path / "d", hookpoint=names, settings=SHORT)
    assert (found.hookpoint, found.output_hookpoint, found.d_model, found.d_out) == (*names, 32, 48)
    assert found.training["survey"]["rows"] == len(store.rows("train"))
    with pytest.raises(ArtifactError, match="hookpoint"):
        train(store, kind, out=tmp_path / "d", hookpoint=("layers.1", "layers.1"), settings=SHORT)


def test_a_crosscoder_learns_from_two_models_and_names_both(store, chat, tmp_path) -> None:
    kind = Crosscoder(n_features=16, k=2)
    view = Beside(store, chat)
    found = train(view, kind, out=tmp_path / "d", hookpoint="layers.1", settings=SHORT)
    assert found.blocks == view.blocks("layers.1") and found.hookpoint == "layers.1"
    assert load_dictionary(tmp_path / "d").blocks == found.blocks
    assert found.model_identity == view.model_identity
    parents = read_manifest(tmp_path / "d", kind="dictionary").parents
    assert set(parents) == {"activations", "activations beside"}
    scaling = latent_scaling(found, view.stream(batch_size=256, hookpoint="layers.1", epochs=1))
    assert scaling.blocks == ("tiny-llama-0 layers.1", "tiny-llama-1 layers.1")


def test_a_temporal_dictionary_reads_adjacent_tokens_of_a_plain_store(store) -> None:
    found = train(store, Temporal(n_features=16, k=2), hookpoint="layers.1", settings=SHORT)
    assert found.d_model == 32 and found.hookpoint == "layers.1"
    assert found.training["survey"]["rows"] == len(store.adjacent().rows("train"))


@pytest.mark.parametrize(
    ("kind", "hookpoint", "line"),
    [
        (TopK(n_features=8, k=2), ("layers.1", HOOKPOINTS[1]), r"TopK reads one place, found layers\.1 \(32\) and"),
        (Transcoder(n_features=8, k=2), "layers.1", r"Transcoder reads several places .* found layers\.1 \(32\) alone"),
        (Crosscoder(n_features=8, k=2), ("layers.1", HOOKPOINTS[1]), r"widths 40, 40, found layers\.1 \(32\) and"),
        (Temporal(n_features=8, k=2), ("layers.1", HOOKPOINTS[1]), "adjacent tokens are read at one hookpoint"),
    ],
    ids=["one place", "several places", "other widths", "adjacent tokens"],
)
def test_places_that_a_kind_does_not_read_are_refused_by_name(store, kind, hookpoint, line) -> None:
    with pytest.raises(ConfigError, match=line):
        train(store, kind, hookpoint=hookpoint, settings=SHORT)


def test_kinds_that_read_different_places_do_not_share_a_stream(store) -> None:
    kinds = {"a": TopK(n_features=8, k=2), "b": Temporal(n_features=8, k=2)}
    with pytest.raises(ConfigError, match="Temporal reads pairs of adjacent tokens"):
        train_many(store, kinds, hookpoint="layers.1", settings=SHORT)


def test_an_interrupted_run_on_two_models_ends_in_the_same_bytes(store, chat, tmp_path) -> None:
    kind, view = Crosscoder(n_features=16, k=2), Beside(store, chat)
    settings = TrainSettings(n_tokens=2048, start_rows=512, batch_size=128, log_every=2, checkpoint_seconds=0.0)
    straight = train(view, kind, out=tmp_path / "straight", hookpoint="layers.1", settings=settings)

    def stop(step: Step) -> None:
        if step.done >= 900:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt), listening(stop):
        train(view, kind, out=tmp_path / "resumed", hookpoint="layers.1", settings=settings)
    resumed = train(view, kind, out=tmp_path / "resumed", hookpoint="layers.1", settings=settings)
    assert resumed.digest == straight.digest
    for name in ("metrics.jsonl", "weights.safetensors", "config.json"):
        assert (tmp_path / "resumed" / name).read_bytes() == (tmp_path / "straight" / name).read_bytes()
