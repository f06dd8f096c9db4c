"""Pairs of a wrong and a right answer to the same question, from ten sets of multiple choice.

The question is the shared prefix, the factor is `truth`: the first side is wrong, the second right. Other things differ
between the answers, too, and nothing is known of them: they are what a truth direction must be told from.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from bathyscope import materials
from bathyscope.activations.pairs.pair import Pair, PairSet
from bathyscope.config import to_json
from bathyscope.errors import ConfigError

MATERIAL = "olmo-answers"
FACTOR = "truth"
DEFAULT_SETS = ("arc-easy", "arc-challenge", "openbookqa", "sciq")
"""Sets in which an answer is right or wrong as a matter of fact."""


class Choice(NamedTuple):
    """One question with its answers."""

    prefix: str
    right: str
    wrong: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Answers:
    """Pairs of a wrong and a right answer."""

    sets: tuple[str, ...] = DEFAULT_SETS
    """Question sets: arc-challenge, arc-easy, commonsense-qa, copa, hellaswag, openbookqa, piqa, sciq, social-iqa,
    winogrande."""
    max_chars: int = 400
    """Questions with an answer longer than this are left out."""

    def __post_init__(self) -> None:
        unknown = [name for name in self.sets if name not in READERS]
        if unknown or not self.sets or len(set(self.sets)) < len(self.sets):
            said = f"no question set is named {unknown[0]!r}" if unknown else "name at least one set, each once"
            raise ConfigError(f"{said}; expected some of: {', '.join(READERS)}")

    def draw(self, *, n: int | None, seed: int) -> PairSet:
        """`n` questions drawn with `seed`, each with one of its wrong answers; None takes all.

        A question is a group. Raises ConfigError when there are fewer questions.
        """
        fetched = materials.fetch(MATERIAL)
        rng = np.random.default_rng(seed)
        found = [pair for name in self.sets for pair in self._pairs(name, fetched.files[f"{name}.arrow"], rng)]
        if n is not None and n > len(found):
            raise ConfigError(f"{', '.join(self.sets)} have {len(found)} fitting questions, {n} are asked; lower n")
        order = rng.permutation(len(found))[:n]
        return PairSet(
            name=f"answers {' + '.join(self.sets)}",
            factors=(FACTOR,),
            pairs=tuple(found[int(i)] for i in order),
            description=f"a wrong answer becomes the right one ({', '.join(self.sets)})",
            materials=(fetched.record(),),
            drawn={"source": to_json(self), "n": n, "seed": seed},
        )

    def _pairs(self, name: str, path: Path, rng: np.random.Generator) -> Iterator[Pair]:
        seen: set[str] = set()
        for number, row in enumerate(_rows(path), start=1):
            choice = READERS[name](row)
            wrong = [answer for answer in choice.wrong if answer.strip() and answer.strip() != choice.right.strip()]
            pick = int(rng.integers(len(wrong))) if wrong else 0  # drawn before the filter: sizes change no other draw
            texts = (choice.prefix, choice.right, *wrong)
            if not wrong or max(map(len, texts)) > self.max_chars or choice.prefix in seen or not choice.right.strip():
                continue
            seen.add(choice.prefix)
            yield Pair(
                prefix=choice.prefix,
                before=wrong[pick],
                after=choice.right,
                support={FACTOR: True},
                values_before={FACTOR: "wrong"},
                values_after={FACTOR: "right"},
                group=f"{name} {number}",
                source=f"{MATERIAL}/{name}, row {number}",
            )


def _rows(path: Path) -> list[dict[str, Any]]:
    import pyarrow as pa

    with pa.OSFile(str(path)) as file, pa.ipc.open_stream(file) as stream:
        return stream.read_all().to_pylist()


def _lettered(question: str) -> Callable[[Mapping[str, Any]], Choice]:
    """A reader of rows whose choices have letters."""

    def read(row: Mapping[str, Any]) -> Choice:
        answers = dict(zip(row["choices"]["label"], row["choices"]["text"], strict=True))
        right = answers.pop(row["answerKey"], "")
        return _asked(row[question], right, answers.values())

    return read


def _sciq(row: Mapping[str, Any]) -> Choice:
    return _asked(row["question"], row["correct_answer"], [row[f"distractor{i}"] for i in (1, 2, 3)])


def _piqa(row: Mapping[str, Any]) -> Choice:
    return _asked(row["goal"], *_picked([row["sol1"], row["sol2"]], int(row["label"])))


def _social(row: Mapping[str, Any]) -> Choice:
    answers = [row[f"answer{letter}"] for letter in "ABC"]
    return _asked(f"{row['context']} {row['question']}", *_picked(answers, int(row["label"]) - 1))


def _copa(row: Mapping[str, Any]) -> Choice:
    why = {"cause": "What was the cause?", "effect": "What happened then?"}[row["question"]]
    return _asked(f"{row['premise']} {why}", *_picked([row["choice1"], row["choice2"]], int(row["label"])))


def _hellaswag(row: Mapping[str, Any]) -> Choice:
    right, wrong = _picked(row["endings"], int(row["label"]))
    return Choice(f"{row['ctx'].strip()} ", right, tuple(wrong))


def _winogrande(row: Mapping[str, Any]) -> Choice:
    head, _, tail = row["sentence"].partition("_")
    right, wrong = _picked([row["option1"], row["option2"]], int(row["answer"]) - 1)
    return Choice(head, right + tail, tuple(option + tail for option in wrong))


def _picked(answers: list[str], right: int) -> tuple[str, list[str]]:
    return answers[right], [answer for i, answer in enumerate(answers) if i != right]


def _asked(question: str, right: str, wrong: Any) -> Choice:
    """A question, then its answer behind one word that says so."""
    return Choice(f"Question: {question.strip()}\nAnswer: ", right.strip(), tuple(str(w).strip() for w in wrong))


READERS: dict[str, Callable[[Mapping[str, Any]], Choice]] = {
    "arc-challenge": _lettered("question"),
    "arc-easy": _lettered("question"),
    "commonsense-qa": _lettered("question"),
    "copa": _copa,
    "hellaswag": _hellaswag,
    "openbookqa": _lettered("question_stem"),
    "piqa": _piqa,
    "sciq": _sciq,
    "social-iqa": _social,
    "winogrande": _winogrande,
}
"""Question set → how one of its rows is read."""
