"""`Contrast`: labelled texts, or pairs of texts, as activations in two halves that share no group.

Vectors are learnt on one half and measured on the other. Knows nothing of learners.
"""

import dataclasses
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from jaxtyping import Int

from bathyscope.activations.pairs.pair import CHANGED
from bathyscope.activations.pairs.store import PairStore
from bathyscope.config import canonical, to_json
from bathyscope.errors import ConfigError
from bathyscope.evaluation.labelled import MIN_TEXTS, LabelledSet, Task, draw_task
from bathyscope.evaluation.pooling import kept_batches, text_rows
from bathyscope.models.hookpoints import resolve
from bathyscope.models.model import Model
from bathyscope.vectors.examples import Examples


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadSettings:
    """How labelled texts are read."""

    n_texts: int = 200
    """Texts, half of each label; half of them teach, the other half report."""
    context: int = 128
    """Tokens of a text that are read, BOS included."""
    tokens_per_batch: int = 2048
    """Tokens of one forward pass, padding included."""
    sink_multiple: float = 10.0
    """Leave out tokens whose norm is above this multiple of the median, as collected activations do; 0 keeps them."""
    halves_seed: int = 0
    """Seed of the choice of texts and of the halves."""

    def __post_init__(self) -> None:
        if self.tokens_per_batch < 1 or self.sink_multiple < 0:
            raise ConfigError("tokens_per_batch must be at least 1 and sink_multiple at least 0")


class Halved(NamedTuple):
    """The examples of one hookpoint."""

    teach: Examples
    """Where directions, thresholds and units come from."""
    report: Examples
    """Where figures are taken."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Contrast:
    """True and false texts as activations at one hookpoint or more."""

    name: str
    """Short name of what is contrasted."""
    question: str
    """What the label true means."""
    places: Mapping[str, Halved]
    """Hookpoint → its examples; the same texts at each."""
    model_identity: Mapping[str, str]
    """The model that was read."""
    reading: Mapping[str, Any]
    """How texts were chosen and read, as JSON data, for manifests."""
    materials: tuple[Mapping[str, str], ...] = ()
    """Model and texts: name, version, sha256, licence, origin."""
    parents: Mapping[str, Path] = field(default_factory=dict[str, Path])
    """Artifact folders that were read, by role."""

    def as_pairs(self) -> "Contrast":
        """The same texts, those of a group as the sides of a pair. Raises ConfigError for texts that are no pairs."""
        places = {name: Halved(*(half.as_pairs() for half in halves)) for name, halves in self.places.items()}
        return dataclasses.replace(self, places=places)

    @property
    def digest(self) -> str:
        """sha256 over what was read: model, question, reading, token ids and labels."""
        total = hashlib.sha256(canonical([dict(self.model_identity), self.question, dict(self.reading)]))
        for hookpoint, halves in self.places.items():
            total.update(hookpoint.encode())
            for half in halves:
                total.update(canonical([half.tokens, half.labels_T.tolist(), half.groups_T.tolist()]))
        return total.hexdigest()


def contrast_of_texts(
    model: Model,
    labelled: LabelledSet,
    *,
    hookpoint: str | Sequence[str] = "layers.15",
    settings: ReadSettings = ReadSettings(),
) -> Contrast:
    """The activations of a labelled set's texts, special tokens and attention sinks left out.

    Raises ConfigError when a half would have fewer than 10 texts of a label, or a text has only special tokens.
    """
    task = draw_task(labelled, n_texts=settings.n_texts, seed=settings.halves_seed)
    rows = text_rows(model, task.texts, context=settings.context)
    patterns = [hookpoint] if isinstance(hookpoint, str) else list(hookpoint)
    places: dict[str, Halved] = {}
    for name in dict.fromkeys(found for pattern in patterns for found in resolve(model, pattern)):
        whole = _read(model, name, rows, settings, task)
        teach, report = (whole.choose(np.flatnonzero(half_T)) for half_T in (task.is_train_T, ~task.is_train_T))
        places[name] = Halved(teach, report)
    if not places:
        raise ConfigError("no hookpoint was given; expected at least one, such as layers.15")
    return Contrast(
        name=labelled.name,
        question=labelled.question,
        places=places,
        model_identity=dict(model.identity),
        reading={"texts": labelled.digest, "settings": to_json(settings)},
        materials=(*model.materials, *labelled.materials),
    )


def contrast_of_pairs(
    store: PairStore,
    *,
    factor: str | None = None,
    value: str | None = None,
    hookpoint: str | Sequence[str] | None = None,
    halves_seed: int = 0,
) -> Contrast:
    """The vectors of pairs: one for each side, as the folder holds them.

    With a `factor`, pairs in which it changed; with its `value`, those in which one side has it, which is then the true
    side. Without a value the second side is. Hookpoints: all of the folder unless named. Raises ConfigError for an
    unknown factor or value, or fewer than 10 pairs in a half.
    """
    texts = _sides(store, factor, value)
    kept = set((texts // 2).tolist())
    groups = {group: number for number, group in enumerate(sorted(set(store.pair_set.groups)))}
    named = [hookpoint] if isinstance(hookpoint, str) else hookpoint
    tokens = [tuple(row) for both in store.tokens() for row in both]
    places: dict[str, Halved] = {}
    for name in map(store.hookpoint, named or store.hookpoints):
        whole = Examples(
            x_ND=store.both(name).flatten(0, 1),
            text_N=torch.arange(2 * store.n_pairs),
            labels_T=np.isin(np.arange(2 * store.n_pairs), texts[1::2]),
            groups_T=np.array([groups[group] for group in store.pair_set.groups]).repeat(2),
            tokens=tuple(tokens),
            is_paired=True,
        )
        halves = [
            _ordered(texts, [pair for pair in half.tolist() if pair in kept]) for half in store.halves(halves_seed)
        ]
        places[name] = Halved(*map(whole.choose, halves))
    return Contrast(
        name=value or factor or store.name,
        question=f"the side with {factor} = {value}" if value else f"the second side of {factor or store.name}",
        places=places,
        model_identity=dict(store.model_identity),
        reading={"pairs": store.manifest.digest, "factor": factor, "value": value, "halves_seed": halves_seed},
        materials=store.materials,
        parents=store.parents,
    )


def _read(
    model: Model,
    hookpoint: str,
    rows: Sequence[Sequence[int]],
    settings: ReadSettings,
    task: Task,
) -> Examples:
    batches = list(
        kept_batches(
            model, hookpoint, rows, tokens_per_batch=settings.tokens_per_batch, sink_multiple=settings.sink_multiple
        )
    )
    text_N = torch.cat([batch.row_N for batch in batches])
    empty = sorted(set(range(len(rows))) - set(text_N.tolist()))
    if empty:
        raise ConfigError(f"text {empty[0]} has no token but special ones and attention sinks; leave it out")
    order_N = text_N.argsort(stable=True)
    return Examples(
        x_ND=torch.cat([batch.x_ND.cpu() for batch in batches])[order_N],
        text_N=text_N[order_N],
        labels_T=task.labels_T,
        groups_T=task.groups_T,
        tokens=tuple(map(tuple, rows)),
        is_hard_T=task.is_hard_T if task.is_hard_T.any() else None,
    )


def _sides(store: PairStore, factor: str | None, value: str | None) -> Int[np.ndarray, " U"]:
    """Text numbers (pair · 2 + side), false side before the true one, of every pair that is wanted."""
    if factor is None:
        if value is not None:
            raise ConfigError(f"the value {value!r} belongs to a factor; name it")
        return np.arange(2 * store.n_pairs)
    if factor not in store.factors:
        raise ConfigError(f"no factor is named {factor!r}; expected one of: {', '.join(store.factors) or 'none named'}")
    changed = np.flatnonzero(store.support[:, store.factors.index(factor)] == CHANGED).tolist()
    found: list[int] = []
    for number in changed:
        pair = store.pairs[number]
        if value is None or pair.values_after.get(factor) == value:
            found += [2 * number, 2 * number + 1]
        elif pair.values_before.get(factor) == value:
            found += [2 * number + 1, 2 * number]
    if not found:
        held = sorted({side[factor] for pair in store.pairs for side in _values(pair) if factor in side})
        raise ConfigError(
            f"{factor!r} never changes to or from {value!r}; its values are: {', '.join(held) or 'unknown'}"
        )
    return np.array(found)


def _values(pair: Any) -> tuple[Mapping[str, str], Mapping[str, str]]:
    return pair.values_before, pair.values_after


def _ordered(texts: Int[np.ndarray, " U"], pairs: Sequence[int]) -> Int[np.ndarray, " V"]:
    """The text numbers of some pairs, false side first."""
    if len(pairs) < MIN_TEXTS:
        raise ConfigError(f"a half has only {len(pairs)} pairs of this contrast, expected at least {MIN_TEXTS}")
    of_pair = {int(one) // 2: [int(one), int(other)] for one, other in texts.reshape(-1, 2)}
    return np.array([text for pair in pairs for text in of_pair[pair]])
