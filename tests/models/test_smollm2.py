"""The real bundled model: facts that only trained weights and the right tokenizer give."""

import time

import pytest
import torch

from bathyscope.models.generate import generate
from bathyscope.models.hookpoints import resolve, width
from bathyscope.models.hooks import run
from bathyscope.models.load import load_model
from bathyscope.models.log_probs import log_probs
from bathyscope.models.packing import packed_inputs, require_packing
from bathyscope.models.prompts import text_tokens

pytestmark = pytest.mark.real


@pytest.fixture(scope="module")
def model():
    return load_model("smollm2")


def test_it_is_the_model_that_its_material_names(model):
    assert (model.d_model, model.n_layers, model.n_vocabulary, model.context_length) == (576, 30, 49152, 8192)
    assert sum(weight.numel() for weight in model.network.parameters()) == 134_515_008
    assert all(weight.dtype == torch.float32 for weight in model.network.parameters())
    assert model.identity["sha256"].startswith("b179c9523d0e6a0f")
    assert model.materials[0]["licence"] == "Apache-2.0"
    assert width(model, "layers.15") == 576
    assert len(resolve(model, "layers.*")) == 30


def test_it_opens_in_seconds_from_the_cache(model):
    started = time.monotonic()
    load_model("smollm2")
    assert time.monotonic() - started < 5


def test_it_knows_the_capital_of_france(model):
    (generation,) = generate(model, ["What is the capital of France?"], max_new_tokens=12)
    assert "Paris" in generation.text
    assert generation.ended


def test_english_is_likelier_than_the_same_words_reversed(model):
    english, reversed_ = (text_tokens(model, text) for text in ("The cat sat on the mat.", ".mat the on sat cat The"))
    likely, unlikely = log_probs(model, [english, reversed_])
    assert float(likely.mean()) > float(unlikely.mean()) + 1


def test_text_comes_back_from_its_tokens_and_digits_stand_alone(model):
    for text in ("def f(x):\n    return x  # 12  34\n", "Größe, naïve, 日本語 – ✓", "  leading and trailing  "):
        assert model.tokenizer.decode(text_tokens(model, text)) == text
    assert model.tokenizer.convert_ids_to_tokens(text_tokens(model, "a  2025")) == ["a", "ĠĠ", "2", "0", "2", "5"]


def test_packed_documents_do_not_see_each_other(model):
    require_packing(model)
    first, second = text_tokens(model, "The sea is deep."), text_tokens(model, "Ein Haus am See")
    tokens_BS = torch.tensor([first + second])
    segments_BS = torch.tensor([[0] * len(first) + [1] * len(second)])
    packed = run(model, packed_inputs(tokens_BS, segments_BS), "layers.15")["layers.15"]
    alone = run(model, torch.tensor([second]), "layers.15")["layers.15"]
    largest = float(alone.abs().max())
    assert float((packed[:, len(first) :] - alone).abs().max()) < 1e-5 * largest
