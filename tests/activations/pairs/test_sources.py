"""Analogies, verses and answers: from made-up files in the place of the materials, nothing downloaded."""

import json
from collections import Counter
from pathlib import Path

import pyarrow as pa
import pytest

from bathyscope import materials
from bathyscope.activations.pairs.analogies import Analogies, read_relations
from bathyscope.activations.pairs.answers import READERS, Answers
from bathyscope.activations.pairs.parallel import ParallelVerses
from bathyscope.errors import ConfigError
from bathyscope.materials import Material

ANALOGIES = """: family
boy girl king queen
boy girl uncle aunt
king queen boy girl
: plural
cat cats mouse mice
cat cats child children
: capital
Paris France Rome Italy
Bern Switzerland Rome Italy
: nationality
France French Italy Italian
"""

ROWS = {
    "arc-easy": [{"question": f"q{i}?", "choices": {"text": ["w1", f"r{i}", "w2"], "label": ["A", "B", "C"]},
                  "answerKey": "B"} for i in range(8)],
    "openbookqa": [{"question_stem": "stem", "choices": {"text": ["r", "w"], "label": ["A", "B"]}, "answerKey": "A"}],
    "sciq": [{"question": "s", "correct_answer": "r", "distractor1": "w1", "distractor2": "r ", "distractor3": ""}],
    "piqa": [{"goal": "g", "sol1": "w", "sol2": "r", "label": 1}],
    "social-iqa": [{"context": "c.", "question": "q?", "answerA": "w1", "answerB": "w2", "answerC": "r", "label": "3"}],
    "copa": [{"premise": "p.", "question": "cause", "choice1": "r", "choice2": "w", "label": 0}],
    "hellaswag": [{"ctx": "a man", "endings": ["w1", "r", "w2", "w3"], "label": "1"}],
    "winogrande": [{"sentence": "Sea or _ is deep.", "option1": "hill", "option2": "lake", "answer": "2"}],
}  # fmt: skip
SAME = {"arc-challenge": "arc-easy", "commonsense-qa": "arc-easy"}


@pytest.fixture(autouse=True)
def bundled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every material, a handful of rows each."""
    (tmp_path / "questions-words.txt").write_text(ANALOGIES)
    for file, word in (("douay-rheims", "en"), ("matos-soares", "pt"), ("vulgata-clementina", "la")):
        keys = [f"GEN.{chapter}.{verse}" for chapter in range(1, 9) for verse in range(1, 6)]
        verses = {key: {"order": i, "text": f"{word} the words of verse {key}"} for i, key in enumerate(keys)}
        verses |= {"REV.1.1": {"order": 99, "text": f"{word} a verse that is alone in its chapter"}}
        verses |= {"REV.2.1": {"order": 100, "text": word}, "REV.3.1": {"order": 101, "text": word * 200}}
        (tmp_path / f"{file}.json").write_text(json.dumps({"verses": verses}))
    for language in ("fr", "es"):
        surahs = [{"id": 2, "verses": [{"id": i, "translation": f"{language} verset {i} " * 3} for i in range(1, 9)]}]
        (tmp_path / f"quran_{language}.json").write_text(json.dumps(surahs))
    for name in READERS:
        table = pa.Table.from_pylist(ROWS[SAME.get(name, name)])
        with pa.OSFile(str(tmp_path / f"{name}.arrow"), "wb") as file, pa.ipc.new_stream(file, table.schema) as out:
            out.write_table(table)

    def fetch(name: str) -> Material:
        about = {"version": "1", "licence": "CC0-1.0", "origin": "test", "sha256": "0", "tier": 2}
        return Material(name=name, **about, folder=tmp_path, files={file.name: file for file in tmp_path.iterdir()})

    monkeypatch.setattr(materials, "fetch", fetch)


def test_relations_are_word_pairs_each_once(tmp_path):
    found = read_relations(tmp_path / "questions-words.txt")
    assert found["family"] == [("boy", "girl"), ("king", "queen"), ("uncle", "aunt")]
    (tmp_path / "broken.txt").write_text(": a\none two three\n")
    with pytest.raises(ConfigError, match=r"broken.txt, line 2: expected a heading or four words"):
        read_relations(tmp_path / "broken.txt")


def test_a_single_relation_moves_one_word():
    pairs = Analogies(relations=("family",)).draw(n=None, seed=0)
    assert pairs.n_pairs == 3 * 4 and pairs.factors == ("family",)
    assert ("king", "queen") in [p.sides for p in pairs.pairs]
    assert (pairs.support == 1).all() and (pairs.directions == 1).all()
    assert pairs.materials[0]["licence"] == "CC0-1.0"


def test_relations_side_by_side_move_the_words_that_the_support_names():
    pairs = Analogies(relations=("family", "plural"), n_pools=1).draw(n=None, seed=0)
    moved = {"boy": "girl", "king": "queen", "uncle": "aunt", "cat": "cats", "mouse": "mice", "child": "children"}
    for pair in pairs.pairs:
        before, after = pair.before.split()[-3::2], pair.after.split()[-3::2]
        changes = [one != other for one, other in zip(before, after, strict=True)]
        assert list(pair.support.values()) == changes
        assert all(moved[one] == other for one, other in zip(before, after, strict=True) if one != other)
    counts = Counter(map(tuple, pairs.support.tolist()))
    assert counts == {(1, 0): 9 * 2 * 4, (0, 1): 9 * 2 * 4, (1, 1): 9 * 4}


def test_pools_share_no_word():
    pairs = Analogies(relations=("family", "plural"), n_pools=3).draw(n=None, seed=0)
    words: dict[str, set[str]] = {}
    for pair in pairs.pairs:
        words.setdefault(pair.group, set()).update({pair.before.split()[-3], pair.before.split()[-1]})
    assert len(words) == 3 and sum(map(len, words.values())) == len(set().union(*words.values()))


def test_a_chain_moves_one_word_by_one_relation_or_by_both():
    chain = Analogies(relations=("capital", "nationality"), compose="chain")
    pairs = chain.draw(n=None, seed=0)
    found = {p.sides: tuple(p.support.values()) for p in pairs.pairs if " " not in p.before}
    assert found == {
        ("Paris", "France"): (True, False),
        ("France", "French"): (False, True),
        ("Paris", "French"): (True, True),
        ("Rome", "Italy"): (True, False),
        ("Italy", "Italian"): (False, True),
        ("Rome", "Italian"): (True, True),
    }, "Switzerland has no adjective here"
    assert {p.group for p in pairs.pairs} == {"france", "italy"}


@pytest.mark.parametrize(
    ("settings", "line"),
    [
        ({"relations": ("famly",)}, "no relation is named 'famly'; nearest: family"),
        ({"relations": ("family", "plural"), "compose": "chain"}, "no word that 'family' ends with begins"),
    ],
)
def test_relations_that_cannot_be_had_are_refused(settings, line):
    with pytest.raises(ConfigError, match=line):
        Analogies(**settings).draw(n=None, seed=0)


def test_analogies_out_of_range_are_refused():
    with pytest.raises(ConfigError, match="a chain needs two relations, found 1"):
        Analogies(relations=("family",), compose="chain")
    with pytest.raises(ConfigError, match="each once"):
        Analogies(relations=("family", "family"))
    with pytest.raises(ConfigError, match="only 12 pairs that change family, 99 are asked"):
        Analogies(relations=("family",)).draw(n=99, seed=0)


def test_verses_differ_in_what_is_asked_and_share_chapters():
    pairs = ParallelVerses(language=1.0, verse=1.0, both=2.0).draw(n=40, seed=0)
    assert Counter(map(tuple, pairs.support.tolist())) == {(1, 0): 10, (0, 1): 10, (1, 1): 20}
    for pair in pairs.pairs:
        before, after = pair.before.split(), pair.after.split()
        assert (before[0], after[0]) == ("en", "pt" if pair.support["language"] else "en")
        assert (before[-1] != after[-1]) == pair.support["verse"]
        assert before[-1].rpartition(".")[0] == after[-1].rpartition(".")[0] == pair.group


def test_language_alone_is_one_factor_and_verses_of_odd_length_are_left_out():
    pairs = ParallelVerses(end="la").draw(n=None, seed=0)
    assert pairs.factors == ("language",) and pairs.n_pairs == 41
    assert all(20 <= len(side) <= 200 for p in pairs.pairs for side in p.sides)
    quran = ParallelVerses(material="quran", start="fr", end="es").draw(n=8, seed=0)
    assert {p.group for p in quran.pairs} == {"2"}
    with pytest.raises(ConfigError, match="gives 41 pairs of fitting verses, 99 are asked"):
        ParallelVerses().draw(n=99, seed=0)


@pytest.mark.parametrize(
    ("settings", "line"),
    [
        ({"end": "fr"}, "catholic-bible has no language 'fr'; expected one of: en, pt, la"),
        ({"end": "en"}, "both languages are 'en'"),
        ({"language": 0.0}, "not all 0"),
        ({"min_chars": 300}, "expected a range"),
    ],
)
def test_verses_that_cannot_be_had_are_refused(settings, line):
    with pytest.raises(ConfigError, match=line):
        ParallelVerses(**settings)


@pytest.mark.parametrize("name", READERS)
def test_every_question_set_is_read_right(name):
    pairs = Answers(sets=(name,)).draw(n=None, seed=0)
    for pair in pairs.pairs:
        right, wrong = ("lake is deep.", "hill is deep.") if name == "winogrande" else ("r", "w")
        assert pair.after.startswith(right) and pair.before.startswith(wrong)
        assert pair.support == {"truth": True} and pair.prefix.endswith(" ")
    assert (pairs.directions == -1).all(), "from wrong to right, which is down in the alphabet"


def test_questions_are_groups_and_wrong_answers_are_drawn():
    pairs = Answers(sets=("arc-easy", "sciq")).draw(n=None, seed=0)
    assert len(set(pairs.groups)) == pairs.n_pairs == 9
    assert {p.before for p in pairs.pairs if "q" in p.prefix.split()[1]} == {"w1", "w2"}
    assert pairs.drawn["source"] == {"kind": "Answers", "sets": ["arc-easy", "sciq"], "max_chars": 400}
    assert Answers(sets=("arc-easy",)).draw(n=3, seed=1).digest == Answers(sets=("arc-easy",)).draw(n=3, seed=1).digest


def test_question_sets_that_cannot_be_had_are_refused():
    with pytest.raises(ConfigError, match="no question set is named 'arc'; expected some of: arc-challenge"):
        Answers(sets=("arc",))
    with pytest.raises(ConfigError, match="have 8 fitting questions, 9 are asked"):
        Answers(sets=("arc-easy",)).draw(n=9, seed=0)
