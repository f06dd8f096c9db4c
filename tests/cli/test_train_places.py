"""`bathyscope train` for kinds that read several places."""

import json

import pytest
from activations.small_store import PACKING, SETTINGS, TEXT
from tiny import tiny_model

from bathyscope.activations.collect import collect
from bathyscope.cli import main
from bathyscope.dictionaries.dictionary import load_dictionary

PLACES = ["layers.1.post_attention_layernorm", "layers.1.mlp"]
RUN = ["--n-tokens", "512", "--batch-size", "128"]


@pytest.fixture(scope="module")
def stores(tmp_path_factory):
    assert PACKING.context <= 128
    folder = tmp_path_factory.mktemp("stores")
    for seed, name in enumerate(("base", "chat")):
        collect(tiny_model(seed=seed), TEXT, out=folder / name, hookpoint=PLACES, n_tokens=900, settings=SETTINGS)
    return folder


def test_a_transcoder_is_trained_from_two_hookpoints_in_the_order_given(stores, tmp_path, capsys):
    places = ["--hookpoint", PLACES[0], "--hookpoint", PLACES[1]]
    words = ["train", "--activations", str(stores / "base"), "--out", str(tmp_path / "d"), *places, *RUN]
    assert main([*words, "--json", "transcoder", "--n-features", "16", "--k", "2", "--skip"]) == 0
    said = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert [said["hookpoint"], said["writes to"]] == PLACES
    found = load_dictionary(tmp_path / "d")
    assert [found.hookpoint, found.output_hookpoint] == PLACES and found.weights.W_skip is not None


def test_a_crosscoder_is_trained_from_two_folders(stores, tmp_path, capsys):
    folders = ["--activations", str(stores / "base"), "--activations", str(stores / "chat")]
    words = ["train", *folders, "--out", str(tmp_path / "d"), "--hookpoint", PLACES[1], *RUN]
    assert main([*words, "crosscoder", "--n-features", "16", "--k", "2"]) == 0
    names = [block.name for block in load_dictionary(tmp_path / "d").blocks]
    assert names == [f"tiny-llama-{seed} {PLACES[1]}" for seed in (0, 1)]
    assert ", ".join(names) in capsys.readouterr().out


def test_a_single_place_is_refused_for_a_transcoder_with_one_clear_line(stores, tmp_path, capsys):
    words = ["train", "--activations", str(stores / "base"), "--out", str(tmp_path / "d"), "--hookpoint", PLACES[1]]
    assert main([*words, *RUN, "transcoder", "--n-features", "16", "--k", "2"]) == 2
    assert "Transcoder reads several places side by side" in capsys.readouterr().err


def test_three_folders_are_refused(stores, tmp_path, capsys):
    folders = ["--activations", str(stores / "base")] * 3
    assert main(["train", *folders, "--out", str(tmp_path / "d"), "crosscoder"]) == 2
    assert "3 folders of activations were given" in capsys.readouterr().err
