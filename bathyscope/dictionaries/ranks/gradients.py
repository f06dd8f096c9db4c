"""Gradients of a whole batch and of all features, from those that each rank found for its share."""

from collections.abc import Mapping

import torch
from jaxtyping import Float
from torch import Tensor, nn

from bathyscope.dictionaries.ranks.division import is_divided
from bathyscope.dictionaries.ranks.mesh import Mesh


def sum_gradients(parameters: Mapping[str, nn.Parameter], mesh: Mesh) -> None:
    """Make each gradient the sum over the ranks that hold its weights: of a divided one a column, else all ranks."""
    if mesh.is_alone:
        return
    for name, parameter in parameters.items():
        own = torch.zeros_like(parameter) if parameter.grad is None else parameter.grad
        parameter.grad = mesh.sum_over_data(own) if is_divided(name, own.ndim) else mesh.sum_over_all(own)


def total_norm(parameters: Mapping[str, nn.Parameter], mesh: Mesh) -> Float[Tensor, ""]:
    """The length of the whole gradient, rows of other ranks counted in and what all hold counted once."""
    gradients = {name: p.grad for name, p in parameters.items() if p.grad is not None}
    if mesh.n_feature_ranks == 1:
        return torch.nn.utils.get_total_norm(list(gradients.values()))
    divided = [g for name, g in gradients.items() if is_divided(name, g.ndim)]
    alike = [g for name, g in gradients.items() if not is_divided(name, g.ndim)]
    total = mesh.sum_over_features(torch.nn.utils.get_total_norm(divided).square())
    return (total + torch.nn.utils.get_total_norm(alike).square()).sqrt()
