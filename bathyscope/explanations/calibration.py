"""A judge's calibration: the same scorers on passages whose answer is known (`calibration.toml`).

What a judge reaches here, where descriptions are right and passages plain, is the most that its scores elsewhere can
be read for; a judge at chance here says nothing about any feature.
"""

import re
import tomllib
from importlib import resources

from bathyscope.explanations.passages import Passage

_PIECE = re.compile(r"\[\[(.*?)\]\]|((?:(?!\[\[).)+)")
_TOKEN = re.compile(r"\s*\w+|\s*[^\w\s]+|\s+")


def calibration() -> dict[str, list[Passage]]:
    """Description → its passages. Concepts are numbered like features, every passage is a document of its own."""
    text = resources.files("bathyscope.explanations").joinpath("calibration.toml").read_text("utf-8")
    concepts = tomllib.loads(text)["concept"]
    return {
        concept["description"]: [
            _passage(line, number, 1000 * number + place) for place, line in enumerate(concept["passages"])
        ]
        for number, concept in enumerate(concepts)
    }


def _passage(line: str, feature: int, document: int) -> Passage:
    strings: list[str] = []
    values: list[float] = []
    for piece in _PIECE.finditer(line):
        is_meant = piece[1] is not None
        tokens = _TOKEN.findall(piece[1] if is_meant else piece[2])
        strings += tokens
        values += [float(is_meant)] * len(tokens)
    return Passage(
        feature=feature,
        document=document,
        token=document,
        group="high" if any(values) else "silent",
        strings=tuple(strings),
        values=tuple(values),
        maximum=1.0,
    )
