"""Files that cannot be trusted, and places: pickles, claims of size, damage, the Hub."""

import io
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from dictionaries.formats import foreign_files as files
from dictionaries.formats.foreign_files import refused
from numpy.lib import format as npy
from safetensors.torch import load_file, save_file

from bathyscope.dictionaries.dictionary import load_dictionary
from bathyscope.dictionaries.formats.hooks import module_path
from bathyscope.dictionaries.formats.pickled import open_pickled
from bathyscope.dictionaries.formats.tensor_file import CONFIG_BYTES, open_npz
from bathyscope.dictionaries.rules import Largest
from bathyscope.errors import ArtifactError


class Evil:
    """What a pickle can do."""

    def __reduce__(self) -> tuple[Any, tuple[str]]:
        import os

        return os.mkdir, ("was-run",)


@pytest.mark.parametrize("where", ["beside", "inside"])
def test_a_pickle_with_more_than_tensors_is_not_opened(where: str, tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.chdir(tmp_path)
    file = tmp_path / "resid_post_mlp_v5_32k" / "autoencoders" / "8.pt"
    extra = {"note": Evil()} if where == "beside" else {"activation_state_dict": {"k": 4, "postact_fn": Evil()}}
    files.openai_gpt2(file, **extra)
    message = refused(file, "is a pickle that is not opened: more than tensors")
    assert "convert its tensors to safetensors" in message
    assert not (tmp_path / "was-run").exists()


def test_only_listed_settings_may_stand_beside_the_tensors(tmp_path: Path) -> None:
    file = tmp_path / "resid_post_mlp_v5_32k" / "autoencoders" / "8.pt"
    files.openai_gpt2(file, note="harmless")
    refused(file, "note is a str, expected tensors")
    files.openai_gpt2(file, activation_state_dict={"k": 4.5, "postact_fn": "ReLU"})
    refused(file, r"activation_state_dict\.k is a float, expected tensors")


def test_a_tensor_that_claims_more_than_the_file_has_is_refused(tmp_path: Path) -> None:
    torch.save({"W": torch.zeros(1).expand(1 << 40)}, tmp_path / "a.pt")
    with pytest.raises(ArtifactError, match="W claims more bytes than the file has"):
        open_pickled(tmp_path / "a.pt")


def test_a_compressed_pickle_is_refused(tmp_path: Path) -> None:
    torch.save({"W": torch.zeros(1000)}, tmp_path / "a.pt")
    with (
        zipfile.ZipFile(tmp_path / "a.pt") as old,
        zipfile.ZipFile(tmp_path / "b.pt", "w", zipfile.ZIP_DEFLATED) as new,
    ):
        for entry in old.namelist():
            new.writestr(entry, old.read(entry))
    with pytest.raises(ArtifactError, match="its parts are compressed"):
        open_pickled(tmp_path / "b.pt")


def test_arrays_of_objects_are_never_unpickled(tmp_path: Path) -> None:
    folder = tmp_path / "gemma-scope-2b-pt-res"
    files.gemma_scope(folder)
    np.savez(folder / "params.npz", W_enc=np.array([Evil()], dtype=object))
    with pytest.raises(ArtifactError, match="holds object, expected plain numbers"):
        load_dictionary(folder)


def test_an_array_that_claims_another_size_is_refused(tmp_path: Path) -> None:
    array = io.BytesIO()
    npy.write_array_header_1_0(array, {"descr": "<f4", "fortran_order": False, "shape": (10**9,)})
    with zipfile.ZipFile(tmp_path / "a.npz", "w") as archive:
        archive.writestr("W.npy", array.getvalue() + bytes(40))
    with pytest.raises(ArtifactError, match=r"W.npy claims 4,000,000,000 bytes and holds 40"):
        open_npz(tmp_path / "a.npz")


def test_settings_of_unreasonable_size_are_refused(tmp_path: Path) -> None:
    files.saelens(tmp_path / "a")
    (tmp_path / "a" / "cfg.json").write_text('{"x": "' + "y" * CONFIG_BYTES + '"}')
    refused(tmp_path / "a", "expected settings of at most")


def test_damaged_weights_and_settings_are_named(tmp_path: Path) -> None:
    files.saelens(tmp_path / "a")
    (tmp_path / "a" / "sae_weights.safetensors").write_bytes(b"\x09" * 40)
    refused(tmp_path / "a", "damaged or no safetensors file")
    files.saelens(tmp_path / "b", drop=("b_enc",))
    refused(tmp_path / "b", "has no tensor 'b_enc'; it holds W_dec, W_enc, b_dec")
    files.saelens(tmp_path / "c")
    (tmp_path / "c" / "cfg.json").write_text("[" * 200_000)
    refused(tmp_path / "c", "is damaged")


def test_nan_in_the_weights_is_refused(tmp_path: Path) -> None:
    files.saelens(tmp_path / "a")
    file = tmp_path / "a" / "sae_weights.safetensors"
    tensors = load_file(file)
    tensors["W_enc"][0, 0] = float("nan")
    save_file(tensors, file)
    refused(tmp_path / "a", "W_enc holds NaN")


def test_a_run_folder_of_another_tool_is_answered_with_the_dictionary_inside(tmp_path: Path) -> None:
    files.dictionary_learning(tmp_path / "run" / "trainer_0", "AutoEncoder")
    refused(tmp_path / "run", r"give .*trainer_0$")


@pytest.mark.parametrize(
    ("name", "path"),
    [
        ("model.layers.12.output", "layers.12"),
        ("model.layers.3.post_feedforward_layernorm.output", "layers.3.post_feedforward_layernorm"),
        ("transformer.h.2.mlp", "h.2.mlp"),
        ("layers.10", "layers.10"),
        ("model.layers.3.self_attn.o_proj.input", None),
        ("blocks.3.hook_resid_post", None),
        ("../../etc", None),
        (None, None),
    ],
)
def test_only_outputs_of_modules_become_hookpoints(name: str | None, path: str | None) -> None:
    assert module_path(name) == path


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """A Hub that serves folders of this disk under a commit, and which files were asked of it."""
    import huggingface_hub

    asked: list[list[str]] = []

    def snapshot_download(repository: str, *, revision: str | None, allow_patterns: list[str]) -> str:
        asked.append(allow_patterns)
        return str(tmp_path / "hub" / repository.replace("/", "--") / "snapshots" / ("0" * 40))

    monkeypatch.setattr(huggingface_hub, "snapshot_download", snapshot_download)
    return asked


def test_a_foreign_dictionary_on_the_hub_is_fetched_with_its_commit(hub: list[list[str]], tmp_path: Path) -> None:
    snapshot = tmp_path / "hub" / "google--gemma-scope-2b-pt-res" / "snapshots" / ("0" * 40)
    files.gemma_scope(snapshot / "layer_20" / "width_16k" / "average_l0_71")
    found = load_dictionary("google/gemma-scope-2b-pt-res/layer_20/width_16k/average_l0_71")
    assert found.source is not None and found.source["revision"] == "0" * 40
    assert found.source["repository"] == "google/gemma-scope-2b-pt-res"
    assert found.source["model_name"] == "google/gemma-2-2b" and found.hookpoint == "layers.20"
    assert "layer_20/width_16k/average_l0_71/params.npz" in hub[0]
    assert not any("*" in pattern for pattern in hub[0])


def test_a_single_file_on_the_hub_is_fetched(hub: list[list[str]], tmp_path: Path) -> None:
    repository = "SAE-Res-Qwen3-1.7B-Base-W1K-L0_4"
    snapshot = tmp_path / "hub" / f"Qwen--{repository}" / "snapshots" / ("0" * 40)
    made = files.qwen_scope(tmp_path).place
    snapshot.mkdir(parents=True)
    made.rename(snapshot / "layer7.sae.pt")
    assert load_dictionary(f"Qwen/{repository}/layer7.sae.pt").rule == Largest(k=4)
    assert "layer7.sae.pt" in hub[0]
