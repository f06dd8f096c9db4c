"""A training run's saved state: tensors beside the draft's JSON state, replaced in one atomic step."""

from typing import Any

from safetensors.torch import load_file, save_file

from bathyscope.artifacts import Draft
from bathyscope.dictionaries.member import Member
from bathyscope.files import sync

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
