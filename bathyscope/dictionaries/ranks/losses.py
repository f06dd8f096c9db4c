"""The losses of whole batches and all features, computed by ranks that each hold a share of both.

Each is the loss of the kind's own trainee, which is the definition; values and selected features are the same up to the
order in which floating-point numbers are added. Every rank's `total` has the value of the whole loss and the gradients
of this rank's share: summed over the ranks that hold a weight, they are the gradients of the whole.
"""

from collections.abc import Callable, Mapping

import torch
from jaxtyping import Float, Int
from torch import Tensor

from bathyscope.dictionaries.auxiliary import share_of_variation
from bathyscope.dictionaries.batch_selection import k_at
from bathyscope.dictionaries.batch_topk import BatchTopK, BatchTopKTrainee
from bathyscope.dictionaries.codes import Codes, fires_of
from bathyscope.dictionaries.kernels.above import encode_above, select_batch
from bathyscope.dictionaries.kernels.decode import decode_pairs
from bathyscope.dictionaries.kernels.encode import encode_largest
from bathyscope.dictionaries.kernels.jump import at_features
from bathyscope.dictionaries.kernels.moments import Moments
from bathyscope.dictionaries.kernels.select import Pairs
from bathyscope.dictionaries.l0_control import seen_by, weight_factor
from bathyscope.dictionaries.ranks.auxiliary import whole_auxiliary_loss
from bathyscope.dictionaries.ranks.error import error_of, summed_error, summed_parts
from bathyscope.dictionaries.ranks.mesh import Mesh
from bathyscope.dictionaries.ranks.moments import whole_moments
from bathyscope.dictionaries.ranks.selection import largest_of_batch, largest_of_token, least_kept
from bathyscope.dictionaries.relu import ReLU, ReLUTrainee
from bathyscope.dictionaries.schedule import ramp
from bathyscope.dictionaries.topk import TopK, TopKTrainee
from bathyscope.dictionaries.trainee import KindSettings, Loss
from bathyscope.errors import ConfigError

WholeLoss = Callable[..., Loss]
"""`(trainee, x_ND, *, progress, mesh)`, where the trainee holds this rank's features alone."""


def whole_loss(kind: KindSettings) -> WholeLoss:
    """The loss of a kind that can be trained by several processes. Raises ConfigError for others."""
    loss = _LOSSES.get(type(kind))
    if loss is None:
        names = ", ".join(known.__name__ for known in _LOSSES)
        raise ConfigError(f"{type(kind).__name__} is trained by one process; several can train {names}")
    return loss


def topk_loss(trainee: TopKTrainee, x_ND: Float[Tensor, "N D"], *, progress: float, mesh: Mesh) -> Loss:
    """That of `topk.py`."""
    kind, n_own = trainee.kind, len(trainee.W_enc_FD)
    k, target = kind.k_at(progress), whole_moments(x_ND, mesh)
    weights = (trainee.W_enc_FD, trainee.b_enc_F)
    most = max(k, kind.multi_k or 0)
    candidates = encode_largest(x_ND, trainee.b_pre_D, *weights, min(most, n_own))
    pairs = largest_of_token(candidates, k, mesh)
    error = summed_error(x_ND, pairs, trainee.W_dec_FD, trainee.b_pre_D, mesh)
    parts = {"error": share_of_variation(error.squared, target)}
    if kind.multi_k is not None:
        wider = summed_error(x_ND, largest_of_token(candidates, most, mesh), trainee.W_dec_FD, trainee.b_pre_D, mesh)
        parts["multi"] = kind.multi_coefficient * share_of_variation(wider.squared, target)
    fires_F = _fires(pairs, n_own, mesh)
    if kind.aux_coefficient > 0:
        parts["auxiliary"] = kind.aux_coefficient * _auxiliary(trainee, x_ND, error.residual_ND, fires_F, target, mesh)
    return _of_all(parts, squared_error=error.squared, target=target, fires_F=fires_F, mesh=mesh)


def batch_topk_loss(trainee: BatchTopKTrainee, x_ND: Float[Tensor, "N D"], *, progress: float, mesh: Mesh) -> Loss:
    """That of `batch_topk.py`."""
    kind, n_own = trainee.kind, len(trainee.W_enc_FD)
    target = whole_moments(x_ND, mesh)
    n_keep = round(k_at(kind, progress) * target.n)
    candidates = select_batch(x_ND, trainee.b_pre_D, trainee.W_enc_FD, trainee.b_enc_F, n_keep)
    pairs = largest_of_batch(candidates, n_keep, mesh, n_tokens=target.n, n_features=kind.n_features)
    error = summed_error(x_ND, pairs, trainee.W_dec_FD, trainee.b_pre_D, mesh)
    parts, fires_F = {"error": share_of_variation(error.squared, target)}, _fires(pairs, n_own, mesh)
    if kind.aux_coefficient > 0:
        parts["auxiliary"] = kind.aux_coefficient * _auxiliary(trainee, x_ND, error.residual_ND, fires_F, target, mesh)
    seen = {"least kept": least_kept(pairs.values_NK, mesh)}
    return _of_all(parts, squared_error=error.squared, target=target, fires_F=fires_F, mesh=mesh, seen=seen)


def relu_loss(trainee: ReLUTrainee, x_ND: Float[Tensor, "N D"], *, progress: float, mesh: Mesh) -> Loss:
    """That of `relu.py`."""
    kind, target, n_own = trainee.kind, whole_moments(x_ND, mesh), len(trainee.W_enc_FD)
    norm_F = trainee.W_dec_FD.norm(dim=1)
    if trainee.density.is_sparse(x_ND):
        no_bias_D = torch.zeros_like(x_ND[0])
        pairs = encode_above(x_ND, no_bias_D, trainee.W_enc_FD, trainee.b_enc_F, 0.0)
        part_ND, fires_F = decode_pairs(*pairs, trainee.W_dec_FD, no_bias_D), _fires(pairs, n_own, mesh)
        size = (pairs.values_NK * at_features(norm_F, pairs.indices_NK)).sum()
    else:
        codes_NF = torch.addmm(trainee.b_enc_F, x_ND, trainee.W_enc_FD.T).relu()
        part_ND, fires_F = codes_NF @ trainee.W_dec_FD, mesh.sum_over_data(fires_of(codes_NF))
        size = codes_NF.sum(0) @ norm_F
    error = error_of(x_ND, summed_parts(part_ND, mesh), trainee.b_dec_D, mesh)
    l1 = kind.l1 * ramp(progress, kind.l1_warm_up) * weight_factor(trainee.control, progress)
    seen = seen_by(mesh.sum_over_features(fires_F.sum()[None]), target.n, progress)
    return _of_all(
        {"error": error.squared / target.n, "sparsity": l1 * size / target.n},
        squared_error=error.squared,
        target=target,
        fires_F=fires_F,
        mesh=mesh,
        by_feature=("sparsity",),
        seen={**seen, "density": seen["l0"]},
    )


_LOSSES: Mapping[type, WholeLoss] = {TopK: topk_loss, BatchTopK: batch_topk_loss, ReLU: relu_loss}


def _fires(pairs: Pairs, n_own: int, mesh: Mesh) -> Int[Tensor, " F"]:
    """Tokens of all ranks in which each of this rank's features fires."""
    return mesh.sum_over_data(Codes(pairs.values_NK.detach(), pairs.indices_NK, n_own).fires())


def _auxiliary(
    trainee: TopKTrainee | BatchTopKTrainee,
    x_ND: Tensor,
    residual_ND: Tensor,
    fires_F: Tensor,
    target: Moments,
    mesh: Mesh,
) -> Tensor:
    """The auxiliary loss of this rank's tokens, before its coefficient."""
    return whole_auxiliary_loss(
        x_ND - trainee.b_pre_D,
        residual_ND,
        trainee.silence.after(fires_F, target.n) >= trainee.kind.dead_after_tokens,
        trainee.W_enc_FD,
        trainee.b_enc_F,
        trainee.W_dec_FD,
        k_aux=trainee.k_aux,
        mesh=mesh,
    )


def _of_all(
    parts: Mapping[str, Tensor],
    *,
    squared_error: Tensor,
    target: Moments,
    fires_F: Tensor,
    mesh: Mesh,
    by_feature: tuple[str, ...] = (),
    seen: Mapping[str, Tensor] | None = None,
) -> Loss:
    """The loss from the ranks' shares of its parts; parts named in `by_feature` are of this rank's features alone."""
    own = torch.stack(list(parts.values())).sum()
    shares = {name: part.detach() for name, part in parts.items()}
    shares |= {name: mesh.sum_over_features(shares[name]) for name in by_feature}
    *summed, squared = mesh.sum_over_data(torch.stack([*shares.values(), squared_error.detach()]))
    value = torch.stack(summed).sum()
    return Loss(
        total=own + (value - own.detach()),
        parts=dict(zip(shares, summed, strict=True)),
        squared_error=squared,
        target=target,
        fires_F=fires_F,
        seen=seen or {},
    )
