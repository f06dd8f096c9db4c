"""Dense torch: the obvious implementation of our own steps, `nn.Module`, autograd and `torch.optim.Adam`.

Every [N, F] matrix is made: pre-activations, codes, and their gradients. It begins from the same weights, takes the
same batches and minimises the same loss with the same schedule, so that its losses can be compared with ours. JumpReLU
is our own plain definition (`JumpReLUTrainee.dense`) under `torch.optim.Adam`.
"""

import math
from dataclasses import asdict
from typing import Any

import torch
from torch import Tensor, nn
from train.kinds import begin_at, kind_of, optimisation_of
from train.ours import without_compiled_kernels
from train.task import Task

import bathyscope
from bathyscope.config import to_json
from bathyscope.dictionaries.relu import ReLU
from bathyscope.dictionaries.schedule import Optimisation, ramp
from bathyscope.dictionaries.trainee import Trainee


def versions() -> dict[str, str]:
    """Of what the weights at the start come from."""
    return {"bathyscope": bathyscope.__version__}


def build(task: Task, sample_ND: Tensor, variant: str) -> "Dense":
    """At the same start as ours."""
    without_compiled_kernels()
    kind = kind_of(task)
    scale = kind.scale(sample_ND)
    assert isinstance(scale, float), "kinds of one place have one scale"
    trainee = kind.build(task.d_model, generator=torch.Generator().manual_seed(task.seed))
    trainee.start(sample_ND * scale)
    begin_at(trainee, sample_ND * scale, task.l0)
    module = Definition(kind, trainee) if task.kind == "jumprelu" else Plain(task, kind, trainee)
    return Dense(task, module, scale=scale, optimisation=optimisation_of(task, kind), kind=kind)


class Plain(nn.Module):
    """TopK, BatchTopK or ReLU with dense matrices."""

    def __init__(self, task: Task, kind: Any, trainee: Any) -> None:
        super().__init__()
        self.kind, self.k, self.name = kind, task.k, task.kind
        b_dec_D = trainee.b_dec_D if task.kind == "l1" else trainee.b_pre_D
        self.W_enc_DF = nn.Parameter(trainee.W_enc_FD.detach().T.contiguous())
        self.b_enc_F = nn.Parameter(trainee.b_enc_F.detach().clone())
        self.W_dec_FD = nn.Parameter(trainee.W_dec_FD.detach().clone())
        self.b_dec_D = nn.Parameter(b_dec_D.detach().clone())
        self.register_buffer("silent_F", torch.zeros(task.n_features, dtype=torch.int64))
        self.l0 = 0.0

    def loss(self, x_ND: Tensor, progress: float) -> Tensor:
        """That of the kind's own docstring."""
        pre_NF = (x_ND if self.name == "l1" else x_ND - self.b_dec_D) @ self.W_enc_DF + self.b_enc_F
        codes_NF = self._codes(pre_NF)
        error_ND = x_ND - codes_NF @ self.W_dec_FD - self.b_dec_D
        self._count(codes_NF)
        if isinstance(self.kind, ReLU):
            weight = self.kind.l1 * ramp(progress, self.kind.l1_warm_up)
            size = (codes_NF * self.W_dec_FD.norm(dim=1)).sum()
            return (error_ND.square().sum() + weight * size) / len(x_ND)
        loss = error_ND.square().sum() / _variation(x_ND)
        return loss + self.kind.aux_coefficient * self._auxiliary(pre_NF, error_ND.detach())

    def before_step(self) -> None:
        """The decoder's gradient without what is parallel to each row."""
        if self.name != "l1":
            grad_FD, rows_FD = self.W_dec_FD.grad, self.W_dec_FD.detach()
            assert grad_FD is not None, "backward has run"
            grad_FD -= (grad_FD * rows_FD).sum(1, keepdim=True) * rows_FD

    @torch.no_grad()
    def after_step(self) -> None:
        """Rows of length 1."""
        if self.name != "l1":
            self.W_dec_FD /= self.W_dec_FD.norm(dim=1, keepdim=True)

    def dead_share(self) -> float:
        """Of features that were silent for as long as the kind says."""
        return float((self.silent_F >= self.kind.dead_after_tokens).double().mean())

    def _codes(self, pre_NF: Tensor) -> Tensor:
        match self.name:
            case "topk":
                values, indices = pre_NF.topk(self.k, dim=1)
                return torch.zeros_like(pre_NF).scatter(1, indices, values.relu())
            case "batchtopk":
                flat = pre_NF.relu().flatten()
                values, indices = flat.topk(self.k * len(pre_NF))
                return torch.zeros_like(flat).scatter(0, indices, values).view_as(pre_NF)
            case _:
                return pre_NF.relu()

    @torch.no_grad()
    def _count(self, codes_NF: Tensor) -> None:
        fires_F = (codes_NF != 0).sum(0)
        self.silent_F = torch.where(fires_F > 0, 0, self.silent_F + len(codes_NF))
        self.l0 = float(fires_F.sum()) / len(codes_NF)

    def _auxiliary(self, pre_NF: Tensor, error_ND: Tensor) -> Tensor:
        """What dead features alone would make of the error, as a share of its variation; 0 where none is dead."""
        dead_F = self.silent_F >= self.kind.dead_after_tokens
        if not bool(dead_F.any()):
            return pre_NF.new_zeros(())
        k_aux = self.kind.k_aux or 2 ** max(0, round(math.log2(error_ND.shape[1] / 2)))
        values, indices = pre_NF.masked_fill(~dead_F, -torch.inf).topk(min(k_aux, pre_NF.shape[1]), dim=1)
        guess_ND = torch.zeros_like(pre_NF).scatter(1, indices, values.relu()) @ self.W_dec_FD
        return (error_ND - guess_ND).square().sum() / _variation(error_ND)


class Definition(nn.Module):
    """A trainee's own plain path."""

    def __init__(self, kind: Any, trainee: Trainee) -> None:
        super().__init__()
        self.kind, self.trainee, self.l0 = kind, trainee, 0.0

    def loss(self, x_ND: Tensor, progress: float) -> Tensor:
        """The trainee's."""
        self.seen = self.trainee.loss(x_ND, progress=progress)
        self.l0, self.n = float(self.seen.fires_F.sum()) / len(x_ND), len(x_ND)
        return self.seen.total

    def before_step(self) -> None:
        """What the trainee does to gradients."""
        self.trainee.before_step()

    def after_step(self) -> None:
        """What the trainee does to weights and counts."""
        self.trainee.after_step(self.seen)
        self.trainee.silence.update(self.seen.fires_F, self.n)

    def dead_share(self) -> float:
        """Of features that were silent for as long as the kind says."""
        return float(self.trainee.silence.dead(self.kind.dead_after_tokens).double().mean())


class Dense:
    """A module, its optimiser and its schedule."""

    def __init__(
        self, task: Task, module: Plain | Definition, *, scale: float, optimisation: Optimisation, kind: Any
    ) -> None:
        self.task, self.module, self.scale, self.optimisation = task, module, scale, optimisation
        self.parameters, self.done = list(module.parameters()), 0
        own = {"betas": optimisation.betas, "eps": optimisation.eps}
        self.adam = torch.optim.Adam(self.parameters, lr=optimisation.lr, **own)
        self.settings: dict[str, Any] = {"kind": to_json(kind), "optimisation": asdict(optimisation)}

    def step(self, x_ND: Tensor) -> Tensor:
        """Loss, backward, projection, clip, Adam, unit rows."""
        progress = (self.done + 0.5) / self.task.n_steps
        self.adam.zero_grad()
        loss = self.module.loss(x_ND * self.scale, progress)
        loss.backward()
        self.module.before_step()
        if self.optimisation.clip_norm > 0:
            torch.nn.utils.clip_grad_norm_(self.parameters, self.optimisation.clip_norm)
        self.adam.param_groups[0]["lr"] = self.optimisation.learning_rate(progress)
        self.adam.step()
        self.module.after_step()
        self.done += 1
        return loss.detach()

    def figures(self) -> dict[str, float]:
        """Features per token and share of dead ones at the last step."""
        return {"l0": self.module.l0, "dead_share": self.module.dead_share()}

    def weights(self) -> dict[str, Tensor]:
        """With the scale folded in."""
        module = self.module
        assert isinstance(module, Plain), "the conventions of `Contender.weights`"
        assert module.name == "topk", "the conventions of `Contender.weights`"
        return {
            "W_enc": module.W_enc_DF,
            "b_enc": module.b_enc_F / self.scale,
            "W_dec": module.W_dec_FD,
            "b_dec": module.b_dec_D / self.scale,
        }


def _variation(x_ND: Tensor) -> Tensor:
    """`Σ_n ‖x_n - x̄‖²`."""
    return (x_ND - x_ND.mean(0)).square().sum()
