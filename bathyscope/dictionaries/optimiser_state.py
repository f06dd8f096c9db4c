"""A module and its Adam, saved in a draft and brought back: for loops whose every other state follows from the step."""

from collections.abc import Mapping

import torch
from safetensors.torch import load_file, save_file
from torch import nn

from bathyscope.artifacts import Draft
from bathyscope.dictionaries.checkpoint import METRICS
from bathyscope.files import sync

KEYS = ("step", "exp_avg", "exp_avg_sq")


def save_step(work: Draft, parameters: Mapping[str, nn.Parameter], adam: torch.optim.Optimizer, *, step: int) -> None:
    """Save everything that decides the steps after `step`. A crash leaves the old state or the new one, whole."""
    tensors = {f"parameter.{name}": parameter.detach().clone() for name, parameter in parameters.items()}
    for name, parameter in parameters.items():
        tensors |= {f"adam.{name}.{key}": adam.state[parameter][key].clone() for key in KEYS}
    work.checkpoint_path.mkdir(exist_ok=True)
    file = f"step-{step}.safetensors"
    save_file(tensors, work.checkpoint_path / file)
    sync(work.checkpoint_path / file)
    metrics = work.path / METRICS
    n_bytes = metrics.stat().st_size if metrics.exists() else 0
    work.checkpoint({"step": step, "tensors": file, "metrics_bytes": n_bytes})
    for old in work.checkpoint_path.glob("step-*.safetensors"):
        if old.name != file:
            old.unlink()


def restore_step(work: Draft, parameters: Mapping[str, nn.Parameter], adam: torch.optim.Optimizer) -> int:
    """Bring back what `save_step` saved, cut the metrics back to it, and give its step; 0 for a fresh draft."""
    state = work.state()
    if state is None:
        return 0
    tensors = load_file(work.checkpoint_path / state["tensors"])
    with torch.no_grad():
        for name, parameter in parameters.items():
            parameter.copy_(tensors[f"parameter.{name}"])
            adam.state[parameter] = {key: tensors[f"adam.{name}.{key}"].clone() for key in KEYS}
    with (work.path / METRICS).open("ab") as file:
        file.truncate(state["metrics_bytes"])
    return int(state["step"])
