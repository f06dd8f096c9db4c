"""Ours: the step of `bathyscope train`, and the same without compiled kernels (variant `plain`)."""

import sys
from dataclasses import asdict
from typing import Any

import torch
from torch import Tensor
from train.kinds import begin_at, kind_of, optimisation_of
from train.task import Task

import bathyscope
from bathyscope import runtime
from bathyscope.config import to_json
from bathyscope.dictionaries.member import Member


def versions() -> dict[str, str]:
    """Of what decides the figures."""
    return {"bathyscope": bathyscope.__version__}


def build(task: Task, sample_ND: Tensor, variant: str) -> "Ours":
    """A member of the training loop, after its start."""
    runtime.keep_freed_memory()
    if variant == "plain":
        without_compiled_kernels()
    return Ours(task, sample_ND)


def without_compiled_kernels() -> None:
    """From now on every kernel takes its plain PyTorch path: no element type is one that compiled code takes."""
    for name, module in list(sys.modules.items()):
        if name.startswith("bathyscope.dictionaries") and hasattr(module, "COMPILED"):
            vars(module)["COMPILED"] = ()


class Ours:
    """One member."""

    def __init__(self, task: Task, sample_ND: Tensor) -> None:
        kind = kind_of(task)
        self.task, self.done = task, 0
        optimisation = optimisation_of(task, kind)
        self.member = Member(kind, d_model=task.d_model, optimisation=optimisation, seed=task.seed)
        self.member.start(sample_ND)
        begin_at(self.member.trainee, sample_ND * self.member.factor, task.l0)
        self.settings: dict[str, Any] = {"kind": to_json(kind), "optimisation": asdict(optimisation)}
        self.last = dict[str, float]()

    def step(self, x_ND: Tensor) -> Tensor:
        """One step; reading the figures is part of it."""
        self.member.step(x_ND, progress=(self.done + 0.5) / self.task.n_steps)
        self.done += 1
        self.last = self.member.read()
        return torch.tensor(self.last["loss"])

    def figures(self) -> dict[str, float]:
        """Features per token and share of dead ones at the last step."""
        return {name: self.last[name] for name in ("l0", "dead_share")}

    def weights(self) -> dict[str, Tensor]:
        """The folded dictionary's."""
        found = self.member.fold()
        assert found.subtract_b_dec, "the conventions of `Contender.weights`"
        return {"W_enc": found.W_enc, "b_enc": found.b_enc, "W_dec": found.W_dec, "b_dec": found.b_dec}
