"""The finished dictionary and its folder: what is kept, what is refused and with which remedy."""

import dataclasses
import json
import shutil
from pathlib import Path

import pytest
import torch

from bathyscope import artifacts
from bathyscope.artifacts import Recipe, verify
from bathyscope.dictionaries import dictionary as dictionary_module
from bathyscope.dictionaries.codes import Codes
from bathyscope.dictionaries.dictionary import Dictionary, load_dictionary
from bathyscope.dictionaries.rules import Above, Largest, Positive
from bathyscope.dictionaries.weights import Weights
from bathyscope.errors import ArtifactError, ConfigError

D, F = 8, 24


def build(*, threshold: bool = False, **changes: object) -> Dictionary:
    generator = torch.Generator().manual_seed(0)
    W_dec = torch.nn.functional.normalize(torch.randn(F, D, generator=generator), dim=1)
    weights = Weights(
        W_enc=W_dec.T.contiguous(),
        b_enc=torch.randn(F, generator=generator),
        W_dec=W_dec,
        b_dec=torch.randn(D, generator=generator),
        threshold=torch.rand(F, generator=generator) if threshold else None,
    )
    base = Dictionary(weights=weights, rule=Largest(k=3), subtract_b_dec=True, hookpoint="layers.2")
    return dataclasses.replace(base, **changes)  # pyright: ignore[reportArgumentType]


X_ND = torch.randn(40, D, generator=torch.Generator().manual_seed(5))


def test_encode_and_decode_are_the_written_formula():
    found = build()
    pre_NF = (X_ND - found.b_dec) @ found.W_enc + found.b_enc
    codes_NF = torch.zeros_like(pre_NF).scatter(1, pre_NF.topk(3).indices, pre_NF.topk(3).values.relu())
    torch.testing.assert_close(found.pre(X_ND), pre_NF)
    torch.testing.assert_close(found.encode(X_ND).dense(), codes_NF)
    torch.testing.assert_close(found.reconstruct(X_ND), codes_NF @ found.W_dec + found.b_dec)


def test_the_subtraction_is_a_choice_of_the_dictionary():
    found = build(subtract_b_dec=False)
    torch.testing.assert_close(found.pre(X_ND), X_ND @ found.W_enc + found.b_enc)


@pytest.mark.parametrize("rule", [Positive(), Largest(k=3)], ids=["positive", "largest"])
def test_slices_do_not_change_the_codes(rule, monkeypatch):
    found = build(rule=rule)
    whole = found.encode(X_ND)
    monkeypatch.setattr(dictionary_module, "CHUNK_BYTES", 7 * 4 * F)
    torch.testing.assert_close(found.encode(X_ND).dense(), whole.dense())
    torch.testing.assert_close(found.encode(X_ND).values_NK.shape[1], whole.values_NK.shape[1])


def test_a_threshold_survives_the_folder(tmp_path):
    made = build(threshold=True, rule=Above())
    made.save(tmp_path / "d")
    found = load_dictionary(tmp_path / "d")
    assert found.threshold is not None and made.threshold is not None
    assert torch.equal(found.threshold, made.threshold)
    assert torch.equal(found.encode(X_ND).dense(), made.encode(X_ND).dense())


def test_the_digest_sees_weights_and_rule_and_nothing_else():
    base = build()
    assert base.digest == build().digest == build(hookpoint="elsewhere").digest
    others = [build(rule=Largest(k=4)), build(subtract_b_dec=False), build(threshold=True)]
    nudged = dataclasses.replace(base, weights=dataclasses.replace(base.weights, b_enc=base.b_enc + 1e-6))
    assert len({base.digest, nudged.digest, *[other.digest for other in others]}) == 5


def test_directions_are_unit_rows_of_the_decoder():
    found = build()
    assert torch.equal(found.direction(3), found.W_dec[3])
    with pytest.raises(ConfigError, match="feature 24 does not exist: give a number from 0 to 23"):
        found.direction(24)


def test_codes_of_another_dictionary_are_refused():
    with pytest.raises(ConfigError, match="codes of 5 features"):
        build().decode(Codes.from_dense(torch.ones(2, 5)))


def test_maxima_of_another_size_are_refused():
    with pytest.raises(ArtifactError, match="max_activation has shape"):
        build(max_activation=torch.zeros(3))


def test_saving_twice_changes_nothing_and_another_dictionary_is_not_written_over_it(tmp_path):
    build().save(tmp_path / "d")
    before = (tmp_path / "d" / "manifest.json").read_bytes()
    build().save(tmp_path / "d")
    assert (tmp_path / "d" / "manifest.json").read_bytes() == before
    with pytest.raises(ArtifactError, match="made with other settings"):
        build(rule=Largest(k=4)).save(tmp_path / "d")


def test_the_folder_can_be_verified_and_says_what_it_holds(tmp_path):
    build(model_identity={"name": "tiny", "sha256": "00"}).save(tmp_path / "d")
    assert verify(tmp_path / "d").kind == "dictionary"
    config = json.loads((tmp_path / "d" / "config.json").read_bytes())
    assert (config["d_model"], config["n_features"], config["hookpoint"]) == (D, F, "layers.2")
    assert config["rule"] == {"kind": "Largest", "k": 3}


@pytest.mark.parametrize("ending", [".pt", ".pkl", ".bin", ".pth", ".PT"])
def test_pickles_are_refused_with_what_to_do(ending, tmp_path):
    file = tmp_path / f"ae{ending}"
    file.write_bytes(b"\x80\x04.")
    for place in (file, str(file), tmp_path):
        with pytest.raises(ArtifactError, match=r"is a pickle.*convert its tensors to safetensors"):
            load_dictionary(place)


def test_a_single_file_is_refused(tmp_path):
    (tmp_path / "weights.safetensors").write_bytes(b"")
    with pytest.raises(ArtifactError, match="of a dictionary of ours give the folder"):
        load_dictionary(tmp_path / "weights.safetensors")


def test_a_run_folder_is_answered_with_the_dictionary_inside(tmp_path):
    build().save(tmp_path / "run" / "dictionary")
    with pytest.raises(ArtifactError, match=r"is a run folder, not a dictionary; give .*run/dictionary"):
        load_dictionary(tmp_path / "run")


def test_another_kind_of_folder_is_refused(tmp_path):
    with artifacts.draft(tmp_path / "a", Recipe(kind="activations", config={})):
        pass
    with pytest.raises(ArtifactError, match="kind 'activations', expected 'dictionary'"):
        load_dictionary(tmp_path / "a")


@pytest.mark.parametrize("name", ["weights.safetensors", "config.json"])
def test_altered_and_truncated_files_are_refused_by_name(name, tmp_path):
    build().save(tmp_path / "d")
    file = tmp_path / "d" / name
    content = file.read_bytes()
    file.write_bytes(content[:-1])
    with pytest.raises(ArtifactError, match=f"{name} is truncated"):
        load_dictionary(tmp_path / "d")
    file.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    with pytest.raises(ArtifactError, match=f"{name} was altered"):
        load_dictionary(tmp_path / "d")


def test_a_folder_without_a_setting_is_refused_by_its_name(tmp_path):
    with artifacts.draft(tmp_path / "d", Recipe(kind="dictionary", config={})) as work:
        (work.path / "config.json").write_text(json.dumps({"rule": {"kind": "Largest", "k": 3}}))
        (work.path / "weights.safetensors").write_bytes(b"")
    with pytest.raises(ArtifactError, match=r"not a dictionary of this version: config\.json: _Saved lacks"):
        load_dictionary(tmp_path / "d")


def test_a_missing_folder_says_so(tmp_path):
    with pytest.raises(ArtifactError, match="does not exist"):
        load_dictionary(tmp_path / "nothing")


@pytest.fixture
def hub(tmp_path, monkeypatch):
    """A Hub that serves folders of this disk, and what was asked of it."""
    import huggingface_hub

    asked: list[tuple[str, str | None, list[str]]] = []

    def snapshot_download(repository: str, *, revision: str | None, allow_patterns: list[str]) -> str:
        asked.append((repository, revision, allow_patterns))
        source = tmp_path / "hub" / repository.replace("/", "--")
        if not source.exists():
            raise huggingface_hub.errors.LocalEntryNotFoundError("no network and nothing cached\nmore")
        return str(source)

    monkeypatch.setattr(huggingface_hub, "snapshot_download", snapshot_download)
    return asked


def test_a_hub_id_is_fetched(hub, tmp_path):
    build().save(tmp_path / "hub" / "lab--model" / "layers.2")
    found = load_dictionary("lab/model@main/layers.2")
    assert found.digest == build().digest
    ((repository, revision, patterns),) = hub
    assert (repository, revision) == ("lab/model", "main")
    assert "layers.2/weights.safetensors" in patterns and not any("*" in pattern for pattern in patterns)


def test_a_hub_id_that_cannot_be_fetched_is_one_line(hub):
    with pytest.raises(
        ArtifactError, match=r"^lab/none is no folder here.*\(no network and nothing cached\)"
    ) as caught:
        load_dictionary("lab/none")
    assert "\n" not in str(caught.value)


def test_a_hub_repository_that_is_no_dictionary_is_refused(hub, tmp_path):
    (tmp_path / "hub" / "lab--other").mkdir(parents=True)
    with pytest.raises(ArtifactError, match=r"holds no manifest.json"):
        load_dictionary("lab/other")


def test_a_mistyped_local_path_is_not_asked_of_the_hub(hub, tmp_path, monkeypatch):
    (tmp_path / "runs").mkdir()
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ArtifactError, match="does not exist"):
        load_dictionary("runs/demo")
    with pytest.raises(ArtifactError, match="does not exist"):
        load_dictionary(Path("lab/model"))
    assert hub == []


def test_moving_a_folder_changes_nothing(tmp_path):
    build().save(tmp_path / "d")
    shutil.move(tmp_path / "d", tmp_path / "e")
    assert load_dictionary(tmp_path / "e").digest == build().digest
