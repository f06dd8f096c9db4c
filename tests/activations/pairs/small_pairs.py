"""Small pair sets for the tests of this folder."""

from bathyscope.activations.pairs.pair import Pair, PairSet, full_support
from bathyscope.activations.pairs.template import Template, parse_template

FACTORS = ("colour", "shape")

TABLE = {
    "name": "things",
    "text": "{A colour} {shape} {thing} {place}",
    "factors": {"colour": ["red", "orange", "blue"], "shape": ["round", "flat"]},
    "context": {"thing": ["box", "cup"], "place": ["here", "there", "outside"]},
    "changes": {"colour": 1, "shape": 1, "colour + shape": 2},
}


def template(**changes: object) -> Template:
    return parse_template({**TABLE, **changes}, name="things")


def pair(before: str = "a red box", after: str = "a blue box", *changed: str, group: str = "") -> Pair:
    return Pair(before=before, after=after, support=full_support(FACTORS, changed or ("colour",)), group=group)


def pair_set(*pairs: Pair, factors: tuple[str, ...] = FACTORS) -> PairSet:
    return PairSet(name="small", factors=factors, pairs=pairs)


TEXTS = PairSet(
    name="uneven",
    factors=FACTORS,
    pairs=(
        pair("a red box", "a blue box", "colour", group="box"),
        pair("a red round box of wood", "a red flat box", "shape", group="box"),
        pair("red cup", "the very large blue cup that we bought", "colour", "shape", group="cup"),
        pair("a red lamp", "a blue flat lamp", "colour", "shape", group="lamp"),
        pair("a flat lamp", "a round lamp", "shape", group="lamp"),
        Pair(prefix="Which one? ", before="the red one", after="the blue ones", support={"colour": True}, group="one"),
    ),
)
"""Pairs of different lengths, one behind a prefix and partly known."""
