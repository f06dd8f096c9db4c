"""Our kinds for a task, at their defaults but for what the task fixes, and a start with the task's L0."""

import dataclasses

import torch
from torch import Tensor
from train.task import Task

from bathyscope.dictionaries.batch_topk import BatchTopK
from bathyscope.dictionaries.jumprelu import JumpReLU, JumpReLUTrainee
from bathyscope.dictionaries.plain import PlainKind
from bathyscope.dictionaries.relu import ReLU, ReLUTrainee
from bathyscope.dictionaries.schedule import Optimisation
from bathyscope.dictionaries.topk import TopK
from bathyscope.dictionaries.trainee import Trainee

HELD = 1e-6
"""Learning rate of l1 and jumprelu: the time of their steps is asked at one L0, so L0 must stay where it began."""
START_ROWS = 512
"""Activations that the start is fitted on."""


def kind_of(task: Task) -> PlainKind:
    """The settings; nothing is annealed, so that every step costs the same."""
    match task.kind:
        case "topk":
            return TopK(n_features=task.n_features, k=task.k)
        case "batchtopk":
            return BatchTopK(n_features=task.n_features, k=task.k, k_anneal=0.0)
        case "l1":
            return ReLU(n_features=task.n_features)
        case "jumprelu":
            return JumpReLU(n_features=task.n_features, l0=task.l0, l0_anneal=0.0)


def optimisation_of(task: Task, kind: PlainKind) -> Optimisation:
    """The kind's own; the rate is held down where L0 would move."""
    own = kind.optimisation(task.d_model)
    return dataclasses.replace(own, lr=HELD) if task.kind in ("l1", "jumprelu") else own


@torch.no_grad()
def begin_at(trainee: Trainee, x_ND: Tensor, l0: int) -> None:
    """Move biases or thresholds so that `l0` features per token are active on scaled activations; others stay."""
    rows_ND = x_ND[:START_ROWS]
    match trainee:
        case ReLUTrainee():
            pre_NF = rows_ND @ trainee.W_enc_FD.T + trainee.b_enc_F
            trainee.b_enc_F.sub_(_bound(pre_NF, l0))
            trainee.density.begin_at(torch.tensor(float(l0)))
        case JumpReLUTrainee():
            pre_NF = (rows_ND - trainee.b_dec_D) @ trainee.W_enc_FD.T + trainee.b_enc_F
            bound = _bound(pre_NF, l0)
            trainee.threshold_F.fill_(bound)
            n_near = (pre_NF > bound - trainee.kind.bandwidth / 2).sum() / len(rows_ND)
            trainee.density.begin_at(n_near)
        case _:
            return


def _bound(pre_NF: Tensor, l0: int) -> float:
    """What `l0` entries of a row exceed on average."""
    return float(pre_NF.flatten().topk(l0 * len(pre_NF)).values[-1])
