"""Documents to rows of tokens, on the byte tokenizer: one token per byte, BOS is 257."""

import dataclasses
import itertools

import numpy as np
import pytest
import torch
from tiny import tiny_model

from bathyscope.activations.packing import Packing, TokenBatch, TokenStream, check_packing
from bathyscope.activations.text import Mixture, Texts, open_text
from bathyscope.errors import ConfigError, ModelError
from bathyscope.models.hooks import run
from bathyscope.models.model import Model
from bathyscope.models.packing import packed_inputs

BOS = 257
SMALL = Packing(context=8, batch_tokens=16, min_piece=3, shuffle=False)


def stream_of(text, packing: Packing = SMALL, *, n_tokens: int = 10_000, model: Model | None = None) -> TokenStream:
    return TokenStream(model or tiny_model(), open_text(text), packing=packing, seed=0, n_tokens=n_tokens)


def rows_of(text, packing: Packing = SMALL, **settings) -> list[str]:
    """Each row as text: `^` for BOS, `|` between pieces."""
    rows: list[str] = []
    for batch in stream_of(text, packing, **settings):
        for tokens_S, segments_S in zip(batch.tokens_BS.tolist(), batch.segments_BS.tolist(), strict=True):
            real = [(t, s) for t, s in zip(tokens_S, segments_S, strict=True) if s >= 0]
            marks = ["|" if i and s != real[i - 1][1] else "" for i, (_, s) in enumerate(real)]
            rows.append("".join(m + ("^" if t == BOS else chr(t)) for m, (t, _) in zip(marks, real, strict=True)))
    return rows


def test_documents_fill_rows_side_by_side_and_every_piece_begins_with_bos() -> None:
    assert rows_of(Texts(["abcdefghij", "kl", "mnopq"])) == ["^abcdefg", "^hij|^kl", "^mnopq"]


def test_a_long_document_does_not_begin_in_the_last_places_of_a_row() -> None:
    assert rows_of(Texts(["abcd", "efghijklmn"])) == ["^abcd|^ef", "^ghijklm", "^n"]
    assert rows_of(Texts(["abcde", "fghijklmno"])) == ["^abcde", "^fghijkl", "^mno"]
    assert rows_of(Texts(["abcde", "f"])) == ["^abcde|^f"]


def test_stream_order_documents_and_positions_are_those_of_the_rows() -> None:
    (first, second) = stream_of(Texts(["abcdefghij", "kl", "mnopq"]))
    assert first.tokens_N.tolist() == [BOS, *b"abcdefg", BOS, *b"hij", BOS, *b"kl"]
    assert first.documents_N.tolist() == [0] * 8 + [0] * 4 + [1] * 3
    assert first.positions_N.tolist() == [*range(8), *range(4), *range(3)]
    assert second.documents_N.tolist() == [2] * 6
    for batch in (first, second):
        assert batch.tokens_BS[batch.real_BS].tolist() == batch.tokens_N.tolist()


def test_bos_rules() -> None:
    text = Texts(["abc", "def"])
    assert rows_of(text, dataclasses.replace(SMALL, bos="never")) == ["abc|def"]
    assert rows_of(text, dataclasses.replace(SMALL, bos="auto")) == ["^abc|^def"]
    model = tiny_model("qwen3")
    model.tokenizer.backend_tokenizer.post_processor = None  # a tokenizer that adds no BOS by itself
    assert rows_of(text, dataclasses.replace(SMALL, bos="auto"), model=model) == ["abc|def"]
    assert rows_of(text, dataclasses.replace(SMALL, bos="auto")) == ["^abc|^def"]


def test_a_tokenizer_without_bos_is_said_once(caplog: pytest.LogCaptureFixture) -> None:
    model = tiny_model()
    model.tokenizer.bos_token = None
    check_packing(model, SMALL)
    assert "has no BOS token" in caplog.text
    assert rows_of(Texts(["abc"]), model=model) == ["abc"]


def test_documents_may_see_each_other_when_asked() -> None:
    packing = dataclasses.replace(SMALL, cross_documents=True)
    assert rows_of(Texts(["abcde", "fghijklmno"]), packing) == ["^abcde^f", "^ghijklm", "^no"]
    (batch, _) = stream_of(Texts(["abcde", "fghijklmno"]), packing)
    assert batch.positions_N.tolist() == [*range(8), *range(8)]
    assert batch.documents_N.tolist() == [0] * 6 + [1] * 10


def test_pieces_may_have_rows_of_their_own() -> None:
    packing = dataclasses.replace(SMALL, one_piece_per_row=True)
    assert rows_of(Texts(["ab", "cd", "efghijklm"]), packing) == ["^ab", "^cd", "^efghijk", "^lm"]


@pytest.mark.parametrize("n_tokens", [1, 2, 8, 9, 13, 20])
def test_the_stream_stops_at_the_exact_number_of_tokens(n_tokens: int) -> None:
    stream = stream_of(Texts(["abcdefghij"] * 3), n_tokens=n_tokens)
    batches = list(stream)
    assert sum(len(batch.tokens_N) for batch in batches) == n_tokens
    assert len(stream.labels) == batches[-1].documents_N[-1] + 1


def test_a_shorter_stream_is_the_beginning_of_a_longer_one() -> None:
    text = Texts([chr(97 + i) * (3 + 7 * i % 11) for i in range(20)])
    packing = dataclasses.replace(SMALL, shuffle=True)
    tokens = [np.concatenate([b.tokens_N for b in stream_of(text, packing, n_tokens=n)]) for n in (40, 90)]
    assert tokens[0].tolist() == tokens[1][:40].tolist()


def test_special_tokens_spelt_in_a_text_are_plain_text() -> None:
    (batch,) = stream_of(Texts(["a<|bos|>"]), dataclasses.replace(SMALL, context=16))
    assert batch.tokens_N.tolist() == [BOS, *b"a<|bos|>"]


def test_shares_are_of_tokens() -> None:
    mixture = Mixture([(Texts(["a" * 40] * 50, name="a"), 0.75), (Texts(["bb"] * 500, name="b"), 0.25)])
    stream = stream_of(mixture, n_tokens=1200)
    counts = np.zeros(2)
    for batch in stream:
        sources = np.array(stream.document_sources)[batch.documents_N]
        counts += np.bincount(sources[batch.tokens_N != BOS], minlength=2)
    assert counts[0] / counts.sum() == pytest.approx(0.75, abs=0.05)


def test_long_documents_become_documents_of_their_own() -> None:
    stream = stream_of(Texts(["one two three"]), dataclasses.replace(SMALL, max_document_chars=8))
    list(stream)
    assert stream.labels == ["texts in memory #1, part 1", "texts in memory #1, part 2"]


def test_chat_wraps_text_as_a_user_message_and_bos_is_not_doubled(tmp_path) -> None:
    packing = dataclasses.replace(SMALL, chat=True, context=64, batch_tokens=128)
    (batch,) = stream_of(Texts(["hi"]), packing)
    assert batch.tokens_N.tolist() == [BOS, 258, *b"user\nhi", 259, 10]
    (tmp_path / "a.jsonl").write_text(
        '{"messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]}\n'
    )
    (batch,) = stream_of(str(tmp_path / "a.jsonl:messages"), packing)
    assert batch.tokens_N.tolist() == [BOS, 258, *b"user\na", 259, 10, 258, *b"assistant\nb", 259, 10]


def test_settings_that_do_not_fit_are_refused() -> None:
    model = tiny_model()
    with pytest.raises(ConfigError, match="reads at most 128 tokens"):
        check_packing(model, Packing(context=129))
    model.tokenizer.chat_template = None
    with pytest.raises(ConfigError, match="has no chat template"):
        check_packing(model, Packing(chat=True))
    for wrong in (
        {"context": 1},
        {"batch_tokens": 0},
        {"min_piece": 0},
        {"min_piece": 9, "context": 8},
        {"max_document_chars": -1},
        {"cross_documents": True, "one_piece_per_row": True},
    ):
        with pytest.raises(ConfigError):
            Packing(**wrong)


def test_a_model_that_cannot_keep_documents_apart_is_refused_unless_rows_hold_one_piece(monkeypatch) -> None:
    def refuse(model: Model) -> None:
        raise ModelError("documents see each other")

    monkeypatch.setattr("bathyscope.activations.packing.require_packing", refuse)
    with pytest.raises(ModelError):
        check_packing(tiny_model(), Packing())
    check_packing(tiny_model(), Packing(one_piece_per_row=True))
    check_packing(tiny_model(), Packing(cross_documents=True))


@pytest.mark.parametrize("architecture", ["llama", "gpt2", "gemma3"])
def test_packed_activations_equal_those_of_each_piece_alone(architecture: str) -> None:
    model = tiny_model(architecture)
    texts = Texts(["the sea is deep", "light", "fish swim in rows", "a", "sail on"])
    packing = Packing(context=24, batch_tokens=48, min_piece=4)
    for batch in stream_of(texts, packing, model=model):
        x_ND = _activations(model, batch)
        edges = [*np.flatnonzero(batch.positions_N == 0).tolist(), len(batch.tokens_N)]
        for start, stop in itertools.pairwise(edges):
            alone = torch.from_numpy(batch.tokens_N[None, start:stop]).long()
            alone_ND = run(model, alone, ["layers.2" if architecture != "gpt2" else "h.2"])
            torch.testing.assert_close(x_ND[start:stop], next(iter(alone_ND.values()))[0], rtol=1e-4, atol=1e-4)


def _activations(model: Model, batch: TokenBatch) -> torch.Tensor:
    found = run(model, packed_inputs(batch.tokens_BS, batch.segments_BS), ["*.2"])
    return next(iter(found.values()))[batch.real_BS]
