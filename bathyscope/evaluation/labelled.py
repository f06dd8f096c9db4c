"""Texts with a yes-or-no label, and how they are halved: by group, so that no document stands in both halves.

Knows nothing of where texts come from (`tasks`) or of what is predicted from (`probing`).
"""

import dataclasses
import hashlib
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Bool, Int

from bathyscope.activations.document import fault
from bathyscope.config import canonical
from bathyscope.errors import ConfigError

MIN_TEXTS = 10
"""Fewest texts of each label in each half."""
MAX_CHARS = 2000
"""Characters of a text that are looked at: more than a context of 128 tokens holds of any language here."""


@dataclass(frozen=True, slots=True)
class LabelledText:
    """One labelled text."""

    text: str
    label: bool
    group: str
    """What it was taken from (a book, a speaker, a problem): all texts of a group fall into the same half."""
    is_hard: bool = False
    """Of a false text: whether it is as like the true ones as its source has any (a hard negative)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelledSet:
    """A question with two answers, and texts that have one of them."""

    name: str
    """Short name, such as `spam`."""
    question: str
    """What the label true means."""
    examples: Sequence[LabelledText]
    """All texts there are."""
    materials: tuple[Mapping[str, str], ...] = ()
    """Where the texts come from, for manifests."""

    @property
    def digest(self) -> str:
        """sha256 over texts, labels and groups in their order."""
        total = hashlib.sha256()
        for example in self.examples:
            mark = " hard" if example.is_hard else ""
            total.update(f"{example.label}{mark} {example.group} {example.text}\n".encode(errors="surrogatepass"))
        return total.hexdigest()

    @property
    def is_paired(self) -> bool:
        """Whether every group is one true text and one false one."""
        labels: dict[str, list[bool]] = {}
        for example in self.examples:
            labels.setdefault(example.group, []).append(example.label)
        return all(sorted(both) == [False, True] for both in labels.values())


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Task:
    """A drawn and halved labelled set of T texts; both labels are equally frequent in each half."""

    name: str
    question: str
    texts: tuple[str, ...]
    labels_T: Bool[np.ndarray, " T"]
    groups_T: Int[np.ndarray, " T"]
    """Number of each text's group."""
    is_train_T: Bool[np.ndarray, " T"]
    """True where features and probes are chosen, False where they are scored."""
    is_hard_T: Bool[np.ndarray, " T"]
    """Which texts are hard negatives."""
    materials: tuple[Mapping[str, str], ...] = field(default=())


def records_of(others: Sequence[Mapping[str, str]], sets: Iterable[LabelledSet]) -> tuple[Mapping[str, str], ...]:
    """The materials of sets behind those of others, each once."""
    records = [*others, *(record for each in sets for record in each.materials)]
    return tuple({canonical(dict(record)): record for record in records}.values())


def draw_task(labelled: LabelledSet, *, n_texts: int, seed: int) -> Task:
    """At most `n_texts` texts of `labelled`, half of each label, halved by group.

    Groups are dealt to the halves in turn, those with one label and those with both apart, in a random order; from the
    groups of a half texts are drawn in turn, so no group outweighs the others while they last. A text that occurs
    twice counts once, one that occurs under both labels not at all. Raises ConfigError when a half would have fewer
    than `MIN_TEXTS` texts of a label.
    """
    if n_texts < 4 * MIN_TEXTS:
        raise ConfigError(f"n_texts is {n_texts}, expected at least {4 * MIN_TEXTS}: two labels in two halves")
    generator = np.random.default_rng(seed)
    examples = _distinct(labelled.examples)
    halves = _deal(examples, generator)
    quarters = {
        (half, label): _in_turn([e for e in members if e.label == label], generator)
        for half, members in enumerate(halves)
        for label in (False, True)
    }
    size = min(n_texts // 4, *map(len, quarters.values()))
    if size < MIN_TEXTS:
        raise ConfigError(
            f"{labelled.name}: after halving by group a half has only {size} texts of a label, expected at least "
            f"{MIN_TEXTS}; give more texts or more groups"
        )
    rows = [(half, example) for (half, _), members in sorted(quarters.items()) for example in members[:size]]
    numbers = {name: n for n, name in enumerate(sorted({example.group for _, example in rows}))}
    return Task(
        name=labelled.name,
        question=labelled.question,
        texts=tuple(example.text for _, example in rows),
        labels_T=np.array([example.label for _, example in rows]),
        groups_T=np.array([numbers[example.group] for _, example in rows]),
        is_train_T=np.array([half == 0 for half, _ in rows]),
        is_hard_T=np.array([example.is_hard for _, example in rows]),
        materials=labelled.materials,
    )


def _distinct(examples: Sequence[LabelledText]) -> list[LabelledText]:
    """Readable texts, cut to `MAX_CHARS`, each once; without those that stand under both labels."""
    labels: dict[str, set[bool]] = {}
    found: dict[str, LabelledText] = {}
    for example in examples:
        text = example.text[:MAX_CHARS].strip()
        if fault(text):
            continue
        key = " ".join(text.split())
        labels.setdefault(key, set()).add(example.label)
        found.setdefault(key, dataclasses.replace(example, text=text))
    return [example for key, example in found.items() if len(labels[key]) == 1]


def _deal(
    examples: Sequence[LabelledText], generator: np.random.Generator
) -> tuple[list[LabelledText], list[LabelledText]]:
    """The examples of the training half and of the reporting half."""
    groups: dict[str, list[LabelledText]] = {}
    for example in examples:
        groups.setdefault(example.group, []).append(example)
    sorts: dict[tuple[bool, ...], list[str]] = {}
    for name, members in groups.items():
        sorts.setdefault(tuple(sorted({e.label for e in members})), []).append(name)
    halves: tuple[list[LabelledText], list[LabelledText]] = ([], [])
    for labels in sorted(sorts):
        names = sorts[labels]
        for turn, i in enumerate(generator.permutation(len(names)).tolist()):
            halves[turn % 2].extend(groups[names[i]])
    return halves


def _in_turn(examples: Sequence[LabelledText], generator: np.random.Generator) -> list[LabelledText]:
    """A random example of every group in a random order of the groups, then a second one of each, and so on."""
    groups: dict[str, list[LabelledText]] = {}
    for i in generator.permutation(len(examples)).tolist():
        groups.setdefault(examples[i].group, []).append(examples[i])
    longest = max(map(len, groups.values()), default=0)
    return [members[turn] for turn in range(longest) for members in groups.values() if turn < len(members)]


def shuffled_labels(labels_T: Bool[np.ndarray, " T"], *, seed: int) -> Bool[np.ndarray, " T"]:
    """Random labels for a null that say nothing of the true ones: as many of each label are called true.

    A plain permutation of 100 labels often agrees with the truth on 45 or 55 of them, and a label that shows clearly in
    the activations then gives far more or less than half right. Of an odd number the one left over is flipped for true
    labels only, so that both shares called true are the same. Both labels must be equally frequent.
    """
    generator = np.random.default_rng(seed)
    shuffled_T = labels_T.copy()
    for label in (False, True):
        members = generator.permutation(np.flatnonzero(labels_T == label))
        n_flipped = math.ceil(len(members) / 2) if label else len(members) // 2
        shuffled_T[members[:n_flipped]] ^= True
    return shuffled_T
