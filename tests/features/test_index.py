"""The whole index: exact figures, the same bytes for any batching and after interruptions, clear refusals."""

import dataclasses

import numpy as np
import pytest
import torch
from features.planted import HOOKPOINT, Stream, indexed, one_hot_dictionary, sparse_values
from tiny import D_MODEL, tiny_model

from bathyscope import artifacts, runtime
from bathyscope.activations.collect import CollectSettings, collect
from bathyscope.activations.text import Texts
from bathyscope.dictionaries.dictionary import Dictionary
from bathyscope.dictionaries.rules import Above, Largest, Positive
from bathyscope.dictionaries.weights import Weights
from bathyscope.errors import ArtifactError, ConfigError, DeviceError, ModelError
from bathyscope.features import encode, layout
from bathyscope.features.index import FeatureIndex, IndexSettings, index_features
from bathyscope.features.logits import logit_tokens

SETTINGS = IndexSettings(window=8, window_before=5)
RULES = {"positive": (Positive(), None), "largest": (Largest(k=3), None), "above": (Above(), 2.0)}


@pytest.fixture
def stream() -> Stream:
    return Stream([100, 30, 77, 5, 200, 60] * 3)


@pytest.fixture
def x_ND(stream) -> torch.Tensor:
    return sparse_values(stream.n_rows, D_MODEL, seed=2)


def files(index: FeatureIndex) -> dict[str, str]:
    return {name: entry["sha256"] for name, entry in index.manifest.files.items()}


def test_figures_are_those_of_the_kept_tokens_alone(tmp_path, stream, x_ND):
    index = indexed(tmp_path, stream, x_ND, one_hot_dictionary(rule=Positive()), SETTINGS)
    table, codes_NF = index.features, x_ND.clamp_min(0).numpy()
    assert table["feature"].to_pylist() == list(range(D_MODEL))
    assert np.array_equal(table["n_fires"].to_numpy(), (codes_NF > 0).sum(0))
    assert np.array_equal(table["density"].to_numpy(), (codes_NF > 0).mean(0))
    assert np.array_equal(table["max"].to_numpy(), codes_NF.max(0))
    assert np.allclose(table["mean"].to_numpy(), codes_NF.sum(0) / (codes_NF > 0).sum(0))
    assert (table["density_low"].to_numpy() < table["density"].to_numpy()).all()
    assert (table["density"].to_numpy() < table["density_high"].to_numpy()).all()
    assert [sum(row) for row in table["histogram"].to_pylist()] == table["n_fires"].to_pylist()
    assert index.summary["n_tokens"] == stream.n_rows < index.summary["n_stream_tokens"] == len(stream.tokens)
    assert index.summary["n_documents"] == 18
    assert np.array_equal(index.tokens, stream.tokens)
    assert np.array_equal(index.documents, stream.documents)
    assert index.sources[17] == "planted #17"


def test_the_shares_of_the_tenths_sum_to_the_density(tmp_path, stream, x_ND):
    index = indexed(tmp_path, stream, x_ND, one_hot_dictionary(rule=Positive()), SETTINGS)
    row = index.feature(4)
    tenths = np.array(row.histogram).reshape(10, 2).sum(1) / index.summary["n_tokens"]
    assert np.isclose(tenths.sum(), row.density)


def test_only_held_out_documents_are_indexed_by_default(tmp_path, stream, x_ND):
    store = stream.store(tmp_path / "store", x_ND)
    index = index_features(tiny_model(), one_hot_dictionary(rule=Positive()), store, out=tmp_path / "out")
    documents = np.unique(index.documents)
    assert store.held_out(documents).all()
    assert index.summary["n_tokens"] == len(store.rows("held_out"))
    own = x_ND[torch.from_numpy(store.rows("held_out"))]
    assert np.array_equal(index.features["n_fires"].to_numpy(), (own > 0).sum(0).numpy())


def test_logits_and_neighbours_stand_in_the_table(tmp_path, stream, x_ND):
    dictionary = one_hot_dictionary(rule=Positive())
    index = indexed(tmp_path, stream, x_ND, dictionary, SETTINGS)
    logits = logit_tokens(tiny_model(), dictionary.W_dec, n=10)
    row = index.feature(9)
    assert list(row.top_tokens) == logits.top_tokens[9].tolist()
    assert list(row.bottom_tokens) == logits.bottom_tokens[9].tolist()
    assert len(row.neighbours) == len(row.neighbour_cosines) == 8
    fires = (x_ND > 0).numpy()
    phi = np.corrcoef(fires.T.astype(float))[9]
    assert np.allclose(row.cofiring_scores, phi[list(row.cofiring)], atol=1e-6)


def test_cofiring_is_counted_on_an_even_sample_when_there_are_many_tokens(tmp_path, stream, x_ND):
    index = indexed(tmp_path, stream, x_ND, one_hot_dictionary(rule=Positive()), SETTINGS, cofiring_tokens=500)
    rows = np.flatnonzero(np.diff(np.arange(stream.n_rows + 1) * 500 // stream.n_rows))
    phi = np.corrcoef((x_ND > 0).numpy()[rows].T.astype(float))[9]
    row = index.feature(9)
    assert index.summary["cofiring_tokens"] == len(rows) == 500
    assert np.allclose(row.cofiring_scores, phi[list(row.cofiring)], atol=1e-6)


@pytest.mark.parametrize("name", RULES)
def test_the_bytes_do_not_depend_on_the_batches(tmp_path, stream, x_ND, name, monkeypatch):
    rule, threshold = RULES[name]
    dictionary, found = one_hot_dictionary(rule=rule, threshold=threshold), []
    for i, (batch_tokens, run_entries) in enumerate([(4096, 4_000_000), (1, 50), (37, 300)]):
        monkeypatch.setattr(encode, "RUN_ENTRIES", run_entries)
        index = indexed(tmp_path / str(i), stream, x_ND, dictionary, SETTINGS, batch_tokens=batch_tokens)
        found.append(files(index))
    assert found[0] == found[1] == found[2]


def test_another_seed_draws_other_examples_and_changes_no_figure(tmp_path, stream, x_ND):
    dictionary = one_hot_dictionary(rule=Positive())
    first, second = (indexed(tmp_path / str(s), stream, x_ND, dictionary, SETTINGS, seed=s) for s in (0, 1))
    assert files(first)[layout.FEATURES_FILE] == files(second)[layout.FEATURES_FILE]
    assert first.examples(3, "top") == second.examples(3, "top")
    assert first.examples(3, "tenth-4") != second.examples(3, "tenth-4")


@pytest.mark.parametrize("n_batches", [0, 1, 9])
def test_an_interrupted_index_ends_with_the_same_bytes(tmp_path, stream, x_ND, monkeypatch, n_batches):
    dictionary = one_hot_dictionary(rule=Largest(k=3))
    monkeypatch.setattr(encode, "RUN_ENTRIES", 200)
    whole = indexed(tmp_path / "whole", stream, x_ND, dictionary, SETTINGS, batch_tokens=50)
    real, calls = encode._batch, []

    def fails_later(*arguments):
        calls.append(arguments)
        if len(calls) > n_batches:
            raise KeyboardInterrupt
        return real(*arguments)

    monkeypatch.setattr(encode, "_batch", fails_later)
    with pytest.raises(KeyboardInterrupt):
        indexed(tmp_path / "cut", stream, x_ND, dictionary, SETTINGS, batch_tokens=50)
    monkeypatch.setattr(encode, "_batch", lambda *arguments: calls.append(arguments) or real(*arguments))
    calls.clear()
    store = tmp_path / "cut" / "store"
    settings = dataclasses.replace(SETTINGS, split="all", batch_tokens=50)
    resumed = index_features(
        tiny_model(), dictionary, encode_store(store), out=tmp_path / "cut" / "out", settings=settings
    )
    assert files(resumed) == files(whole)
    assert (len(calls) < 25) == (n_batches == 9)  # 28 batches in all: a checkpoint was used


def encode_store(path):
    from bathyscope.activations.store import ActivationStore

    return ActivationStore(path)


@pytest.fixture
def lettered() -> Dictionary:
    """A random dictionary at the first layer of the tiny model."""
    generator = torch.Generator().manual_seed(5)
    W_dec = torch.nn.functional.normalize(torch.randn(48, D_MODEL, generator=generator), dim=1)
    weights = Weights(W_enc=W_dec.T.contiguous(), b_enc=torch.zeros(48), W_dec=W_dec, b_dec=torch.zeros(D_MODEL))
    return Dictionary(weights=weights, rule=Largest(k=4), subtract_b_dec=False, hookpoint="layers.0")


TEXTS = Texts([f"Story {i}: the ship left the harbour at {i} o'clock and came back late." for i in range(30)])


def test_a_text_gives_the_index_of_its_activations(tmp_path, lettered):
    settings = IndexSettings(n_tokens=1500)
    direct = index_features(tiny_model(), lettered, TEXTS, out=tmp_path / "direct", settings=settings)
    store = collect(
        tiny_model(),
        TEXTS,
        out=tmp_path / "store",
        hookpoint="layers.0",
        n_tokens=1500,
        settings=CollectSettings(held_out=0.0),
    )
    settings = IndexSettings(split="all")
    stored = index_features(tiny_model(), lettered, store, out=tmp_path / "stored", settings=settings)
    assert files(direct) == files(stored)
    assert not list((tmp_path / "direct").rglob("shard*"))
    assert direct.summary["n_tokens"] == store.n_rows


def test_windows_of_a_real_text_read_as_it_was_written(tmp_path, lettered):
    index = index_features(tiny_model(), lettered, TEXTS, out=tmp_path / "out", settings=IndexSettings(n_tokens=1500))
    example = max((e for f in range(48) for e in index.examples(f, "top")), key=lambda e: e.stop - e.start)
    text = "".join(index.render(index.tokens[example.start : example.stop].tolist()))
    assert text.removeprefix("<|bos|>") in "".join(TEXTS.texts)
    assert index.sources[example.document].startswith("texts in memory #")


def test_a_finished_index_is_opened_and_other_settings_are_refused(tmp_path, stream, x_ND):
    dictionary = one_hot_dictionary(rule=Positive())
    first = indexed(tmp_path, stream, x_ND, dictionary, SETTINGS)
    store = encode_store(tmp_path / "store")
    settings = dataclasses.replace(SETTINGS, split="all")
    again = index_features(tiny_model(), dictionary, store, out=tmp_path / "out", settings=settings)
    assert again.manifest.digest == first.manifest.digest
    with pytest.raises(ArtifactError, match="other settings"):
        index_features(tiny_model(), dictionary, store, out=tmp_path / "out", settings=SETTINGS)


def test_what_does_not_belong_together_is_refused_before_anything_is_written(tmp_path, stream, x_ND):
    store, model = stream.store(tmp_path / "store", x_ND), tiny_model()
    right = one_hot_dictionary(rule=Positive())
    wrong = [
        (dataclasses.replace(right, hookpoint="layers.2"), ConfigError, "no hookpoint 'layers.2'"),
        (one_hot_dictionary(16, rule=Positive()), ConfigError, "width"),
        (dataclasses.replace(right, model_identity={"name": "other", "sha256": "ff" * 32}), ModelError, "other"),
    ]
    for dictionary, kind, words in wrong:
        with pytest.raises(kind, match=words):
            index_features(model, dictionary, store, out=tmp_path / "out")
    with pytest.raises(ConfigError, match="hookpoint"):
        index_features(model, dataclasses.replace(right, hookpoint=None), TEXTS, out=tmp_path / "out")
    assert [p.name for p in tmp_path.iterdir()] == ["store"]


def test_a_split_without_tokens_is_refused_and_leaves_nothing(tmp_path, stream, x_ND):
    store = stream.store(tmp_path / "store", x_ND, held_out=0.0)
    with pytest.raises(ConfigError, match="held_out"):
        index_features(tiny_model(), one_hot_dictionary(rule=Positive()), store, out=tmp_path / "out")
    assert [p.name for p in tmp_path.iterdir()] == ["store"]


def test_too_little_memory_is_refused_with_the_numbers_and_leaves_nothing(tmp_path, stream, x_ND, monkeypatch):
    monkeypatch.setattr(runtime, "free_memory_bytes", lambda device: 1000)
    with pytest.raises(DeviceError, match=r"an index of [\d,]+ tokens and 32 features would need .* 0\.0 MB are free"):
        indexed(tmp_path / "out", stream, x_ND, one_hot_dictionary(rule=Positive()), SETTINGS)
    assert not list(tmp_path.rglob("features.parquet"))


def test_a_dictionary_of_another_width_than_the_model_has_no_logits(tmp_path, stream):
    x_ND = sparse_values(stream.n_rows, 48, seed=3)
    index = indexed(tmp_path, stream, x_ND, one_hot_dictionary(48, rule=Positive()), SETTINGS)
    assert index.feature(5).top_tokens == []
    assert index.summary["writes_logits"] is False


def test_a_page_reads_one_row_group_of_each_table(tmp_path, stream, monkeypatch):
    x_ND = sparse_values(stream.n_rows, 200, seed=3)
    path = indexed(tmp_path, stream, x_ND, one_hot_dictionary(200, rule=Positive()), SETTINGS).path
    index, read = FeatureIndex(path), []
    for file in (index._features, index._examples):
        monkeypatch.setattr(file, "read_row_group", lambda i, real=file.read_row_group: read.append(i) or real(i))
    assert index._features.num_row_groups == 4
    assert index._examples.num_row_groups == 13
    assert index.feature(130).feature == 130
    assert {example.feature for example in index.examples(130)} == {130}
    assert read == [2, 8]
    size = [index._examples.metadata.row_group(8).column(i).total_compressed_size for i in range(9)]
    assert sum(size) < 32_000


def test_rows_of_the_table_and_single_features_agree(tmp_path, stream, x_ND):
    index = indexed(tmp_path, stream, x_ND, one_hot_dictionary(rule=Positive()), SETTINGS)
    for f in (0, 17, 31):
        assert dataclasses.asdict(index.feature(f)) == index.features.slice(f, 1).to_pylist()[0]
    with pytest.raises(ConfigError, match="feature 32 does not exist"):
        index.feature(32)


def test_a_folder_of_another_kind_or_with_an_altered_file_is_refused(tmp_path, stream, x_ND):
    index = indexed(tmp_path, stream, x_ND, one_hot_dictionary(rule=Positive()), SETTINGS)
    with pytest.raises(ArtifactError, match="kind 'activations'"):
        FeatureIndex(tmp_path / "store")
    file = index.path / layout.EXAMPLES_FILE
    file.write_bytes(file.read_bytes()[:-1] + b"x")
    with pytest.raises(ArtifactError, match="altered"):
        FeatureIndex(index.path).examples(0)
    artifacts.read_manifest(index.path, kind="features")


def test_settings_out_of_range_are_refused():
    for wrong in ({"window_before": 32}, {"top": 0}, {"silent": -1}, {"batch_tokens": 0}):
        with pytest.raises(ConfigError, match=next(iter(wrong))):
            IndexSettings(**wrong)


def test_the_hookpoint_of_the_store_is_used_when_the_dictionary_names_none(tmp_path, stream, x_ND):
    dictionary = dataclasses.replace(one_hot_dictionary(rule=Positive()), hookpoint=None)
    assert indexed(tmp_path, stream, x_ND, dictionary, SETTINGS).summary["hookpoint"] == HOOKPOINT
