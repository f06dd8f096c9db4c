"""`load_model` on folders, Hub ids, materials, and everything that is none of these."""

import hashlib
import socket
from types import SimpleNamespace

import pytest
import torch
import transformers
from huggingface_hub import HfApi, errors
from tiny import tiny_model
from tiny_gguf import write_tiny_gguf

from bathyscope import materials
from bathyscope.errors import DeviceError, ModelError
from bathyscope.files import sha256
from bathyscope.materials import Material, MaterialEntry, MaterialFile
from bathyscope.models.generate import generate
from bathyscope.models.load import bundled, load_model

TOKENS_BS = torch.tensor([[257, 72, 101, 108, 108, 111]])


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("BATHYSCOPE_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def offline(monkeypatch):
    """Any attempt to reach another machine fails the test."""

    def refuse(*_arguments, **_keywords):
        pytest.fail("a local model asked the network")

    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    monkeypatch.setattr(socket.socket, "connect", refuse)


def saved(folder, architecture="llama", **options):
    model = tiny_model(architecture)
    model.network.save_pretrained(folder, **options)
    model.tokenizer.save_pretrained(folder)
    return model


@pytest.mark.parametrize("architecture", ["llama", "mistral", "qwen3", "gemma3", "gpt2", "gpt_neox"])
def test_a_saved_folder_is_opened_offline_with_the_same_logits_and_tokens(tmp_path, offline, architecture):
    original = saved(tmp_path / "model", architecture)
    model = load_model(tmp_path / "model")
    with torch.no_grad():
        assert torch.equal(model.network(TOKENS_BS).logits, original.network(TOKENS_BS).logits)
    for text in ("héllo  wörld", "<|im_start|>x"):
        assert model.tokenizer(text)["input_ids"] == original.tokenizer(text)["input_ids"]
    assert generate(model, ["a"], max_new_tokens=3) == generate(original, ["a"], max_new_tokens=3)
    assert (model.d_model, model.n_layers, model.n_vocabulary, model.context_length) == (32, 3, 260, 128)


def test_a_loaded_model_is_ready_to_be_read(tmp_path):
    saved(tmp_path / "model")
    model = load_model(str(tmp_path / "model"))
    assert not model.network.training
    assert not any(weight.requires_grad for weight in model.network.parameters())
    assert (model.name, model.device, model.dtype, model.materials) == (
        "model",
        torch.device("cpu"),
        torch.float32,
        (),
    )
    assert dict(model.identity) == {
        "name": "model",
        "sha256": sha256(tmp_path / "model" / "model.safetensors"),
        "description": "local folder",
        "dtype": "float32",
        "architecture": "LlamaForCausalLM",
    }


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16"])
def test_the_dtype_asked_for_is_the_dtype_of_every_weight(tmp_path, dtype):
    saved(tmp_path / "model")
    model = load_model(tmp_path / "model", dtype=dtype)
    assert {weight.dtype for weight in model.network.parameters()} == {getattr(torch, dtype)}
    assert model.identity["dtype"] == dtype


def test_several_weight_files_have_one_sum_that_depends_on_each(tmp_path):
    saved(tmp_path / "model", max_shard_size="20KB")
    files = sorted((tmp_path / "model").glob("*.safetensors"))
    assert len(files) > 1
    listing = "".join(f"{sha256(file)}  {file.name}\n" for file in files)
    assert load_model(tmp_path / "model").identity["sha256"] == hashlib.sha256(listing.encode()).hexdigest()


def test_pickled_weights_are_refused_with_the_remedy(tmp_path):
    saved(tmp_path / "model")
    (tmp_path / "model" / "model.safetensors").rename(tmp_path / "model" / "pytorch_model.bin")
    with pytest.raises(ModelError, match=r"only pickled weights \(pytorch_model\.bin\).*save them as safetensors"):
        load_model(tmp_path / "model")


def test_missing_weights_are_refused_instead_of_drawn_at_random(tmp_path):
    model = saved(tmp_path / "model", "gpt_neox")
    model.body.save_pretrained(tmp_path / "model")
    with pytest.raises(ModelError, match=r"not a whole causal language model: missing keys .*lm_head"):
        load_model(tmp_path / "model")


def test_truncated_weights_are_one_clear_error(tmp_path):
    saved(tmp_path / "model")
    file = tmp_path / "model" / "model.safetensors"
    file.write_bytes(file.read_bytes()[:-100])
    with pytest.raises(ModelError, match=r"model cannot be opened as a causal language model: ") as caught:
        load_model(tmp_path / "model")
    assert "\n" not in str(caught.value)


def test_a_folder_without_a_tokenizer_is_one_clear_error(tmp_path):
    tiny_model().network.save_pretrained(tmp_path / "model")
    with pytest.raises(ModelError, match="model cannot be opened as a causal language model: "):
        load_model(tmp_path / "model")


def test_folders_and_files_that_are_no_models_are_told_apart(tmp_path):
    (tmp_path / "notes.txt").write_text("x")
    with pytest.raises(ModelError, match="lacks safetensors weights"):
        load_model(tmp_path)
    with pytest.raises(ModelError, match=r"notes\.txt is not a model: expected a \.gguf file"):
        load_model(tmp_path / "notes.txt")
    saved(tmp_path / "model")
    (tmp_path / "model" / "config.json").unlink()
    with pytest.raises(ModelError, match=r"lacks config\.json"):
        load_model(tmp_path / "model")


def test_a_folder_with_one_gguf_file_is_that_file(tmp_path):
    write_tiny_gguf(tmp_path / "tiny.gguf")
    assert load_model(tmp_path).name == "tiny"
    write_tiny_gguf(tmp_path / "tiny2.gguf")
    (tmp_path / "cache").rename(tmp_path / "elsewhere")
    with pytest.raises(ModelError, match=r"holds 2 GGUF files; name one"):
        load_model(tmp_path)


def test_a_path_that_does_not_exist_names_its_neighbours(tmp_path):
    saved(tmp_path / "my-model")
    with pytest.raises(ModelError, match=r"my-modle does not exist; nearest there: my-model"):
        load_model(tmp_path / "my-modle")
    with pytest.raises(ModelError, match=r"nowhere\.gguf does not exist"):
        load_model("nowhere.gguf")


def test_a_misspelt_bundled_name_is_put_right_without_asking_the_hub(offline):
    assert "smollm2" in bundled()
    for name in ("smolm2", "SmolLM2", "smollm"):
        with pytest.raises(ModelError, match=f"no model is named '{name}'; nearest: smollm2"):
            load_model(name)
    with pytest.raises(ModelError, match="'two words' is no model: expected smollm2"):
        load_model("two words")


def test_a_bundled_name_carries_its_material(tmp_path, monkeypatch):
    write_tiny_gguf(tmp_path / "tiny.gguf")
    file = MaterialFile(path="package/tiny.gguf", size_bytes=1, sha256=sha256(tmp_path / "tiny.gguf"), format="gguf")
    told = {"name": "little", "version": "1", "licence": "MIT", "origin": "here", "sha256": "ab" * 32, "tier": 1}
    entry = MaterialEntry(
        **told, source="pypi", package="p", archive="p.whl", size_bytes=1, description="", files=(file,)
    )
    monkeypatch.setattr(materials, "known", lambda: [entry])
    monkeypatch.setattr(materials, "entry", lambda name: entry)
    material = Material(**told, folder=tmp_path, files={"tiny.gguf": tmp_path / "tiny.gguf"})
    monkeypatch.setattr(materials, "fetch", lambda name: material)
    model = load_model("little")
    assert (model.name, model.identity["name"], model.identity["sha256"]) == ("little", "little", file.sha256)
    assert model.materials == (material.record(),)


def answer_of_the_hub(monkeypatch, answer):
    def model_info(self, name, **_):
        if isinstance(answer, Exception):
            raise answer
        return answer

    monkeypatch.setattr(HfApi, "model_info", model_info)


def test_an_unreachable_hub_is_one_clear_error_after_one_try(monkeypatch, caplog):
    answer_of_the_hub(monkeypatch, OSError("Name or service not known"))
    with pytest.raises(ModelError, match=r"'nobody/nothing' is neither bundled .* cannot be reached; check the name"):
        load_model("nobody/nothing")
    assert "the Hugging Face Hub does not answer (Name or service not known)" in caplog.text


def test_an_unknown_hub_id_is_one_clear_error(monkeypatch):
    response = SimpleNamespace(headers={}, request=None, status_code=404)
    answer_of_the_hub(monkeypatch, errors.RepositoryNotFoundError("404", response=response))
    with pytest.raises(ModelError, match="has no model 'nobody/nothing'"):
        load_model("nobody/nothing")
    answer_of_the_hub(monkeypatch, errors.GatedRepoError("403", response=response))
    with pytest.raises(ModelError, match="nobody/nothing is gated"):
        load_model("nobody/nothing")


def test_a_hub_model_with_pickles_alone_is_refused_before_it_is_downloaded(monkeypatch):
    answer_of_the_hub(monkeypatch, SimpleNamespace(sha="c0ffee", siblings=[SimpleNamespace(rfilename="model.bin")]))
    with pytest.raises(ModelError, match="has no safetensors weights; pickled ones are never opened"):
        load_model("some/model")


def test_weights_and_tokenizer_come_from_the_same_commit_of_the_hub(tmp_path, monkeypatch):
    saved(tmp_path / "model")
    answer_of_the_hub(monkeypatch, SimpleNamespace(sha="c0ffee", siblings=[SimpleNamespace(rfilename="a.safetensors")]))
    asked = []
    for opener in (transformers.AutoModelForCausalLM, transformers.AutoTokenizer):

        def from_pretrained(source, *, revision, local_files_only, opened=opener.from_pretrained, **options):
            asked.append((source, revision, local_files_only, options["trust_remote_code"]))
            return opened(tmp_path / "model", **options)

        monkeypatch.setattr(opener, "from_pretrained", from_pretrained)
    model = load_model("some/model")
    assert asked == [("some/model", "c0ffee", False, False)] * 2
    assert (model.name, model.identity["revision"]) == ("some/model", "c0ffee")
    assert "sha256" not in model.identity


def test_devices_that_are_not_there_are_refused(tmp_path, monkeypatch):
    with pytest.raises(DeviceError, match="no device is called 'abacus'"):
        load_model(tmp_path, device="abacus")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(DeviceError, match="this torch sees no CUDA device; use cpu"):
        load_model(tmp_path, device="cuda")


def test_nothing_is_printed_while_a_folder_is_opened(tmp_path, capfd):
    saved(tmp_path / "model")
    capfd.readouterr()
    load_model(tmp_path / "model")
    assert capfd.readouterr() == ("", "")
