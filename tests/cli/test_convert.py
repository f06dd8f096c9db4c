"""`bathyscope convert`: what it says, what it checks, what it refuses to write."""

import json
from pathlib import Path

import pytest
import torch
from activations.small_store import make_store
from dictionaries.formats import foreign_files as files
from tiny import tiny_model

from bathyscope.activations.store import ActivationStore
from bathyscope.cli import convert as convert_module
from bathyscope.cli import main
from bathyscope.dictionaries.dictionary import Dictionary, load_dictionary
from bathyscope.dictionaries.rules import Above
from bathyscope.dictionaries.weights import Weights


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> ActivationStore:
    return make_store(tmp_path_factory.mktemp("store") / "activations")


@pytest.fixture
def without_hub(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(convert_module, "load_model", lambda name: tiny_model())


def said(capsys: pytest.CaptureFixture[str]) -> dict[str, object]:
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    return {name: value for line in lines for name, value in line.items()}


def test_a_foreign_dictionary_becomes_a_folder_of_ours(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    foreign = files.saelens(tmp_path / "a", architecture="jumprelu")
    assert main(["convert", "--dictionary", str(tmp_path / "a"), "--out", str(tmp_path / "b"), "--json"]) == 0
    told, x = said(capsys), torch.randn(5, 6, generator=torch.Generator().manual_seed(1))
    assert (told["format"], told["features"], told["rule"]) == ("bathyscope", 20, "Above()")
    assert main(["verify", str(tmp_path / "b")]) == 0
    torch.testing.assert_close(load_dictionary(tmp_path / "b").reconstruct(x), foreign.reconstruct(x))


def test_lens_names_become_module_paths_where_the_model_is_given(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], without_hub: None
) -> None:
    files.saelens(tmp_path / "a")
    words = ["convert", "--dictionary", str(tmp_path / "a"), "--out"]
    assert main([*words, str(tmp_path / "b"), "--model", "tiny"]) == 0
    assert load_dictionary(tmp_path / "b").hookpoint == "layers.2"
    assert main([*words, str(tmp_path / "c"), "--hookpoint", "blocks.1.hook_resid_post"]) == 2
    assert "give --model" in capsys.readouterr().err
    assert main([*words, str(tmp_path / "d"), "--hookpoint", "layers.1"]) == 0
    assert load_dictionary(tmp_path / "d").hookpoint == "layers.1"


def test_another_hookpoint_than_the_files_name_needs_force(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    files.sparsify(tmp_path / "layers.2")
    words = ["convert", "--dictionary", str(tmp_path / "layers.2"), "--hookpoint", "layers.1", "--out"]
    assert main([*words, str(tmp_path / "b")]) == 2
    assert "the dictionary's files name layers.2, not layers.1; --force" in capsys.readouterr().err
    assert main([*words, str(tmp_path / "b"), "--force"]) == 0
    assert load_dictionary(tmp_path / "b").hookpoint == "layers.1"


def good_dictionary(store: ActivationStore, folder: Path, *, subtract: bool) -> None:
    """Reads and writes the principal directions of the store, in SAELens' form, with its true L0 stated."""
    x = store.read(store.rows("all"), "layers.1")
    mean = x.mean(0) + 30
    rows = torch.linalg.svd(x - mean, full_matrices=False).Vh
    rows = torch.cat([rows, -rows])
    weights = Weights(
        W_enc=rows.T.contiguous(), b_enc=torch.zeros(64), W_dec=rows, b_dec=mean, threshold=torch.full((64,), 0.05)
    )
    made = Dictionary(weights=weights, rule=Above(), subtract_b_dec=True)
    l0 = made.encode(x).l0()
    made.save(folder, format="saelens")
    config = json.loads((folder / "cfg.json").read_text())
    config["metadata"]["l0"] = l0
    (folder / "cfg.json").write_text(json.dumps({**config, "apply_b_dec_to_input": subtract}))


def test_a_dictionary_that_does_what_it_states_is_green(
    store: ActivationStore, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    good_dictionary(store, tmp_path / "a", subtract=True)
    words = ["--activations", str(store.path), "--hookpoint", "layers.1", "--out", str(tmp_path / "b")]
    assert main(["convert", "--dictionary", str(tmp_path / "a"), *words]) == 0
    assert "green: L0" in capsys.readouterr().out
    assert load_dictionary(tmp_path / "b").hookpoint == "layers.1"


def test_a_misread_dictionary_is_not_written_and_the_right_reading_is_named(
    store: ActivationStore, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    good_dictionary(store, tmp_path / "a", subtract=False)
    words = ["convert", "--dictionary", str(tmp_path / "a"), "--activations", str(store.path)]
    words += ["--hookpoint", "layers.1", "--out", str(tmp_path / "b")]
    assert main(words) == 2
    printed = capsys.readouterr()
    assert "it fits with b_dec subtracted before encoding; --force" in printed.err
    assert "  b_dec subtracted before encoding" in printed.out
    assert not (tmp_path / "b").exists()
    assert main([*words, "--force", "--json"]) == 0
    check = said(capsys)["check"]
    assert isinstance(check, dict)
    assert (check["verdict"], check["fits"]) == ("red", "b_dec subtracted before encoding")
    assert not load_dictionary(tmp_path / "b").subtract_b_dec, "switched silently"


def test_activations_of_another_place_are_refused(
    store: ActivationStore, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    files.sparsify(tmp_path / "layers.2", d=32, f=40)
    words = ["convert", "--dictionary", str(tmp_path / "layers.2"), "--activations", str(store.path)]
    assert main([*words, "--out", str(tmp_path / "b")]) == 2
    assert "the dictionary belongs to layers.2" in capsys.readouterr().err
