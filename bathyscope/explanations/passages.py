"""Short passages around a feature's examples, halved by document: some to explain from, the others to score on.

Text is cut from stored token ids. Knows nothing of judges.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

import numpy as np

from bathyscope.errors import ConfigError
from bathyscope.explanations.halves import is_explaining
from bathyscope.features.draws import random_bits
from bathyscope.features.examples import TENTHS
from bathyscope.features.reader import Example, FeatureIndex

Group = Literal["high", "middle", "low", "near miss", "silent"]
GROUPS: tuple[Group, ...] = ("high", "middle", "low", "near miss", "silent")
"""Upper three tenths of (0, max], the next three, the lower four; text without firing, the detector close; any text."""
FIRING: tuple[Group, ...] = ("high", "middle", "low")
_GROUP_OF: dict[str, Group] = {
    **dict.fromkeys(TENTHS[:3], "high"),
    **dict.fromkeys(TENTHS[3:6], "middle"),
    **dict.fromkeys(TENTHS[6:], "low"),
    "near-miss": "near miss",
    "silent": "silent",
}
_SALT = 0x9A55


@dataclass(frozen=True, slots=True, kw_only=True)
class PassageSettings:
    """How passages are cut and halved."""

    before: int = 12
    """Tokens before the one that a passage is about (a causal model has seen only these)."""
    after: int = 3
    """Tokens behind it."""
    marked_share: float = 0.3
    """A token is marked as firing from this share of the feature's maximum on; the strongest one always is."""
    seed: int = 0
    """Seed of the halves and of every draw."""

    def __post_init__(self) -> None:
        if min(self.before, self.after) < 0 or not 0 < self.marked_share <= 1:
            raise ConfigError("before and after are at least 0 tokens, marked_share is above 0 and at most 1")


@dataclass(frozen=True, slots=True, kw_only=True)
class Passage:
    """A stretch of text of S tokens, with what one feature does on it."""

    feature: int
    document: int
    token: int
    """Offset in the indexed text of the token that the passage is about: tells passages apart."""
    group: Group
    strings: tuple[str, ...]
    """Each token as it reads."""
    values: tuple[float, ...]
    """The feature's activation at each token."""
    maximum: float
    """The feature's largest activation anywhere."""
    marked_share: float = field(default=0.3)

    @property
    def fires(self) -> bool:
        """Whether the feature fires on the token that the passage is about."""
        return self.group in FIRING

    @property
    def text(self) -> str:
        """The passage on one line."""
        return one_line("".join(self.strings))

    @property
    def marks(self) -> tuple[bool, ...]:
        """Which tokens count as firing."""
        least = min(self.marked_share * self.maximum, max(self.values, default=0.0))
        return tuple(value > 0 and value >= least for value in self.values)

    def marked(self, marks: Sequence[bool] | None = None) -> str:
        """The passage on one line, with << and >> around its firing tokens (or around others)."""
        return one_line(mark(self.strings, self.marks if marks is None else marks))


class Halves(NamedTuple):
    """A feature's passages; no document is in both."""

    explaining: list[Passage]
    scoring: list[Passage]


def halves(index: FeatureIndex, feature: int, settings: PassageSettings) -> Halves:
    """The passages of a feature, each half in a drawn order. Top examples stand in the explaining half alone: scoring
    ones are drawn by interval."""
    maximum = index.feature(feature).max
    examples = index.examples(feature)
    documents = np.array([example.document for example in examples], dtype=np.int64)
    explains = is_explaining(documents, seed=settings.seed)
    found = Halves([], [])
    taken: set[int] = set()
    for example, is_for_explaining in zip(examples, explains.tolist(), strict=True):
        group = "high" if example.group == "top" else _GROUP_OF[example.group]
        if (example.group == "top" and not is_for_explaining) or example.token in taken:
            continue
        taken.add(example.token)
        half = found.explaining if is_for_explaining else found.scoring
        half.append(_cut(index, example, group, maximum, settings))
    return Halves(*(drawn(half, seed=settings.seed) for half in found))


def drawn(passages: Sequence[Passage], *, seed: int) -> list[Passage]:
    """The passages in an order that depends on seed, feature and place in the text alone."""
    features = np.array([passage.feature for passage in passages], dtype=np.int64)
    tokens = np.array([passage.token for passage in passages], dtype=np.int64)
    return [passages[int(i)] for i in np.argsort(random_bits(seed ^ _SALT, features, tokens), kind="stable")]


def spread(passages: Iterable[Passage], groups: Sequence[Group], *, n: int) -> list[Passage]:
    """At most `n` passages, from the groups in turn, so that none outweighs another while both last."""
    by_group = {group: [passage for passage in passages if passage.group == group] for group in groups}
    longest = max(map(len, by_group.values()), default=0)
    turns = (by_group[group][turn] for turn in range(longest) for group in groups if turn < len(by_group[group]))
    return list(turns)[:n]


def mark(strings: Sequence[str], marks: Sequence[bool]) -> str:
    """The text with << before and >> behind each run of marked tokens."""
    parts: list[str] = []
    for number, (string, is_marked) in enumerate(zip(strings, marks, strict=True)):
        begins = is_marked and not (number and marks[number - 1])
        ends = is_marked and not (number + 1 < len(marks) and marks[number + 1])
        parts.append(("<<" if begins else "") + string + (">>" if ends else ""))
    return "".join(parts)


def one_line(text: str) -> str:
    """The text with line breaks as one sign each, and without spaces around it."""
    return text.replace("\r", "").replace("\n", "⏎").strip()


def _cut(index: FeatureIndex, example: Example, group: Group, maximum: float, settings: PassageSettings) -> Passage:
    start = max(example.start, example.token - settings.before)
    special = [at for at in range(start, example.token) if int(index.tokens[at]) in index.vocabulary.special]
    start = special[-1] + 1 if special else start  # marks of the chat format would be read as such
    stop = min(example.stop, example.token + settings.after + 1)
    values = tuple(float(value) for value in example.values[start - example.start : stop - example.start])
    return Passage(
        feature=example.feature,
        document=example.document,
        token=example.token,
        group=group,
        strings=tuple(index.render(index.tokens[start:stop].tolist())),
        values=values,
        maximum=float(maximum),
        marked_share=settings.marked_share,
    )
