"""A training run's saved state: tensors beside the draft's JSON state, replaced in one atomic step."""

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors.torch import load_file, save_file

from bathyscope.artifacts import CHECKPOINT, RECIPE, STATE, Draft
from bathyscope.config import from_json, to_json
from bathyscope.dictionaries.dictionary import Dictionary
from bathyscope.dictionaries.job import TrainSettings
from bathyscope.dictionaries.kinds import Kind
from bathyscope.dictionaries.member import Member
from bathyscope.dictionaries.ranks.division import own_tensors
from bathyscope.dictionaries.ranks.mesh import Mesh
from bathyscope.errors import ArtifactError
from bathyscope.files import read_json, sync

METRICS = "metrics.jsonl"


def save_checkpoint(work: Draft | None, member: Member, progress: dict[str, Any]) -> None:
    """Save the member and `progress` (JSON data). A crash at any moment leaves the old state or the new, whole.

    Ranks without a draft of their own give their part to the one that has it.
    """
    tensors, data = member.state()
    if work is None:
        return
    work.checkpoint_path.mkdir(exist_ok=True)
    name = f"step-{progress['step']}.safetensors"
    save_file(tensors, work.checkpoint_path / name)
    sync(work.checkpoint_path / name)
    metrics = work.path / METRICS
    n_bytes = metrics.stat().st_size if metrics.exists() else 0
    work.checkpoint({**progress, "member": data, "tensors": name, "metrics_bytes": n_bytes})
    for file in work.checkpoint_path.glob("step-*.safetensors"):
        if file.name != name:
            file.unlink()


def load_checkpoint(work: Draft | None, member: Member, mesh: Mesh) -> dict[str, Any] | None:
    """Restore the member and cut the metrics back to what the state knows; its progress, or None for a fresh draft.

    Every rank of the mesh, joined by the member, reads its own part of the file that the first rank's draft names.
    """
    state, folder = mesh.told(lambda: _state_of(work))
    if state is None:
        return None
    member.join(mesh)
    member.restore(own_tensors(Path(folder) / state["tensors"], mesh, member.kind.n_features), state["member"])
    if work is not None:
        with (work.path / METRICS).open("ab") as file:
            file.truncate(state["metrics_bytes"])
    return state


def _state_of(work: Draft | None) -> tuple[dict[str, Any] | None, str]:
    return (work.state(), str(work.checkpoint_path.absolute())) if work else (None, "")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Asked:
    """The part of a draft's recipe that says what was being trained."""

    of: Kind
    settings: TrainSettings
    hookpoint: str | tuple[str, ...] | None


def last_checkpoint(folder: str | Path) -> Dictionary:
    """The dictionary as the last checkpoint of an unfinished folder `NAME.partial` left it, of a stopped run say.

    It carries no figures but the step it is from. Raises ArtifactError when the folder holds no checkpoint.
    """
    saved = Path(folder) / CHECKPOINT
    if not (saved / STATE).is_file():
        raise ArtifactError(f"{folder} holds no checkpoint of a dictionary: give the folder NAME.partial of a run")
    state, config = read_json(saved / STATE), read_json(Path(folder) / RECIPE)["config"]
    if "kind" not in config:
        raise ArtifactError(
            f"{folder} is no training run of one kind (a path of shifts?): run its command again to resume"
        )
    given = {"of": config["kind"], "settings": config["settings"], "hookpoint": config.get("hookpoint")}
    asked = from_json(_Asked, given, where=RECIPE)
    optimisation = asked.settings.optimisation(asked.of, state["d_model"])
    member = Member(asked.of, d_model=state["d_model"], optimisation=optimisation, seed=asked.settings.seed)
    member.restore(load_file(saved / state["tensors"]), state["member"])
    found = member.fold()
    return dataclasses.replace(
        found,
        hookpoint=asked.hookpoint if isinstance(asked.hookpoint, str) else None,
        kind=to_json(asked.of),
        training={"tokens": state["tokens"]},
    )
