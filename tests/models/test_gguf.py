"""GGUF files: dequantised exactly, converted once, damaged ones refused."""

import json
import logging
import threading

import pytest
import torch
from tiny_gguf import CONFIG, write_tiny_gguf

from bathyscope.errors import ModelError
from bathyscope.files import sha256
from bathyscope.models import gguf
from bathyscope.models.load import load_model

TOKENS_BS = torch.tensor([[72, 101, 108, 108, 111, 256]])


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("BATHYSCOPE_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache" / "models"


@pytest.fixture
def conversions(monkeypatch):
    """The files that were converted, in order."""
    calls = []
    write = gguf._write_copy
    monkeypatch.setattr(gguf, "_write_copy", lambda file, folder: calls.append(file.name) or write(file, folder))
    return calls


def test_the_weights_are_exactly_those_that_the_quantisation_kept(cache, tmp_path):
    expected = write_tiny_gguf(tmp_path / "tiny.gguf")
    model = load_model(tmp_path / "tiny.gguf")
    assert all(weight.is_floating_point() for weight in model.network.parameters())
    for (name, found), (_, wanted) in zip(model.network.named_parameters(), expected.named_parameters(), strict=True):
        assert torch.equal(found, wanted), name
    with torch.no_grad():
        assert torch.equal(model.network(TOKENS_BS).logits, expected(TOKENS_BS).logits)
    assert model.network.config.num_hidden_layers == CONFIG.num_hidden_layers
    assert dict(model.identity) == {
        "name": "tiny",
        "sha256": sha256(tmp_path / "tiny.gguf"),
        "description": "tiny, GGUF Q4_1, dequantised",
        "dtype": "float32",
        "architecture": "LlamaForCausalLM",
    }


def test_the_tokenizer_and_chat_template_come_along(cache, tmp_path):
    write_tiny_gguf(tmp_path / "tiny.gguf")
    tokenizer = load_model(tmp_path / "tiny.gguf").tokenizer
    text = "he said:  12 héllo\n"
    assert tokenizer.decode(tokenizer(text)["input_ids"]) == text
    assert tokenizer("he")["input_ids"] == [256]
    assert tokenizer.chat_template.startswith("{% for m in messages %}<|turn|>")
    assert tokenizer("<|turn|>")["input_ids"] == [259]


@pytest.mark.parametrize(("split", "tokens"), [("smollm", [257, 55]), ("gpt-2", [32, 32, 55])])
def test_digits_stand_alone_where_the_vocabulary_was_learnt_so(cache, tmp_path, split, tokens):
    """`␣␣7`: the digit apart leaves both spaces together; the GPT-2 rule gives the second space to the number."""
    write_tiny_gguf(tmp_path / "tiny.gguf", split=split)
    assert load_model(tmp_path / "tiny.gguf").tokenizer("  7")["input_ids"] == tokens


def test_a_file_is_converted_once_also_under_another_name(cache, tmp_path, conversions):
    write_tiny_gguf(tmp_path / "tiny.gguf")
    first = load_model(tmp_path / "tiny.gguf")
    (tmp_path / "tiny.gguf").rename(tmp_path / "renamed.gguf")
    second = load_model(tmp_path / "renamed.gguf", dtype="bfloat16")
    assert conversions == ["tiny.gguf"]
    assert (first.dtype, second.dtype, second.name) == (torch.float32, torch.bfloat16, "renamed")
    assert first.identity["sha256"] == second.identity["sha256"]
    assert [path.name for path in cache.iterdir() if path.is_dir()] == [f"tiny-{first.identity['sha256'][:16]}"]


def test_two_processes_at_once_convert_once(cache, tmp_path, conversions):
    write_tiny_gguf(tmp_path / "tiny.gguf")
    digest, found = sha256(tmp_path / "tiny.gguf"), []
    jobs = [
        threading.Thread(target=lambda: found.append(gguf.converted(tmp_path / "tiny.gguf", digest))) for _ in range(3)
    ]
    for job in jobs:
        job.start()
    for job in jobs:
        job.join()
    assert conversions == ["tiny.gguf"]
    assert found == [found[0]] * 3
    assert found[0].quantisation == "Q4_1"


@pytest.mark.parametrize("damage", ["truncated", "missing", "record"])
def test_a_damaged_copy_is_made_again(cache, tmp_path, conversions, caplog, damage):
    write_tiny_gguf(tmp_path / "tiny.gguf")
    folder = gguf.converted(tmp_path / "tiny.gguf", "ab" * 32).folder
    weights = folder / "model.safetensors"
    whole = weights.read_bytes()
    match damage:
        case "truncated":
            weights.write_bytes(whole[:-1])
        case "missing":
            weights.unlink()
        case "record":
            (folder / gguf.RECORD).write_text("{")
    with caplog.at_level(logging.WARNING):
        assert gguf.converted(tmp_path / "tiny.gguf", "ab" * 32).folder == folder
    assert weights.read_bytes() == whole
    assert conversions == ["tiny.gguf"] * 2
    assert "is damaged and will be made again" in caplog.text


def test_a_conversion_that_was_killed_leaves_nothing_in_the_way(cache, tmp_path):
    write_tiny_gguf(tmp_path / "tiny.gguf")
    partial = cache / f"tiny-{sha256(tmp_path / 'tiny.gguf')[:16]}.partial"
    partial.mkdir(parents=True)
    (partial / "model.safetensors").write_bytes(b"half")
    load_model(tmp_path / "tiny.gguf")
    assert not partial.exists()


def test_the_copy_lists_its_files(cache, tmp_path):
    write_tiny_gguf(tmp_path / "tiny.gguf")
    folder = gguf.converted(tmp_path / "tiny.gguf", "ab" * 32).folder
    record = json.loads((folder / gguf.RECORD).read_bytes())
    assert set(record["bytes"]) == {path.name for path in folder.iterdir()} - {gguf.RECORD}


@pytest.mark.parametrize("share", [0.02, 0.5, 0.98])
def test_a_file_cut_short_is_one_clear_error(cache, tmp_path, share):
    write_tiny_gguf(tmp_path / "tiny.gguf")
    whole = (tmp_path / "tiny.gguf").read_bytes()
    (tmp_path / "tiny.gguf").write_bytes(whole[: int(len(whole) * share)])
    with pytest.raises(ModelError, match=r"tiny\.gguf cannot be read as a GGUF model \(.*get the file again") as caught:
        load_model(tmp_path / "tiny.gguf")
    assert "\n" not in str(caught.value)
    assert [path for path in cache.iterdir() if path.is_dir()] == []


def test_a_file_that_is_no_gguf_is_named(cache, tmp_path):
    (tmp_path / "text.gguf").write_bytes(b"once upon")
    with pytest.raises(ModelError, match=r"text\.gguf is not a GGUF file: it begins with b'once'"):
        load_model(tmp_path / "text.gguf")


def test_nothing_is_printed(cache, tmp_path, capfd):
    write_tiny_gguf(tmp_path / "tiny.gguf")
    capfd.readouterr()
    load_model(tmp_path / "tiny.gguf")
    load_model(tmp_path / "tiny.gguf")
    assert capfd.readouterr() == ("", "")
