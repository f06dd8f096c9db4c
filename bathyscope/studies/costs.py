"""What each way of steering costs at the strengths that were chosen for it: a folder of kind `scores`.

On text that has nothing to do with any concept: KL to the plain model and perplexity. On questions, where wanted: right
answers lost. The mean over concepts of each way, its interval over concepts.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from bathyscope import artifacts, progress
from bathyscope.artifacts import Recipe
from bathyscope.evaluation.intervals import bootstrap
from bathyscope.evaluation.scores import Score, read_scores, score, write_scores
from bathyscope.evaluation.steering.side_effects import PLAIN, Block, SideEffectSettings, side_effects
from bathyscope.files import write_atomic
from bathyscope.models.model import Model
from bathyscope.models.onward import Passed, passed_blocks, recording, replaying
from bathyscope.steering.arm import Arm
from bathyscope.steering.steer import steer

NEUTRAL = (
    "The committee will publish its report in the second week of the month, after both sides have answered in writing.",
    "A triangle has three sides, and the sum of its angles is the same whatever its size.",
    "She put the letter on the table, closed the window, and waited for somebody to come home.",
    "Most of these words are older than the books in which they were first written down.",
)
"""Sentences about none of the library's topics."""
PERPLEXITY, KL, LOST = "perplexity on neutral text", "KL on neutral text", "accuracy lost"

Chosen = Mapping[tuple[str, str], Sequence[float]]
"""Concept and method → the strengths chosen for it."""


def costs(
    model: Model,
    arms: Sequence[Arm],
    chosen: Chosen,
    *,
    hookpoint: str,
    out: Path,
    parents: Mapping[str, Path],
    settings: SideEffectSettings,
) -> list[Score]:
    """Score rows of every method whose arms move the model; also in `out`, with `table.md`.

    An interrupted run goes on after the last method.
    """
    recipe = Recipe(
        kind="scores",
        config={
            "subject": "side effects of steering",
            "settings": settings,
            "hookpoint": hookpoint,
            "chosen": {f"{concept} · {method}": list(factors) for (concept, method), factors in chosen.items()},
            "model": dict(model.identity),
        },
        seed=settings.seed,
        parents=dict(parents),
        materials=tuple(model.materials),
    )
    if not artifacts.is_finished(out, recipe):
        methods = list(dict.fromkeys(arm.method for arm in arms if any(arm.operations.values())))
        with artifacts.draft(out, recipe) as work:
            done: dict[str, list[dict[str, Any]]] = (work.state() or {"done": {}})["done"]
            for method in methods:
                if method not in done:
                    own = [arm for arm in arms if arm.method == method]
                    found = _of_method(model, own, chosen, hookpoint=hookpoint, settings=settings)
                    done[method] = [asdict(row) for row in found]
                    work.checkpoint({"done": done})
                    progress.report("costs", len(done), len(methods), "methods")
            rows = list(dict.fromkeys(Score(**row) for method in methods for row in done[method]))
            write_scores(work.path, rows)
            write_atomic(work.path / "table.md", cost_table(rows).encode())
    return read_scores(out)


def cost_table(rows: Sequence[Score]) -> str:
    """A line for each method."""
    cells: dict[str, dict[str, Score]] = {}
    for row in rows:
        cells.setdefault(row.subject, {})[row.metric] = row
    metrics = list(dict.fromkeys(row.metric for row in rows))
    lines = [
        "# What steering costs at the strengths chosen",
        "",
        "KL in nats per token; in brackets 95 % intervals over concepts, of the plain model over texts or questions.",
        "",
        f"| method | {' | '.join(metrics)} |",
        "|" + "---|" * (1 + len(metrics)),
    ]
    for method, own in cells.items():
        told = (f"{own[m].value:.3g} [{own[m].low:.3g}, {own[m].high:.3g}]" if m in own else "–" for m in metrics)
        lines.append(f"| {method} | {' | '.join(told)} |")
    return "\n".join(lines) + "\n"


def _of_method(
    model: Model, arms: Sequence[Arm], chosen: Chosen, *, hookpoint: str, settings: SideEffectSettings
) -> list[Score]:
    """The plain model's rows, and the method's means over concepts."""
    passed, blocks = passed_blocks(model, hookpoint), dict[str, Block]()
    concepts: list[str] = []
    for arm in arms:
        for factor in chosen.get((arm.concept, arm.method), ()):
            block = partial(steer, model, arm.operations[factor])
            blocks[f"{arm.concept} at {factor:g}"] = block
            concepts.append(arm.concept)
    if not blocks:
        return []
    on_text = SideEffectSettings(sets=(), batch_size=len(NEUTRAL), seed=settings.seed)
    with recording(passed):  # of the plain model, which is read first; all texts are one batch
        ahead: dict[str, Block] = {name: partial(_ahead, passed, block) for name, block in blocks.items()}
        rows = side_effects(model, ahead, NEUTRAL, settings=on_text)
    if settings.sets:
        rows += [row for row in side_effects(model, blocks, NEUTRAL[:1], settings=settings) if "accuracy" in row.metric]
    return [*_plain(rows), *_means(arms[0].method, list(blocks), concepts, rows, seed=settings.seed)]


@contextmanager
def _ahead(passed: Passed, block: Block) -> Iterator[None]:
    """The block, run from the hookpoint on."""
    with replaying(passed), block():
        yield


def _plain(rows: Sequence[Score]) -> list[Score]:
    return [row for row in rows if row.subject == PLAIN]


def _means(
    method: str, names: Sequence[str], concepts: Sequence[str], rows: Sequence[Score], *, seed: int
) -> Iterator[Score]:
    """The mean over concepts of every figure, concepts resampled."""
    for metric in (KL, PERPLEXITY, LOST):
        value = {row.subject: row.value for row in rows if row.metric == metric and row.subject != PLAIN}
        if not value:
            continue
        sums_GM = np.array(
            [
                [np.mean([value[name] for name, own in zip(names, concepts, strict=True) if own == concept]), 1.0]
                for concept in dict.fromkeys(concepts)
            ]
        )
        interval = bootstrap(sums_GM, lambda t: t[..., 0] / t[..., 1], seed=seed)
        yield score(method, metric, interval, unit="concepts", split="side effects")
