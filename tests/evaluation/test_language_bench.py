"""The language bench from end to end on a tiny random model: what it writes, not how good it is."""

import dataclasses
import itertools

import pytest
from tiny import tiny_model

from bathyscope.errors import ConfigError
from bathyscope.evaluation.language_bench import SCORES, TABLE, TOGETHER, LanguageBench, bench_language
from bathyscope.evaluation.language_table import CLEARNESS
from bathyscope.evaluation.single_changes.candidates import LEARNT, MEAN
from bathyscope.evaluation.single_changes.scores import LEAD, SHIFT


@pytest.fixture(scope="module")
def model_folder(tmp_path_factory):
    folder, model = tmp_path_factory.mktemp("tiny-model"), tiny_model()
    model.network.save_pretrained(folder)
    model.tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def settings(model_folder) -> LanguageBench:
    return LanguageBench(
        sets=("binary", "lang"),
        n_pairs=300,
        model=str(model_folder),
        hookpoints=("layers.0", "layers.1"),
        positions=("last", "mean"),
        n_columns=4,
        n_draws=3,
        n_restarts=2,
        n_steps=60,
    )


@pytest.fixture(scope="module")
def run(settings, tmp_path_factory):
    out = tmp_path_factory.mktemp("language")
    return out, bench_language(settings, out=out)


def test_every_set_concept_and_transfer_has_every_way(run):
    _, rows = run
    subjects = {row.subject for row in rows if row.metric == SHIFT}
    concepts = ("binary, {}: {}, language", "binary, {}: {}, gender", "binary → lang, {}: {}, language")
    for place, concept in itertools.product(("layers.0 last", "layers.1 mean"), concepts):
        for way in (LEARNT, MEAN, "principal components", "affine autoencoder, no constraint", "random columns"):
            assert concept.format(place, way) in subjects
    assert f"binary, layers.1 mean: {TOGETHER}, gender" in subjects
    assert any(row.metric == LEAD for row in rows)


def test_the_table_holds_what_the_rows_hold(run):
    out, rows = run
    text = (out / SCORES / TABLE).read_text()
    clear = {row.subject: row.value for row in rows if row.metric == CLEARNESS and row.subject.startswith("binary, ")}
    best = max(clear, key=lambda subject: clear[subject]).partition(": ")[0]
    row = next(row for row in rows if row.metric == SHIFT and row.subject == f"{best}: {LEARNT}, gender")
    assert f"{row.value:.3f} [{row.low:.3f}, {row.high:.3f}]" in text
    other = next(
        row for row in rows if row.metric == SHIFT and row.subject == f"binary, layers.0 last: {LEARNT}, gender"
    )
    assert f"| binary, layers.0 last | gender | {other.value:.3f} |" in text
    assert "supports" in text and "agreement of two seeds" in text


def test_a_finished_run_is_read_again(run, settings):
    out, rows = run
    assert bench_language(settings, out=out) == rows


def test_unknown_sets_are_refused_by_name(settings):
    with pytest.raises(ConfigError, match="nowhere"):
        dataclasses.replace(settings, sets=("nowhere",))
