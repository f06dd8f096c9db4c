"""Learning concepts from shifts: checks, frame, β-path, and the finished dictionary with the whole path beside it.

A folder of kind `dictionary` with `path.jsonl`. Every bound of the path is a checkpoint; a resumed run ends in the same
bytes. Knows nothing of models, texts or the truth.
"""

import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from safetensors.torch import load_file, save_file
from torch import Tensor

from bathyscope import artifacts, progress
from bathyscope.artifacts import Draft, Recipe
from bathyscope.config import from_json, to_json
from bathyscope.dictionaries.dictionary import Dictionary, load_dictionary, write_dictionary
from bathyscope.dictionaries.job import require_device
from bathyscope.dictionaries.rules import Linear
from bathyscope.dictionaries.shifts.columns import Columns, chosen, measure, refitted, require_assignment
from bathyscope.dictionaries.shifts.frame import Frame, frame_of
from bathyscope.dictionaries.shifts.pairs import Checked, checked_shifts, of_length_one
from bathyscope.dictionaries.shifts.path import (
    PathRow,
    Problem,
    at_bound,
    begin,
    choose,
    next_beta,
    problem_of,
    warm_start,
)
from bathyscope.dictionaries.shifts.settings import DEFAULTS, ShiftSettings
from bathyscope.dictionaries.survey import Survey
from bathyscope.dictionaries.trainee import Example
from bathyscope.dictionaries.weights import Weights
from bathyscope.files import sync, write_atomic

PATH = "path.jsonl"


@dataclass(frozen=True, slots=True, kw_only=True)
class ShiftOrigin:
    """Where shifts come from; goes into the folder, changes nothing that is computed."""

    hookpoint: str | None = None
    """Module name whose outputs were subtracted."""
    model_identity: Mapping[str, str] | None = None
    """The model, as in the folder of the pairs."""
    parents: Mapping[str, Path] = field(default_factory=dict[str, Path])
    """Folders that were read, by role."""
    materials: tuple[Mapping[str, str], ...] = ()
    """Models and texts used."""


def learn_shifts(
    shifts_PD: Float[Tensor, "P D"],
    settings: ShiftSettings = DEFAULTS,
    *,
    out: str | Path | None = None,
    origin: ShiftOrigin = ShiftOrigin(),
) -> Dictionary:
    """A dictionary whose rows are directions of change, from differences of pairs; also written to `out`.

    Codes are signed and linear in the shift: `h = (δz - b_dec) @ W_enc`. Rows are unit directions of the activations,
    the most important first (mean square of codes), with the sign that makes mean codes positive; size and sign of a
    change are conventions. Columns beyond the number of directions in which shifts vary are zero.
    A finished `out` made with the same shifts and settings is read; an interrupted one goes on after its last bound.
    Raises ConfigError for shifts that cannot be learnt from, by name (`pairs.py`).
    """
    require_assignment()
    require_device(settings.device)
    checked = checked_shifts(shifts_PD, n_features=settings.n_features)
    if out is None:
        return _finished(*_walk(checked, settings, work=None), checked, origin)
    recipe = Recipe(
        kind="dictionary",
        config={"learnt": "shifts", "settings": settings, "shifts_sha256": _digest(checked.shifts_PD)},
        seed=settings.seed,
        parents=origin.parents,
        materials=origin.materials,
    )
    if not artifacts.is_finished(Path(out), recipe):
        with artifacts.draft(Path(out), recipe) as work:
            problem, trail = _walk(checked, settings, work=work)
            write_dictionary(_finished(problem, trail, checked, origin), work.path)
            write_atomic(work.path / PATH, b"".join(_line(row) for row in trail.rows))
    return load_dictionary(out)


def read_path(folder: str | Path) -> list[PathRow]:
    """The β-path in a finished folder. Raises ArtifactError for a folder that is not one of `learn_shifts`."""
    manifest = artifacts.read_manifest(Path(folder), kind="dictionary")
    text = artifacts.check_file(Path(folder), manifest, PATH).read_text()
    return [from_json(PathRow, _with_gaps(json.loads(line)), where=PATH) for line in text.splitlines() if line]


class _Trail:
    """Rows of the path so far, and the restarts behind each; on disk too where there is a draft."""

    def __init__(self, work: Draft | None, device: str) -> None:
        self._work, self._device = work, device
        state = None if work is None else work.state()
        self.rows: list[PathRow] = [] if state is None else [from_json(PathRow, row) for row in state["rows"]]
        self.columns = [self._read(number) for number in range(len(self.rows))]

    def add(self, row: PathRow, columns: Columns) -> None:
        """Take in a bound; from here on a resumed run does not compute it again."""
        number = len(self.rows)
        self.rows.append(row)
        self.columns.append(columns)
        if self._work is not None:
            self._work.checkpoint_path.mkdir(exist_ok=True)
            file = self._file(number)
            save_file({"E": columns.E_RMC, "B": columns.B_RCM, "price": columns.price_R}, file)
            sync(file)
            self._work.checkpoint({"rows": self.rows})

    def _read(self, number: int) -> Columns:
        tensors = load_file(self._file(number), device=self._device)
        return Columns(E_RMC=tensors["E"], B_RCM=tensors["B"], price_R=tensors["price"])

    def _file(self, number: int) -> Path:
        assert self._work is not None
        return self._work.checkpoint_path / f"bound-{number:03d}.safetensors"


def _walk(checked: Checked, settings: ShiftSettings, *, work: Draft | None) -> tuple[Problem, _Trail]:
    """The whole path."""
    shifts_PD = of_length_one(checked.shifts_PD) if settings.alike else checked.shifts_PD
    n = settings.n_features
    frame = frame_of(shifts_PD, n_columns=n, metric=settings.metric, centre=settings.centre)
    problem, trail = problem_of(shifts_PD, frame, settings), _Trail(work, settings.device)
    first = begin(problem) if warm_start(trail.rows) is None else None
    while (beta := next_beta(trail.rows, settings)) is not None:
        number = warm_start(trail.rows)
        before = trail.columns[number] if number is not None else first
        assert before is not None
        row, columns = at_bound(problem, before, beta, number=len(trail.rows))
        trail.add(row, columns)
        figures = {"beta": beta, "explained": max(row.explained), "agreement": row.agreement}
        progress.report("shifts", len(trail.rows), 0, "bounds", **figures)
    return problem, trail


def _finished(problem: Problem, trail: _Trail, checked: Checked, origin: ShiftOrigin) -> Dictionary:
    """The chosen restart as a dictionary of the activations themselves."""
    settings, frame = problem.settings, problem.frame
    number, restart = choose(trail.rows, settings)
    found = chosen(trail.columns[number], restart)
    found = refitted(found) if settings.refit else found
    figures, row = measure(found, problem.y_PM, frame), trail.rows[number]
    training: dict[str, Any] = {
        "pairs": len(checked.shifts_PD),
        "mean_square_explained": float(figures.explained_R[0]),
        "l1": float(figures.l1_R[0]) / problem.l1_free,
        "beta": row.beta,
        "l1_of_random_rotations": problem.l1_free,
        "agreement_of_restarts": None if math.isnan(row.agreement) else row.agreement,
        "is_kept": row.is_kept,
        "rank": frame.rank,
        "effective_rank": frame.effective_rank,
        "warnings": [*checked.warnings, *_about_rank(frame, settings)],
    }
    dictionary = Dictionary(
        weights=_weights(found, frame, checked.shifts_PD, n_features=settings.n_features),
        rule=Linear(),
        subtract_b_dec=settings.centre,
        hookpoint=origin.hookpoint,
        model_identity=origin.model_identity,
        kind=to_json(settings),
        training=training,
    )
    survey = Survey(dictionary, lambda batch_ND: Example(batch_ND, batch_ND))
    for part_PD in checked.shifts_PD.split(8192):
        survey.add(part_PD)
    return survey.result()


def _weights(found: Columns, frame: Frame, shifts_PD: Tensor, *, n_features: int) -> Weights:
    """Unit rows in the activations' metric, sorted and signed; zero beyond the columns of the frame."""
    rows_CD, encoder_DC = frame.rows(found.B_RCM[0].cpu()), frame.encoder(found.E_RMC[0].cpu())
    length_C = rows_CD.norm(dim=1).clamp_min(1e-30)
    rows_CD, encoder_DC = rows_CD / length_C[:, None], encoder_DC * length_C
    codes_PC = (shifts_PD.double() - frame.offset_D) @ encoder_DC
    sign_C = torch.where(codes_PC.mean(0) < 0, -1.0, 1.0).double()
    order_C = codes_PC.square().mean(0).argsort(descending=True, stable=True)
    rows_CD, encoder_DC = (rows_CD * sign_C[:, None])[order_C], (encoder_DC * sign_C)[:, order_C]
    d = len(frame.offset_D)
    W_enc, W_dec = torch.zeros(d, n_features), torch.zeros(n_features, d)
    W_enc[:, : len(order_C)], W_dec[: len(order_C)] = encoder_DC.float(), rows_CD.float()
    return Weights(W_enc=W_enc, b_enc=torch.zeros(n_features), W_dec=W_dec, b_dec=frame.offset_D.float())


def _about_rank(frame: Frame, settings: ShiftSettings) -> list[str]:
    n_empty = settings.n_features - len(frame.unit_M)
    if n_empty == 0:
        return []
    return [f"shifts vary in {frame.rank} directions only: {n_empty} of {settings.n_features} columns stay empty"]


def _digest(shifts_PD: Tensor) -> str:
    return hashlib.sha256(shifts_PD.numpy().tobytes()).hexdigest()


def _line(row: PathRow) -> bytes:
    """A row as a line of JSON; what is not a finite number becomes null."""
    return (json.dumps(_without_gaps(to_json(row)), sort_keys=True) + "\n").encode()


def _without_gaps(value: Any) -> Any:
    match value:
        case float() if not math.isfinite(value):
            return None
        case list():
            return [_without_gaps(item) for item in value]
        case dict():
            return {key: _without_gaps(item) for key, item in value.items()}
        case _:
            return value


def _with_gaps(row: dict[str, Any]) -> dict[str, Any]:
    """What `_without_gaps` made null, again: NaN for the agreement, infinity elsewhere."""
    full = [math.inf if value is None else value for value in row["l1_full"]]
    return {**row, "l1_full": full, "agreement": math.nan if row["agreement"] is None else row["agreement"]}
