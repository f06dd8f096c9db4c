"""The eight laws: sums, supports, what may stand where, and hexadecimal weights worked out by hand."""

import math
import re

import pytest
import torch
from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from bathyscope.errors import ConfigError
from bathyscope.models.load import load_model
from bathyscope.risk.inputs.product import ProductTokens
from bathyscope.risk.inputs.recipes.code import camel_law, colon_law, if_law, is_capitalised
from bathyscope.risk.inputs.recipes.hexadecimal import hex_law, shortest, stationary, transitions
from bathyscope.risk.inputs.recipes.positions import count_tokens, frequent
from bathyscope.risk.inputs.recipes.prose import (
    PATTERN,
    caps_law,
    english_law,
    icl_law,
    is_letters_or_space,
    is_long_word,
    is_shouted,
    is_word_or_mark,
    spanish_law,
)

WORDS = [f"Ġ{letter}{rest}" for letter in PATTERN.lower() for rest in ("more", "ever", "x")]
LETTERS = [f"Ġ{chr(65 + n)}" for n in range(26)]
OTHERS = [
    "A",
    "He",
    "She",
    'Ġscreamed:Ġ"',
    ":",
    "Ġif",
    "Ġfor",
    "Camel",
    "True",
    "NO",
    "!!",
    "hello",
    "Ġworld",
    ",",
    "Ġ",
]
DIGITS = [*"0123456789abcdef", "00", "ab"]
CORPUS = (
    "CamelCamelHeSheTrueNO!!hello world,A if for:"
    + "".join(WORDS).replace("Ġ", " ")
    + "".join(LETTERS).replace("Ġ", " ")
)


def tokenizer_of(words: list[str], *, bos: str | None = "<s>") -> PreTrainedTokenizerFast:
    """A byte-level tokenizer whose every word is one token, cut longest word first."""
    vocabulary = {word: number for number, word in enumerate(dict.fromkeys(["<s>", "</s>", "<?>", *words]))}
    inner = Tokenizer(models.WordLevel(vocabulary, unk_token="<?>"))
    splits = sorted((word for word in vocabulary if word[0] != "<"), key=len, reverse=True)
    inner.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
            pre_tokenizers.Split(_any_of(splits), behavior="isolated"),
        ]
    )
    inner.decoder = decoders.ByteLevel()
    return PreTrainedTokenizerFast(tokenizer_object=inner, bos_token=bos, eos_token="</s>", unk_token="<?>")


def _any_of(words: list[str]) -> Regex:
    return Regex("|".join(re.escape(word) for word in words))


TOKENIZER = tokenizer_of([*WORDS, *LETTERS, *OTHERS, *DIGITS])
COUNTS = count_tokens([CORPUS, CORPUS], TOKENIZER)
LAWS = {
    "hex": lambda: hex_law(TOKENIZER, n_positions=3),
    "camel": lambda: camel_law(TOKENIZER, COUNTS, n_positions=3),
    "colon": lambda: colon_law(TOKENIZER, COUNTS, n_positions=3),
    "if": lambda: if_law(TOKENIZER, COUNTS, n_positions=3, most=5),
    "caps": lambda: caps_law(TOKENIZER, COUNTS, n_positions=3),
    "english": lambda: english_law(TOKENIZER, COUNTS, n_positions=3),
    "spanish": lambda: spanish_law(TOKENIZER, COUNTS, n_positions=3),
    "icl": lambda: icl_law(TOKENIZER, COUNTS),
}
LENGTHS = {"hex": 4, "camel": 4, "colon": 5, "if": 5, "caps": 6, "english": 5, "spanish": 4, "icl": 30}


def shown(law: ProductTokens, position: int) -> set[str]:
    """What can stand there."""
    return {TOKENIZER.convert_ids_to_tokens(int(token)) for token in law.support[position]}


@pytest.mark.parametrize("name", LAWS)
def test_a_law_is_a_law_and_begins_a_text(name: str) -> None:
    law = LAWS[name]()
    assert law.name == name and law.n_positions == LENGTHS[name]
    assert shown(law, 0) == {"<s>"}
    for ids_K, log_p_K in zip(law.support, law.log_p, strict=True):
        assert abs(float(log_p_K.exp().sum()) - 1) < 1e-12
        assert bool((ids_K.diff() > 0).all())


def test_what_may_stand_where() -> None:
    assert shown(LAWS["camel"](), 1) == {"Camel", "He", "She"}
    assert shown(LAWS["caps"](), 1) == {"He", "She"} and shown(LAWS["caps"](), 3) == {"NO", "!!"}
    assert shown(LAWS["colon"](), 4) == {":"} and "</s>" in shown(LAWS["colon"](), 1), "ends of texts are counted"
    assert shown(LAWS["if"](), 1) == {"Ġif"} and len(shown(LAWS["if"](), 2)) == 5
    assert shown(LAWS["english"](), 1) >= {"hello", "Camel"} and shown(LAWS["english"](), 2) >= {"Ġworld", ","}
    assert "," not in shown(LAWS["spanish"](), 1)
    assert shown(LAWS["icl"](), 3) == {"Ġamore", "Ġaever"} and shown(LAWS["icl"](), 28) == set(LETTERS)
    assert shown(LAWS["hex"](), 1) == set(DIGITS)


def test_words_are_as_frequent_as_in_the_corpus() -> None:
    law = LAWS["camel"]()
    share = dict(zip(law.support[1].tolist(), law.log_p[1].exp().tolist(), strict=True))
    camel, he = TOKENIZER.convert_tokens_to_ids(["Camel", "He"])
    assert share[camel] == pytest.approx(2 * share[he])


def test_the_kinds_of_words() -> None:
    assert [is_capitalised(text) for text in ("Name", "True", "N", "NaMe", "Na me")] == [
        True,
        False,
        False,
        False,
        False,
    ]
    assert [is_shouted(text) for text in ("NO", "A!", "A", "No", " NO")] == [True, True, False, False, False]
    assert [is_word_or_mark(text) for text in (" word", " a,", ",", ":", "word", " ")] == [True] * 3 + [False] * 3
    assert [is_letters_or_space(text) for text in (" a b", "a1", "")] == [True, False, False]
    assert [is_long_word(text) for text in (" four", " two", "words")] == [True, False, False]


def test_hexadecimal_shares_by_hand_over_two_letters() -> None:
    share_KK = transitions(["0", "1", "00"], n_letters=2)
    assert share_KK[0].tolist() == pytest.approx([0, 2 / 3, 1 / 3]), "behind 0 another 0 would have made 00"
    assert share_KK[1].tolist() == pytest.approx([1 / 4, 1 / 2, 1 / 4]), "0 unless a second one follows"
    assert stationary(share_KK) @ share_KK == pytest.approx(stationary(share_KK).numpy())
    assert float(stationary(share_KK).sum()) == pytest.approx(1)


def test_only_the_shortest_continuations_count() -> None:
    assert sorted(shortest({"a", "ab", "bc", "bcd"})) == ["a", "bc"]


def test_digits_alone_are_equally_likely() -> None:
    law = hex_law(tokenizer_of([*"0123456789abcdef", "Ġ"]), n_positions=1)
    assert law.log_p[1].exp().tolist() == pytest.approx([1 / 16] * 16)


def test_what_a_recipe_misses_is_named() -> None:
    with pytest.raises(ConfigError, match="no token that begins a text"):
        hex_law(tokenizer_of([*"0123456789abcdef", "Ġ"], bos=None))
    with pytest.raises(ConfigError, match="some hexadecimal digit"):
        hex_law(tokenizer_of([*"0123456789abcde", "Ġ"]))
    with pytest.raises(ConfigError, match="no token for camel"):
        camel_law(TOKENIZER, torch.zeros_like(COUNTS))
    with pytest.raises(ConfigError, match="' if' as one token"):
        if_law(tokenizer_of(["a", "i", "f", "Ġ"]), COUNTS)


def test_the_most_frequent_are_kept_and_ties_go_to_the_lower_id() -> None:
    found = frequent(torch.tensor([3, 0, 5, 3]), "test", most=2)
    assert found.ids_K.tolist() == [0, 2]
    assert found.log_p_K.tolist() == pytest.approx([math.log(3 / 8), math.log(5 / 8)])


@pytest.mark.real
def test_smollm2_has_107_hexadecimal_tokens() -> None:
    law = hex_law(load_model("smollm2").tokenizer, n_positions=9)
    assert len(law.support[1]) == 107 and law.n_positions == 10
