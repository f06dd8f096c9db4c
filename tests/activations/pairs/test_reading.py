"""Which tokens are read: the last real one under any padding, the mean behind the prefix, one by one as in a batch."""

import pytest
import torch
from activations.pairs.small_pairs import FACTORS, TEXTS, pair, pair_set
from tiny import tiny_model

from bathyscope.activations.pairs.pair import Pair, PairSet
from bathyscope.activations.pairs.reading import pair_batches, read_batch, token_pairs
from bathyscope.errors import ConfigError, ModelError
from bathyscope.models.hooks import replace, run
from bathyscope.models.prompts import special_tokens

HOOKPOINTS = ["layers.1", "layers.0.mlp.up_proj"]
BOS = 257


def tokens_of(model, pairs: PairSet = TEXTS, *, bos="always", max_tokens=100):
    return token_pairs(model, pairs, bos=bos, max_tokens=max_tokens)


def read(model, tokens, position, side="right", sink_multiple=0.0, hookpoints=HOOKPOINTS):
    special = special_tokens(model)
    return read_batch(
        model, tokens, hookpoints, position=position, special=special, sink_multiple=sink_multiple, side=side
    )


def alone(model, row) -> torch.Tensor:
    """Activations of one text without padding, at the first hookpoint."""
    return run(model, torch.tensor([row]), HOOKPOINTS[:1])[HOOKPOINTS[0]][0]


@pytest.mark.parametrize("architecture", ["llama", "gpt2", "mistral"])
@pytest.mark.parametrize("side", ["left", "right"])
def test_the_last_real_token_is_read_whatever_the_padding(architecture, side):
    model = tiny_model(architecture)
    tokens = tokens_of(model)
    assert len({len(row) for t in tokens for row in t.sides}) > 6, "the texts have different lengths"
    hookpoint = "layers.1" if architecture != "gpt2" else "h.1"
    z_P2D = read(model, tokens, "last", side, hookpoints=[hookpoint])[hookpoint]
    for p, both in enumerate(tokens):
        for s, row in enumerate(both.sides):
            expected = run(model, torch.tensor([row]), [hookpoint])[hookpoint][0, -1]
            torch.testing.assert_close(z_P2D[p, s], expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("side", ["left", "right"])
def test_the_mean_is_over_the_tokens_behind_bos_and_prefix(side):
    model = tiny_model()
    tokens = tokens_of(model)
    z_P2D = read(model, tokens, "mean", side)["layers.1"]
    for p, both in enumerate(tokens):
        n_prefix = 1 + len(TEXTS.pairs[p].prefix.encode())
        for s, row in enumerate(both.sides):
            torch.testing.assert_close(z_P2D[p, s], alone(model, row)[n_prefix:].mean(0), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("position", ["last", "mean"])
def test_a_batch_gives_what_each_pair_gives_alone_at_all_hookpoints(position):
    model = tiny_model()
    tokens = tokens_of(model)
    together = read(model, tokens, position, sink_multiple=10.0)
    for p, both in enumerate(tokens):
        single = read(model, [both], position, sink_multiple=10.0)
        for name in HOOKPOINTS:
            torch.testing.assert_close(together[name][p], single[name][0], rtol=1e-4, atol=1e-4)
    assert [together[name].shape for name in HOOKPOINTS] == [(6, 2, 32), (6, 2, 48)]


def test_bos_stands_once_and_special_spellings_are_plain_text():
    model = tiny_model()
    pairs = pair_set(pair("<|im_start|>a", "<|im_start|>b"))
    (found,) = tokens_of(model, pairs)
    assert found.before[0] == BOS and found.before.count(BOS) == 1
    assert set(found.before[1:]) < set(range(256)) and found.start == 1
    (bare,) = tokens_of(model, pairs, bos="never")
    assert bare.before == found.before[1:] and bare.start == 0


def test_attention_sinks_do_not_count_in_a_mean():
    model = tiny_model()
    (both,) = tokens_of(model, pair_set(pair("abcdefgh", "abcdefgx")))

    def blow_up_the_third(x_BSD):
        changed = x_BSD.clone()
        changed[:, 3] *= 1000
        return changed

    with replace(model, {"layers.1": blow_up_the_third}):
        without = read(model, [both], "mean", sink_multiple=10.0, hookpoints=["layers.1"])["layers.1"][0, 0]
        with_it = read(model, [both], "mean", hookpoints=["layers.1"])["layers.1"][0, 0]
    x_SD = alone(model, both.before)
    torch.testing.assert_close(without, x_SD[[1, 2, 4, 5, 6, 7, 8]].mean(0), rtol=1e-4, atol=1e-4)
    assert float((with_it - without).norm()) > 10


def test_activations_that_are_not_finite_are_refused():
    model = tiny_model()
    with replace(model, {"layers.1": lambda x_BSD: x_BSD * float("nan")}):
        with pytest.raises(ModelError, match=r"layers.1: activations of tiny-llama-0 hold NaN"):
            read(model, tokens_of(model), "last")


def test_long_texts_and_sides_with_the_same_tokens_are_refused_by_name():
    model = tiny_model()
    with pytest.raises(ConfigError, match=r"'a red box' | 'a blue box': a side has 11 tokens, at most 10 are read"):
        tokens_of(model, max_tokens=10)
    lower = tiny_model()
    lower.tokenizer.backend_tokenizer.normalizer = lowercase()
    with pytest.raises(ConfigError, match="both sides give the same tokens"):
        tokens_of(lower, pair_set(pair("A box", "a box")))


def lowercase():
    from tokenizers import normalizers

    return normalizers.Lowercase()


def test_batches_hold_every_pair_once_and_not_too_many_tokens():
    model = tiny_model()
    tokens = tokens_of(model)
    batches = pair_batches(tokens, batch_tokens=80)
    assert sorted(i for batch in batches for i in batch) == list(range(6))
    for batch in batches:
        longest = max(len(row) for i in batch for row in tokens[i].sides)
        assert len(batch) == 1 or 2 * len(batch) * longest <= 80


def test_a_prefix_that_melts_into_the_text_never_leaves_an_empty_span():
    model = tiny_model()
    pairs = PairSet(name="x", factors=FACTORS, pairs=(Pair(prefix="q: ", before="a", after="ab"),))
    (both,) = tokens_of(model, pairs)
    assert both.start < min(map(len, both.sides))
