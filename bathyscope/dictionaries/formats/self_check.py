"""Does a dictionary do on real activations what its source says of it? And if not, under which convention would it?

L0 and variance explained on a few thousand rows beside the stated figures: within 10 % green, within 50 % amber, else
red. A red dictionary is tried under other conventions, and the one that fits is named; nothing is switched.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Literal, cast

import torch
from jaxtyping import Float
from torch import Tensor

from bathyscope.dictionaries.dictionary import Dictionary
from bathyscope.dictionaries.formats.conventions import other_conventions
from bathyscope.dictionaries.formats.parts import Parts
from bathyscope.dictionaries.meter import variance_explained
from bathyscope.errors import ConfigError

Verdict = Literal["green", "amber", "red"]
GREEN, RED = 0.1, 0.5
"""Relative difference from the stated figure up to which a dictionary is green, and above which it is red."""
CHUNK_ROWS = 1024
Batch = Float[Tensor, "N D"] | tuple[Float[Tensor, "N D"], Float[Tensor, "N O"]]
"""Activations, or for a transcoder what it reads and what it is to write."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """What a dictionary does on the rows of the check."""

    l0: float
    """Mean number of active features per row."""
    variance_explained: float
    """`1 - Σ‖x - x̂‖² / Σ‖x - x̄‖²`, x̄ the mean of these rows."""
    dead_share: float
    """Share of features that never fired on them."""
    length: float
    """Mean ‖x̂‖ over mean ‖x‖: a wrong factor shows here."""
    n_rows: int
    """Rows."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """The same dictionary under one other convention."""

    convention: str
    """What was changed, in words."""
    figures: Figures
    """What it does then."""
    gap: float
    """Largest relative difference from the stated figures."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SelfCheck:
    """The verdict and what it rests on."""

    verdict: Verdict
    """Green, amber or red."""
    figures: Figures
    """As the dictionary was loaded."""
    stated: Mapping[str, float]
    """Figures that the source states; with none, a dictionary is red when it explains no variance, else amber."""
    gap: float | None
    """Largest relative difference from the stated figures; None without any."""
    trials: tuple[Trial, ...] = ()
    """Other conventions that were tried, best first; only after red."""
    fits: str | None = None
    """The convention under which it would be green (without stated figures: would explain at least half)."""

    @property
    def sentence(self) -> str:
        """The verdict in one line."""
        seen = f"L0 {self.figures.l0:.1f}, variance explained {self.figures.variance_explained:.3f}"
        wanted = ", ".join(f"{name.replace('_', ' ')} {value:.4g}" for name, value in self.stated.items())
        line = f"{self.verdict}: {seen} on {self.figures.n_rows:,} rows; the source states {wanted or 'nothing'}"
        if self.verdict != "red":
            return line
        return f"{line}; it fits with {self.fits}" if self.fits else f"{line}; none of {len(self.trials)} others fits"


def check_dictionary(
    dictionary: Dictionary,
    batches: Iterable[Batch],
    *,
    stated: Mapping[str, float] | None = None,
    n_rows: int = 8192,
    parts: Parts | None = None,
) -> SelfCheck:
    """Compare L0 and variance explained on the first `n_rows` rows of `batches` with what is stated of the dictionary.

    `stated` has `l0`, `variance_explained` or both; when not given, the figures of the file that the dictionary came
    from, or of its own training. With `parts`, the unfolded tensors of a foreign file, more conventions can be tried.
    A batch is [N, D], or a pair (read, written) for a transcoder. Holds `n_rows` rows.
    """
    rows = _gathered(dictionary, batches, n_rows)
    claims = dict(_claims(dictionary) if stated is None else stated)
    figures = _figures(dictionary, *rows)
    gap = _gap(figures, claims)
    verdict = _verdict(figures, gap)
    if verdict != "red":
        return SelfCheck(verdict=verdict, figures=figures, stated=claims, gap=gap)
    trials = []
    for convention, make in other_conventions(dictionary, parts, rows[0]):
        seen = _figures(make(), *rows)
        difference = _gap(seen, claims)
        trials.append(
            Trial(convention=convention, figures=seen, gap=_doubt(seen) if difference is None else difference)
        )
    limit = GREEN if claims else RED
    trials.sort(key=lambda trial: _rank(trial, limit))
    fits = trials[0].convention if trials and _rank(trials[0], limit)[0] == 0 else None
    return SelfCheck(verdict="red", figures=figures, stated=claims, gap=gap, trials=tuple(trials), fits=fits)


def _rank(trial: Trial, limit: float) -> tuple[int, float]:
    """What fits and explains variance first, the one that explains most before the others; then by the gap."""
    explains = trial.figures.variance_explained
    if trial.gap <= limit and explains > 0:
        return 0, -explains
    return (1 if explains > 0 else 2), trial.gap


def _claims(dictionary: Dictionary) -> Mapping[str, float]:
    """What the source states, or what was seen at the end of training."""
    source, survey = dictionary.source or {}, dictionary.training.get("survey")
    found = source.get("expected") or (survey if isinstance(survey, Mapping) else {})
    return {name: float(found[name]) for name in ("l0", "variance_explained") if found.get(name) is not None}


def _gathered(dictionary: Dictionary, batches: Iterable[Batch], n_rows: int) -> tuple[Tensor, Tensor]:
    reads, writes, seen = list[Tensor](), list[Tensor](), 0
    for batch in batches:
        x_ND, y_NO = batch if isinstance(batch, tuple) else (batch, batch)
        reads.append(x_ND[: n_rows - seen].to(dictionary.device, torch.float32))
        writes.append(y_NO[: n_rows - seen].to(dictionary.device, torch.float32))
        seen += len(reads[-1])
        if seen >= n_rows:
            break
    if seen < 2:
        raise ConfigError(f"the check was given {seen} activations, expected at least 2")
    if writes[0].shape[1] != dictionary.d_out:
        raise ConfigError(f"this dictionary writes width {dictionary.d_out}: give pairs of what is read and written")
    return torch.cat(reads), torch.cat(writes)


@torch.no_grad()
def _figures(dictionary: Dictionary, x_ND: Tensor, y_NO: Tensor) -> Figures:
    mean_O = y_NO.double().mean(0)
    fires_F = torch.zeros(dictionary.n_features, dtype=torch.int64, device=x_ND.device)
    error, variation, length, reference = 0.0, 0.0, 0.0, 0.0
    for i in range(0, len(x_ND), CHUNK_ROWS):
        x, y = x_ND[i : i + CHUNK_ROWS], y_NO[i : i + CHUNK_ROWS]
        codes = dictionary.encode(x)
        guess = dictionary.decode(codes, x)
        fires_F += codes.fires()
        error += float((y - guess).double().square().sum())
        variation += float((y.double() - mean_O).square().sum())
        length += float(guess.double().norm(dim=1).sum())
        reference += float(y.double().norm(dim=1).sum())
    return Figures(
        l0=float(fires_F.sum()) / len(x_ND),
        variance_explained=variance_explained(error, variation),
        dead_share=float((fires_F == 0).double().mean()),
        length=length / max(reference, 1e-30),
        n_rows=len(x_ND),
    )


def _gap(figures: Figures, claims: Mapping[str, float]) -> float | None:
    """Largest relative difference; a variance explained near 0 is compared on the scale of 0.05."""
    floors = {"l0": 1e-6, "variance_explained": 0.05}
    differences = [
        abs(cast(float, getattr(figures, name)) - value) / max(abs(value), floors[name])
        for name, value in claims.items()
    ]
    return max(differences) if differences else None


def _doubt(figures: Figures) -> float:
    """Without stated figures: the share of variance that is not explained."""
    return 1 - figures.variance_explained


def _verdict(figures: Figures, gap: float | None) -> Verdict:
    if figures.variance_explained <= 0 or (gap is not None and gap > RED):
        return "red"
    return "green" if gap is not None and gap <= GREEN else "amber"
