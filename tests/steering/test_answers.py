"""Choosing features and answering with them, on a tiny model: rows, order, targets, resumption."""

import itertools

import numpy as np
import pytest
import torch
from steering.worlds import random_dictionary
from tiny import tiny_model

from bathyscope import artifacts
from bathyscope.activations.collect import CollectSettings, collect
from bathyscope.errors import ConfigError
from bathyscope.features.index import index_features
from bathyscope.models.unembed import final_norm, unembedding
from bathyscope.steering import answers as answers_file
from bathyscope.steering import choose as choose_file
from bathyscope.steering.answers import AnswerSettings, answers
from bathyscope.steering.choose import ChooseSettings, choose_features, read_candidates
from bathyscope.steering.targets import all_read_tokens, read_tokens, writes_what_it_reads

CHOICE = ChooseSettings(
    prompts=("hello", "sea"), n_features=2, n_candidates=5, min_density=0.0, max_density=1.0, max_new_tokens=4
)
ANSWER = AnswerSettings(features=(3, 8), prompts=("hello", "light", "fish"), strengths=(0.5, 2.0), max_new_tokens=5)


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    """A tiny model, a random dictionary, its index, and the folders they come from."""
    folder = tmp_path_factory.mktemp("world")
    for n in range(10):
        (folder / f"{n}.txt").write_text(f"{n} the sea under glass is full of light and fish go by in rows " * 2)
    model = tiny_model()
    store = collect(
        model,
        str(folder),
        out=folder / "activations",
        hookpoint="layers.1",
        n_tokens=1000,
        settings=CollectSettings(held_out=0.5),
    )
    dictionary = random_dictionary(model)
    dictionary.save(folder / "dictionary")
    index = index_features(model, dictionary, store, out=folder / "features")
    return model, dictionary, index, {"dictionary": folder / "dictionary", "features": folder / "features"}


def test_read_tokens_are_the_peaks_of_the_top_examples(world):
    _, _, index, _ = world
    every = all_read_tokens(index)
    assert len(every) > 20
    for feature, peaks in itertools.islice(every.items(), 20):
        examples = index.examples(feature, "top")
        assert peaks.tolist() == [index.tokens[example.token] for example in examples]
        found = read_tokens(index, feature)
        assert set(found) == set(peaks.tolist()) and len(set(found)) == len(found)
        counts = [peaks.tolist().count(token) for token in found]
        assert counts == sorted(counts, reverse=True)


def test_writing_what_it_reads_is_a_mean_standardised_logit(world):
    model, dictionary, index, _ = world
    scores_F = writes_what_it_reads(model, dictionary, index)
    every = all_read_tokens(index)
    feature = next(iter(every))
    logits_V = final_norm(model)(dictionary.W_dec[feature]) @ unembedding(model).T
    z_V = (logits_V - logits_V.mean()) / logits_V.std()
    assert scores_F[feature] == pytest.approx(float(z_V[torch.from_numpy(every[feature])].mean()), rel=1e-4)
    assert set(np.flatnonzero(np.isinf(scores_F))) == set(range(48)) - set(every)


def test_chosen_features_are_the_best_tried_and_every_tried_one_is_kept(world, tmp_path):
    model, dictionary, index, parents = world
    chosen = choose_features(model, dictionary, index, out=tmp_path / "c", parents=parents, settings=CHOICE)
    tried = read_candidates(tmp_path / "c")
    assert len(tried) == 5 and len(chosen) == 2
    assert [t.gain for t in tried] == sorted((t.gain for t in tried), reverse=True)
    assert chosen[0] == tried[0]
    assert float(dictionary.W_dec[chosen[0].feature] @ dictionary.W_dec[chosen[1].feature]) < 0.5


def test_an_interrupted_choice_resumes_to_the_same_bytes(world, tmp_path, monkeypatch):
    model, dictionary, index, parents = world
    choose_features(model, dictionary, index, out=tmp_path / "whole", parents=parents, settings=CHOICE)
    calls = []

    def clamp(*arguments):
        calls.append(1)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return real(*arguments)

    real = choose_file.Clamp
    monkeypatch.setattr(choose_file, "Clamp", clamp)
    for _ in range(2):
        try:
            choose_features(model, dictionary, index, out=tmp_path / "cut", parents=parents, settings=CHOICE)
        except KeyboardInterrupt:
            assert (tmp_path / "cut.partial").exists()
    assert len(calls) == 2 + 1 + 3
    assert artifacts.verify(tmp_path / "cut").digest == artifacts.verify(tmp_path / "whole").digest


def test_no_feature_in_the_density_range_is_refused(world, tmp_path):
    model, dictionary, index, parents = world
    settings = ChooseSettings(prompts=("hello",), min_density=0.999, max_density=1.0)
    with pytest.raises(ConfigError, match="widen the range"):
        choose_features(model, dictionary, index, out=tmp_path / "c", parents=parents, settings=settings)
    assert not list(tmp_path.iterdir())


def test_every_prompt_is_answered_plainly_steered_and_controlled_at_every_strength(world, tmp_path):
    model, dictionary, index, parents = world
    rows = answers(model, dictionary, index, out=tmp_path / "g", parents=parents, settings=ANSWER)
    arms = [(row.prompt, row.arm, row.feature, row.strength) for row in rows]
    steered = itertools.product(ANSWER.prompts, ("feature", "random"), ANSWER.features, ANSWER.strengths)
    assert sorted(arms, key=str) == sorted([*((p, "plain", None, 0.0) for p in ANSWER.prompts), *steered], key=str)
    for row in rows:
        assert 1 <= len(row.tokens) <= 5
        assert (row.effect["KL"] == 0) == (row.arm == "plain")


def test_interrupted_answers_resume_to_the_same_bytes(world, tmp_path, monkeypatch):
    model, dictionary, index, parents = world
    answers(model, dictionary, index, out=tmp_path / "whole", parents=parents, settings=ANSWER)
    calls = []

    def targets(*arguments):
        calls.append(1)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return read_tokens(*arguments)

    monkeypatch.setattr(answers_file, "read_tokens", targets)
    with pytest.raises(KeyboardInterrupt):
        answers(model, dictionary, index, out=tmp_path / "cut", parents=parents, settings=ANSWER)
    answers(model, dictionary, index, out=tmp_path / "cut", parents=parents, settings=ANSWER)
    assert len(calls) == 3 + 2
    assert artifacts.verify(tmp_path / "cut").digest == artifacts.verify(tmp_path / "whole").digest


def test_settings_without_features_or_prompts_are_refused():
    with pytest.raises(ConfigError, match="at least one feature, one prompt and one strength"):
        AnswerSettings(features=(), prompts=("hello",))
