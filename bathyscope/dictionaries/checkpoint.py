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
from bathyscope.errors import ArtifactError
from bathyscope.files import read_json, sync

METRICS = "metrics.jsonl"


def save_checkpoint(work: Draft, member: Member, progress: dict[str, Any]) -> None:
    """Save the member and `progress` (JSON data). A crash at any moment leaves the old state or the new, whole."""
    tensors, data = member.state()
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


def load_checkpoint(work: Draft, member: Member) -> dict[str, Any] | None:
    """Restore the member and cut the metrics back to what the state knows; its progress, or None for a fresh draft."""
    state = work.state()
    if state is None:
        return None
    member.restore(load_file(work.checkpoint_path / state["tensors"]), state["member"])
    with (work.path / METRICS).open("ab") as file:
        file.truncate(state["metrics_bytes"])
    return state


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
