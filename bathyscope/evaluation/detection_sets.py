"""The labelled sets that detection is measured on: those of the library, concepts in pairs, truth, refusals, your own.

Easy and hard ones. A hard negative is a false text as like the true ones as its source has any: the other sentence of a
pair, the wrong answer to the same question, the same program in C++, a mail that its collectors called hard.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from pathlib import Path

import numpy as np

from bathyscope import materials
from bathyscope.activations.pairs.answers import Answers
from bathyscope.errors import ConfigError
from bathyscope.evaluation.definitions import read_labelled, safety_definitions, topic_definitions
from bathyscope.evaluation.jailbreak.refusals import LABELLED, labelled_exchanges
from bathyscope.evaluation.labelled import LabelledSet, LabelledText
from bathyscope.evaluation.tasks import TASKS, open_task

DETECTION_SETS = (
    "sea",
    "money",
    "sentence-sentiment",
    "code",
    "war",
    "french",
    "spam",
    "c-not-cpp",
    "medicine",
    "party",
    "truth",
    "declined",
)
"""The twelve sets that are read unless others are asked for."""
TRUTH, DECLINED = "truth", "declined"
ANSWER_CHARS = 100
"""Longest question and longest answer of `truth`: the answer comes last and must be read."""


def open_sets(names: Sequence[str], *, n_texts: int, seed: int) -> dict[str, LabelledSet]:
    """Name → set, each cut to what a draw of `n_texts` should choose from (`cut`), its materials fetched.

    A name that ends in `.jsonl` is a file of labelled texts. Raises ConfigError for an unknown name, with the nearest
    ones, and for sets of the same name.
    """
    opened = [cut(_opened(name), n_texts=n_texts, seed=seed) for name in names]
    found = {each.name: each for each in opened}
    if not found or len(found) < len(opened):
        raise ConfigError("give at least one labelled set, and none twice")
    return found


def cut(labelled: LabelledSet, *, n_texts: int, seed: int) -> LabelledSet:
    """The set with whole pairs only, as many as `n_texts` hold; otherwise with as many other negatives as hard ones.

    Drawn text by text, few pairs would be whole, and a corpus holds few hard negatives. Sets without either stay.
    """
    generator = np.random.default_rng(seed)
    if labelled.is_paired:
        groups = generator.permutation(sorted({each.group for each in labelled.examples}))
        kept = set(groups[: n_texts // 2].tolist())
        return dataclasses.replace(labelled, examples=[each for each in labelled.examples if each.group in kept])
    hard = [each for each in labelled.examples if each.is_hard]
    others = [each for each in labelled.examples if not each.label and not each.is_hard]
    if not hard or len(others) <= len(hard):
        return labelled
    drawn = [others[i] for i in sorted(generator.permutation(len(others))[: len(hard)].tolist())]
    true = [each for each in labelled.examples if each.label]
    return dataclasses.replace(labelled, examples=[*true, *hard, *drawn])


def _opened(name: str) -> LabelledSet:
    if name.endswith(".jsonl"):
        return read_labelled(Path(name))
    if name == TRUTH:
        return _truth()
    if name == DECLINED:
        return _declined()
    written = _written()
    if name in written:
        return written[name]
    if name in TASKS:
        return open_task(name)
    known = [TRUTH, DECLINED, *written, *TASKS]
    near = get_close_matches(name, known, n=3, cutoff=0.4) or known
    raise ConfigError(f"no labelled set is named {name!r}; nearest: {', '.join(near)}; or give a file of JSON lines")


def _written() -> Mapping[str, LabelledSet]:
    """The concepts that come as pairs of sentences."""
    return {each.labelled.name: each.labelled for each in (*topic_definitions(), *safety_definitions())}


def _truth() -> LabelledSet:
    """Questions with the right answer, and with a wrong one."""
    pairs = Answers(max_chars=ANSWER_CHARS).draw(n=None, seed=0)
    examples = [
        LabelledText(pair.prefix + text, label, pair.group, is_hard=not label)
        for pair in pairs.pairs
        for text, label in ((pair.after, True), (pair.before, False))
    ]
    question = "a question with its right answer, against a wrong one; by question"
    return LabelledSet(name=TRUTH, question=question, examples=examples, materials=tuple(pairs.materials))


def _declined() -> LabelledSet:
    """Answers that people called refusals, and others."""
    labelled = labelled_exchanges()
    examples = [
        LabelledText(exchange.answer, bool(truth), exchange.request)
        for exchange, truth in zip(labelled.exchanges, labelled.truth_N, strict=True)
    ]
    question = "an answer that people called a refusal, against one that does as asked; by request"
    record = materials.fetch(LABELLED).record()
    return LabelledSet(name=DECLINED, question=question, examples=examples, materials=(record,))
