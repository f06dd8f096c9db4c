"""A world in which explanations can be judged: feature i fires on the i-th letter, and a judge who can read."""

import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from tiny import D_MODEL, tiny_model

from bathyscope.activations.text import Texts
from bathyscope.dictionaries.dictionary import Dictionary
from bathyscope.dictionaries.rules import Above
from bathyscope.dictionaries.weights import Weights
from bathyscope.errors import ModelError
from bathyscope.features.index import FeatureIndex, IndexSettings, index_features
from bathyscope.models.unembed import unembedding
from bathyscope.models.writers.writer import Answer, Question, Verdict

LETTERS = "zqjxvbkg"
"""Feature i fires where the i-th of these stands; one more feature never fires."""
SILENT = len(LETTERS)
WORDS = ("zone", "quiet", "joy", "axis", "vine", "robin", "sky", "gate")
OTHERS = ("the", "shore", "autumn", "meadow", "painter", "thunder", "lantern", "whose", "letter", "candle")
TEXTS = {letter: f"the letter {letter}" for letter in LETTERS}
"""Letter → a description that names it."""


def letter_dictionary() -> Dictionary:
    rows = unembedding(tiny_model())[[ord(letter) for letter in (*LETTERS, "~")]]
    weights = Weights(
        W_enc=(rows / rows.square().sum(1, keepdim=True)).T.contiguous(),
        b_enc=torch.zeros(SILENT + 1),
        W_dec=torch.nn.functional.normalize(rows, dim=1),
        b_dec=torch.zeros(D_MODEL),
        threshold=torch.full((SILENT + 1,), 0.95),
    )
    return Dictionary(weights=weights, rule=Above(), subtract_b_dec=False, hookpoint="embed_tokens")


def letter_index(out: Path) -> FeatureIndex:
    """Sixty documents of shuffled words, about half of WORDS in each."""
    rng = np.random.default_rng(0)
    texts = [" ".join(rng.permutation([*rng.permutation(WORDS)[:4], *OTHERS])) for _ in range(60)]
    settings = IndexSettings(n_tokens=6000, top=8, per_tenth=6, near_misses=6, silent=6)
    return index_features(tiny_model(), letter_dictionary(), Texts(texts), out=out, settings=settings)


def texts() -> dict[int, str]:
    return {feature: TEXTS[letter] for feature, letter in enumerate(LETTERS)}


class Reader:
    """A judge who looks whether the letter stands in the text; after `fails_after` questions it is gone.

    Asked for a description it `says` what it is told to, or else names the first letter that is marked.
    """

    materials = ()

    def __init__(
        self, *, fills: bool = True, fails_after: int | None = None, says: str | None = "the letter z"
    ) -> None:
        self.fills, self.says, self.left = fills, says, fails_after
        self.asked: list[str] = []

    @property
    def identity(self) -> dict[str, str | float]:
        return {"writer": "reader"}

    def write(self, prompts: Sequence[str]) -> list[Answer]:
        return [self._said(prompt) for prompt in prompts]

    def _said(self, prompt: str) -> Answer:
        self._count(prompt)
        if "strengths" not in prompt:
            marked = re.findall("<<(.)>>", prompt) or ["?"]
            return Answer(self.says or f"the letter {marked[0]}", True, 10, 3)
        lines = re.findall(r"^(.*):\?$", prompt, flags=re.MULTILINE)
        letter = _letter(prompt)
        return Answer("\n".join(f"{token}:{9 if letter in token else 0}" for token in lines), True, 10, 3)

    def choose(self, questions: Sequence[Question]) -> list[Verdict]:
        return [self._verdict(question) for question in questions]

    def _verdict(self, question: Question) -> Verdict:
        self._count(question.prompt)
        letter = _letter(question.prompt)
        text = question.prompt.rpartition("Text: ")[2].partition("\n")[0]
        match question.choices:
            case ("Yes", "No"):
                marked = "".join(re.findall("<<(.*?)>>", text)) or text
                right = 0 if letter in marked else 1
            case ("0", "1", "2", "3"):
                right = 3 if letter in text else 0
            case ("A", *_):
                right = 0
            case ("1", *_):
                lines = [line for line in question.prompt.splitlines() if re.match(r"\d: ", line)]
                marks = [re.findall("<<(.*?)>>", line) for line in lines]
                first = [own[0] if own else "" for own in marks]
                right = next(i for i, own in enumerate(first) if first.count(own) == 1)
            case _:
                return _certain(question.choices, [9 if letter in piece else 0 for piece in question.pieces])
        return _certain(question.choices, [right])

    def _count(self, prompt: str) -> None:
        if self.left is not None:
            if self.left == 0:
                raise ModelError("the endpoint gave no answer in 5 tries (TimeoutError); run again to go on")
            self.left -= 1
        self.asked.append(prompt)


class Babbler(Reader):
    """A judge whose answers are none."""

    def choose(self, questions: Sequence[Question]) -> list[Verdict]:
        return [Verdict(p=None) for _ in questions]


def _letter(prompt: str) -> str:
    found = re.findall("^Description: the letter (.)$", prompt, flags=re.MULTILINE)
    return found[-1] if found else "\0"


def _certain(choices: Sequence[str], right: Sequence[int]) -> Verdict:
    return Verdict(p=tuple(tuple(float(i == one) for i in range(len(choices))) for one in right), n_read=7)
