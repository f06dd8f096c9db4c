"""The bench of the layer-by-layer room: four studies, one table each, beside sampling and nulls.

A folder of kind `scores`: `scores.jsonl` and `table.md`. Seconds are this machine's, taken turn by turn in one run. A
finished part is kept: an interrupted bench goes on after it.
"""

import dataclasses
import itertools
import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bathyscope import artifacts, progress
from bathyscope.artifacts import Recipe
from bathyscope.errors import ConfigError
from bathyscope.evaluation.extras import require_science
from bathyscope.evaluation.intervals import Interval, over_runs
from bathyscope.evaluation.scores import Score, from_row, read_scores, score, to_row, write_scores
from bathyscope.files import write_atomic
from bathyscope.risk.layerwise.bench_table import layerwise_table
from bathyscope.risk.layerwise.claim_study import CLAIMS, ClaimCase, study_claims
from bathyscope.risk.layerwise.halfspace_study import HALFSPACES, HalfspaceCase, study_halfspaces
from bathyscope.risk.layerwise.mean_study import CPU_GAIN, GAIN, MEANS, SAMPLES, Figures, MeanCase, study_means
from bathyscope.risk.layerwise.network import Activation
from bathyscope.risk.layerwise.sampling import BATCH
from bathyscope.risk.layerwise.tail_study import FEWER, TAILS, TailCase, study_tails

TABLE = "table.md"
RATIOS = {SAMPLES, GAIN, CPU_GAIN, FEWER}
QUICK: dict[str, Any] = {
    "quick": False,
    "width": 64,
    "seeds": (0, 1),
    "turns": 1,
    "depths": (4, 8),
    "truth_layers": 2**18,
    "tail_truth": 2**18,
    "tail_inputs": 2**14,
    "n_matrices": 20,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerwiseBench:
    """Settings of `bench_layerwise`."""

    quick: bool = False
    """Narrow networks, short truths and few matrices: for a look, not for figures."""
    width: int = 256
    """Neurons of every layer."""
    seeds: tuple[int, ...] = (0, 1, 2)
    """Networks of each kind; intervals are over them."""
    turns: int = 3
    """Rounds of the clock."""
    depths: tuple[int, ...] = (4, 8, 32)
    """Hidden layers of the ReLU networks whose means are studied."""
    gelu_depths: tuple[int, ...] = (4,)
    """The same for GELU networks."""
    truth_layers: int = 2**22
    """Inputs of the truth of means times hidden layers: deeper networks get fewer."""
    tail_layers: int = 3
    """Hidden ReLU layers of the networks whose tails and terms are studied; a linear one follows."""
    thresholds: tuple[float, ...] = (3.0, 4.0, 5.0)
    """b of the events: an output above b."""
    tail_truth: int = 2**22
    """Inputs of the truth of tails."""
    tail_inputs: int = 2**17
    """Inputs that propagated cumulants are pooled with; a sixteenth of them for each tilted estimate."""
    n_matrices: int = 240
    """Matrices of each of the two kinds, for the half-spaces."""

    def __post_init__(self) -> None:
        for name in ("width", "turns", "truth_layers", "tail_layers", "tail_truth", "tail_inputs", "n_matrices"):
            if getattr(self, name) < 1:
                raise ConfigError(f"{name} is {getattr(self, name)}: expected at least 1")
        if not self.seeds or len(set(self.seeds)) < len(self.seeds) or min(self.seeds) < 0:
            raise ConfigError(f"seeds {self.seeds}: expected different ones from 0 on, at least one")
        if min((1, *self.depths, *self.gelu_depths)) < 1:
            raise ConfigError(f"depths {self.depths} and gelu_depths {self.gelu_depths}: expected at least 1 each")

    def resolved(self) -> "LayerwiseBench":
        """What `quick` stands for, written out."""
        return dataclasses.replace(self, **QUICK) if self.quick else self


def bench_layerwise(settings: LayerwiseBench, *, out: Path) -> list[Score]:
    """Score rows of all four studies, also written to `out`; resumes after the last finished part."""
    require_science("the layer-by-layer bench")
    settings = settings.resolved()
    recipe = Recipe(kind="scores", config=settings, seed=settings.seeds[0])
    if not artifacts.is_finished(out, recipe):
        with artifacts.draft(out, recipe) as work:
            state = work.state() or {}
            parts = _parts(settings)
            for number, (name, part) in enumerate(parts.items()):
                if name not in state:
                    state[name] = part()
                    work.checkpoint(state)
                progress.report("layerwise", number + 1, len(parts), "parts")
            rows = [*_over_networks(settings, state), *(from_row(row) for row in state[HALFSPACES])]
            write_scores(work.path, rows)
            write_atomic(work.path / TABLE, layerwise_table(rows).encode())
    return read_scores(out)


def _parts(settings: LayerwiseBench) -> dict[str, Callable[[], Any]]:
    """Name of each part → what does it, as JSON: rows of half-spaces, {study: {way: {figure: value}}} of networks."""
    halfspaces = HalfspaceCase(n_matrices=settings.n_matrices)
    parts: dict[str, Callable[[], Any]] = {
        HALFSPACES: lambda: [to_row(row) for row in study_halfspaces(halfspaces, seed=settings.seeds[0])]
    }
    for seed in settings.seeds:
        for name, study in _studies(settings).items():
            parts[f"{name} · {seed}"] = lambda study=study, seed=seed: study(seed)
    return parts


def _studies(settings: LayerwiseBench) -> dict[str, Callable[[int], dict[str, Figures]]]:
    """Name of each study of random networks → what it finds for a seed."""
    width, turns = settings.width, settings.turns
    depths: dict[Activation, tuple[int, ...]] = {"relu": settings.depths, "gelu": settings.gelu_depths}
    found: dict[str, Callable[[int], dict[str, Figures]]] = {}
    for activation, of_activation in depths.items():
        for n_hidden in of_activation:
            n_truth = _whole(settings.truth_layers // n_hidden)
            name = f"{MEANS}, {n_hidden} hidden {activation} layers"
            case = MeanCase(n_hidden=n_hidden, activation=activation, n_truth=n_truth)
            found[name] = lambda seed, case=case, name=name: {
                name: study_means(case, width=width, seed=seed, turns=turns)
            }
    tails = TailCase(n_hidden=settings.tail_layers, thresholds=settings.thresholds, n_truth=_whole(settings.tail_truth))
    found[TAILS] = lambda seed: study_tails(tails, width=width, seed=seed, turns=turns)
    claims = ClaimCase(n_hidden=settings.tail_layers, asked=(4, width))
    found[CLAIMS] = lambda seed: study_claims(claims, width=width, seed=seed)
    return found


def _whole(n: int) -> int:
    """`n` made a multiple of two batches, at least one of them."""
    return max(1, n // (2 * BATCH)) * 2 * BATCH


def _over_networks(settings: LayerwiseBench, state: Mapping[str, Any]) -> Iterator[Score]:
    """Mean of each figure over networks, the geometric one for ratios, with its interval."""
    for name in _studies(settings):
        runs = [state[f"{name} · {seed}"] for seed in settings.seeds]
        for study, ways in runs[0].items():
            for way in ways:
                for figure in dict.fromkeys(itertools.chain(*(run[study][way] for run in runs))):
                    values = [run[study][way][figure] for run in runs if figure in run[study][way]]
                    interval = _of_ratios(values) if figure in RATIOS else over_runs(values)
                    yield score(way, figure, interval, unit="networks", split=study)


def _of_ratios(values: list[float]) -> Interval:
    logs = over_runs([math.log(value) for value in values])
    high = math.exp(logs.high) if math.isfinite(logs.high) else math.inf
    return Interval(value=math.exp(logs.value), low=math.exp(logs.low), high=high, n=logs.n)
