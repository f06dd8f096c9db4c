"""Answers and ratings made up for tests."""

from bathyscope.evaluation.definitions import Definition
from bathyscope.evaluation.labelled import LabelledSet, LabelledText
from bathyscope.evaluation.steering.answers import SteeredAnswer
from bathyscope.evaluation.steering.judges.judge import ASPECTS
from bathyscope.evaluation.steering.ratings import Rated

PANEL = dict.fromkeys(ASPECTS, "oracle")


def answer(text="", *, concept="sea", method="way", factor=1.0, instruction=0, tokens=()) -> SteeredAnswer:
    return SteeredAnswer(
        concept=concept,
        method=method,
        factor=factor,
        instruction=instruction,
        prompt=f"Instruction {instruction}.",
        tokens=tokens,
        text=text,
    )


def rated(rating, **options) -> Rated:
    """An answer that the oracle rates the same in every aspect, or by a mapping."""
    ratings = rating if isinstance(rating, dict) else dict.fromkeys(ASPECTS, rating)
    return Rated(answer=answer(**options), ratings={(aspect, "oracle"): ratings[aspect] for aspect in ASPECTS})


def definition(name: str, true: list[str], false: list[str], words=()) -> Definition:
    pairs = [
        LabelledText(text, label, f"pair {number}")
        for number, both in enumerate(zip(true, false, strict=True))
        for text, label in zip(both, (True, False), strict=True)
    ]
    labelled = LabelledSet(name=name, question=name, examples=pairs)
    return Definition(labelled=labelled, words=tuple(words), description=name)


def sea_and_money() -> dict[str, Definition]:
    sea = definition(
        "sea", ["The ship sailed.", "Waves broke.", "A boat sank."], ["The train left.", "Doors broke.", "A hat fell."]
    )
    money = definition(
        "money",
        ["He paid in gold.", "Coins rang.", "The bank lent."],
        ["He came in May.", "Bells rang.", "The boy ran."],
    )
    words = {"sea": ("ship*", "sail*", "wave*", "boat"), "money": ("paid", "gold", "coin*", "bank*")}
    return {
        each.labelled.name: definition(
            each.labelled.name,
            [e.text for e in each.labelled.examples if e.label],
            [e.text for e in each.labelled.examples if not e.label],
            words[each.labelled.name],
        )
        for each in (sea, money)
    }
