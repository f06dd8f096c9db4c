"""The identifiability report: one page on whether these pairs can identify concepts and whether these columns did.

Before training, from the supports alone; after it, from what another half of the pairs, fewer pairs, another start, no
bound and structureless shifts give; and, where the truth is known, how well columns correspond to it. A folder of kind
`scores`: `scores.jsonl`, `columns.jsonl` and `report.md`.
"""

import dataclasses
import hashlib
import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from bathyscope import artifacts, progress
from bathyscope.artifacts import Recipe
from bathyscope.config import to_json
from bathyscope.dictionaries.dictionary import Dictionary
from bathyscope.dictionaries.shifts.learn import learn_shifts
from bathyscope.dictionaries.shifts.pairs import checked_shifts
from bathyscope.evaluation.extras import require_science
from bathyscope.evaluation.identifiability.learnings import (
    Examined,
    examine,
    normal_twin,
    random_encoder,
    without_bound,
    without_some,
)
from bathyscope.evaluation.identifiability.matching import Matching, block_mcc, match_concepts
from bathyscope.evaluation.identifiability.page import page
from bathyscope.evaluation.identifiability.settings import IdentifiabilitySettings, KnownConcepts, as_support
from bathyscope.evaluation.identifiability.significance import ColumnEvidence, rows_agreement
from bathyscope.evaluation.identifiability.supports import SupportReport, support_report
from bathyscope.evaluation.intervals import Interval, bootstrap
from bathyscope.evaluation.scores import Score, score, write_scores
from bathyscope.files import write_atomic

PAGE, COLUMNS = "report.md", "columns.jsonl"
OURS, FREE, TWIN, RANDOM = "shifts", "without a bound", "normal twin", "random encoders"
NOTHING = KnownConcepts()
DEFAULTS = IdentifiabilitySettings()


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class IdentifiabilityReport:
    """What can be said about a pair set and the columns learnt from it."""

    supports: SupportReport | None
    """What the supports allow, before training; None where no support is known."""
    dictionary: Dictionary
    """What was learnt."""
    columns: tuple[ColumnEvidence, ...]
    """Evidence for each column that is not empty."""
    matching: Matching | None
    """Concepts and their columns, where changes are known."""
    scores: tuple[Score, ...]
    """Figures with intervals, beside controls and nulls."""
    warnings: tuple[str, ...]
    """What is odd about the pairs."""
    page: str
    """All of it as Markdown."""

    @property
    def n_real(self) -> int:
        """Columns that survive the control of false discoveries."""
        return sum(column.is_real for column in self.columns)


def identifiability(
    shifts_PD: Float[Tensor, "P D"],
    *,
    known: KnownConcepts = NOTHING,
    dictionary: Dictionary | None = None,
    settings: IdentifiabilitySettings = DEFAULTS,
    out: str | Path | None = None,
) -> IdentifiabilityReport:
    """The report on shifts of pairs, also in the folder `out` (kind `scores`).

    `dictionary`, one that `learn_shifts` made of these shifts with `settings.shifts`, saves learning it again. Changes
    that are known count as known supports too. Raises ConfigError for shifts that cannot be learnt from, and for fewer
    than two pairs a column.
    """
    require_science("the identifiability report")
    known.require(len(shifts_PD))
    checked = checked_shifts(shifts_PD, n_features=settings.shifts.n_features)
    known = known.kept((shifts_PD != 0).any(1))
    found = _report(checked.shifts_PD, known, dictionary, settings, checked.warnings)
    if out is None:
        return found
    config = {"subject": "identifiability", "settings": settings, "data_sha256": _digest(checked.shifts_PD, known)}
    if dictionary is not None:
        config["dictionary"] = dictionary.digest
    recipe = Recipe(kind="scores", config=config, seed=settings.test_seed)
    if not artifacts.is_finished(Path(out), recipe):
        with artifacts.draft(Path(out), recipe) as work:
            write_scores(work.path, found.scores)
            lines = [json.dumps(to_json(column), sort_keys=True).replace("NaN", "null") for column in found.columns]
            write_atomic(work.path / COLUMNS, ("\n".join(lines) + "\n").encode())
            write_atomic(work.path / PAGE, found.page.encode())
    return found


def _report(
    shifts_PD: Tensor,
    known: KnownConcepts,
    dictionary: Dictionary | None,
    settings: IdentifiabilitySettings,
    warnings: tuple[str, ...],
) -> IdentifiabilityReport:
    support_PC = known.support_PC
    if support_PC is None and known.changes_PC is not None:
        support_PC = as_support(known.changes_PC)
    supports = None if support_PC is None else support_report(support_PC, names=known.names)
    whole = learn_shifts(shifts_PD, settings.shifts) if dictionary is None else dictionary
    progress.report("identifiability", 1, 4, "stages")
    found = examine(shifts_PD, settings, whole=whole)
    progress.report("identifiability", 2, 4, "stages")
    scores = [*_of_columns(OURS, found, settings), *_of_removals(shifts_PD, found, settings)]
    progress.report("identifiability", 3, 4, "stages")
    scores += _of_controls(shifts_PD, settings) if settings.controls else []
    matching = None if known.changes_PC is None else match_concepts(whole.pre(shifts_PD), known.changes_PC)
    if known.changes_PC is not None:
        scores += _of_truth(shifts_PD, known.changes_PC, supports, whole, settings)
    progress.report("identifiability", 4, 4, "stages")
    alone = ["a single column has no other direction to be told from: no test can call it real"]
    alone = alone if len(found.columns) == 1 else []
    all_warnings = tuple(dict.fromkeys([*warnings, *whole.training["warnings"], *alone]))
    text = page(
        supports=supports,
        dictionary=whole,
        columns=found.columns,
        matching=matching,
        scores=scores,
        warnings=all_warnings,
        level=settings.level,
    )
    return IdentifiabilityReport(
        supports=supports,
        dictionary=whole,
        columns=tuple(found.columns),
        matching=matching,
        scores=tuple(scores),
        warnings=all_warnings,
        page=text,
    )


def _of_columns(subject: str, found: Examined, settings: IdentifiabilitySettings) -> list[Score]:
    """Share of real columns, agreement of the halves, reconstruction."""
    real = np.array([column.is_real for column in found.columns], dtype=np.float64)
    halves = rows_agreement(found.half_a, found.half_b)
    explained = float(found.whole.training["mean_square_explained"])
    fixed = Interval(value=explained, low=-np.inf, high=np.inf, n=1)
    return [
        score(subject, "share of real columns", mean(real, settings.test_seed), unit="columns", split="other half"),
        score(subject, "agreement of halves", mean(halves, settings.test_seed), unit="columns", split="both halves"),
        score(subject, "mean square explained", fixed, unit="fits", split="train"),
    ]


def _of_removals(shifts_PD: Tensor, found: Examined, settings: IdentifiabilitySettings) -> list[Score]:
    kept = [rows_agreement(found.whole, thinned) for thinned in without_some(shifts_PD, found.whole, settings)]
    if not kept:
        return []
    metric = f"cosine after removing {settings.removed:.0%} of pairs"
    return [score(OURS, metric, mean(np.concatenate(kept), settings.test_seed), unit="columns", split="train")]


def _of_controls(shifts_PD: Tensor, settings: IdentifiabilitySettings) -> list[Score]:
    """What must fail: no bound, and no structure."""
    free = [without_bound(shifts_PD, settings, number=number) for number in range(2)]
    explained = np.array([each.training["mean_square_explained"] for each in free])
    twin_PD = normal_twin(shifts_PD, seed=settings.test_seed + 7)
    cheap = dataclasses.replace(settings.shifts, n_restarts=settings.n_restarts_again)
    twin = examine(twin_PD, dataclasses.replace(settings, shifts=cheap))
    agreement = mean(rows_agreement(free[0], free[1]), settings.test_seed)
    return [
        score(FREE, "mean square explained", mean(explained, settings.test_seed), unit="fits", split="train"),
        score(FREE, "agreement of two starts", agreement, unit="columns", split="train"),
        *_of_columns(TWIN, twin, settings),
    ]


def _of_truth(
    shifts_PD: Tensor,
    changes_PC: Tensor,
    supports: SupportReport | None,
    whole: Dictionary,
    settings: IdentifiabilitySettings,
) -> list[Score]:
    """MCC, block-MCC, and both of random encoders and of a dictionary without a bound."""
    blocks = blocks_of(supports, changes_PC.shape[1])
    codes = {OURS: [whole.pre(shifts_PD)]}
    seeds = range(settings.n_random)
    codes[RANDOM] = [random_encoder(whole, shifts_PD, seed=settings.test_seed + number) for number in seeds]
    if settings.controls:
        codes[FREE] = [without_bound(shifts_PD, settings, number=0).pre(shifts_PD)]
    found: list[Score] = []
    for subject, several in codes.items():
        single = np.mean([match_concepts(each, changes_PC).correlation_C for each in several], axis=0)
        found.append(score(subject, "mcc", mean(single, settings.test_seed), unit="concepts", split="train"))
        if len(blocks) < changes_PC.shape[1]:
            block = np.mean([block_mcc(each, changes_PC, blocks) for each in several], axis=0)
            found.append(score(subject, "block mcc", mean(block, settings.test_seed), unit="concepts", split="train"))
    return found


def blocks_of(supports: SupportReport | None, n_concepts: int) -> list[list[int]]:
    """The blocks of the support report as numbers, every other concept by itself."""
    found = [] if supports is None else [[supports.names.index(name) for name in block] for block in supports.blocks]
    taken = {c for block in found for c in block}
    return found + [[c] for c in range(n_concepts) if c not in taken]


def mean(values_C: Float[np.ndarray, " C"], seed: int) -> Interval:
    """The mean with an interval from resampling columns (or concepts)."""
    rows_C2 = np.stack([values_C.astype(np.float64), np.ones(len(values_C))], axis=1)
    return bootstrap(rows_C2, lambda total: total[..., 0] / total[..., 1], seed=seed)


def _digest(shifts_PD: Tensor, known: KnownConcepts) -> str:
    total = hashlib.sha256(shifts_PD.contiguous().numpy().tobytes())
    for each in (known.support_PC, known.changes_PC):
        total.update(b"none" if each is None else torch.as_tensor(each).contiguous().numpy().tobytes())
    total.update("\n".join(known.names).encode())
    return total.hexdigest()
