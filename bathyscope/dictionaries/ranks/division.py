"""A trainee divided among the columns of a mesh, and put together again.

What is divided is told by its name: shape letters that begin with F (`W_enc_FD`, `b_enc_F`, `silence.tokens_F`, and
what an optimiser keeps of them) stand for a tensor with a row for each feature. The rest every rank holds alike.
"""

import re
from collections.abc import Mapping
from pathlib import Path

import safetensors
from safetensors.torch import load_file
from torch import Tensor, nn

from bathyscope.dictionaries.ranks.mesh import Mesh
from bathyscope.dictionaries.trainee import KindSettings, Trainee
from bathyscope.errors import ConfigError

_BY_FEATURE = re.compile(r"_F[A-Z]*(\.|$)")


def is_divided(name: str, n_dims: int) -> bool:
    """Whether each column of a mesh holds its own rows of a tensor of that name; a number is never divided."""
    return n_dims > 0 and _BY_FEATURE.search(name) is not None


def require_even(kind: KindSettings, mesh: Mesh) -> None:
    """Raise ConfigError when the features cannot be split evenly."""
    if kind.n_features % mesh.n_feature_ranks:
        raise ConfigError(
            f"{kind.n_features} features cannot be split evenly over {mesh.n_feature_ranks} processes: "
            "set other feature_ranks or n_features"
        )


def divide(trainee: Trainee, kind: KindSettings, mesh: Mesh) -> None:
    """Leave the trainee this rank's features alone. Raises ConfigError when they cannot be split evenly."""
    require_even(kind, mesh)
    own = mesh.own_features(kind.n_features)
    for name, whole in trainee.state_dict(keep_vars=True).items():
        if is_divided(name, whole.ndim):
            module, _, leaf = name.rpartition(".")
            part = whole.detach()[own].clone()
            is_parameter = isinstance(whole, nn.Parameter)
            setattr(trainee.get_submodule(module), leaf, nn.Parameter(part) if is_parameter else part)


def gathered(tensors: Mapping[str, Tensor], mesh: Mesh) -> dict[str, Tensor]:
    """The whole tensors on the first rank's CPU; nothing elsewhere. Called by every rank with the same names."""
    found: dict[str, Tensor] = {}
    for name, tensor in tensors.items():
        whole = mesh.whole(tensor) if is_divided(name, tensor.ndim) else tensor.detach().cpu().contiguous()
        if whole is not None and mesh.is_first:
            found[name] = whole
    return found


def own_tensors(file: Path, mesh: Mesh, n_features: int) -> dict[str, Tensor]:
    """This rank's part of the tensors that `gathered` gave and a file holds; other rows are not read."""
    if mesh.n_feature_ranks == 1:
        return load_file(file)
    own, found = mesh.own_features(n_features), dict[str, Tensor]()
    with safetensors.safe_open(file, framework="pt") as saved:
        for name in saved.keys():  # noqa: SIM118 – no mapping
            part = saved.get_slice(name)
            found[name] = part[own] if is_divided(name, len(part.get_shape())) else saved.get_tensor(name)
    return found
