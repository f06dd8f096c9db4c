"""A subspace of the activations at one hookpoint and some positions, and what is written into it while a model runs.

x' = x + (v - x Qᵀ) Q   at each position, Q an orthonormal basis [R, D], v the component [R] to be there instead

Knows nothing of causal models or of how a subspace was found.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from bathyscope.errors import ConfigError
from bathyscope.models.forward import current_forward
from bathyscope.models.hookpoints import resolve, width
from bathyscope.models.hooks import replace, run
from bathyscope.models.model import Model


@dataclass(frozen=True, slots=True)
class Site:
    """A hookpoint, and the positions of the rows at which its output is read or changed."""

    hookpoint: str
    """Module name, such as `h.0`."""
    positions: tuple[int, ...]
    """Positions counted from the first token of a row; rows have no padding."""

    def __post_init__(self) -> None:
        if not self.positions or min(self.positions) < 0 or len(set(self.positions)) < len(self.positions):
            raise ConfigError(f"positions {self.positions}: expected different ones, at least one, counted from 0")


@dataclass(frozen=True, slots=True, eq=False)
class Subspace:
    """A subspace of its own at each position of a site."""

    site: Site
    """Where it is."""
    basis_QRD: Float[Tensor, "Q R D"]
    """Orthonormal basis for each of the Q positions."""

    def __post_init__(self) -> None:
        if len(self.basis_QRD) != len(self.site.positions):
            raise ConfigError(f"{len(self.basis_QRD)} bases for the positions {self.site.positions}: expected one each")

    @property
    def rank(self) -> int:
        """R, dimensions at each position."""
        return self.basis_QRD.shape[1]

    def components(self, x_NQD: Float[Tensor, "N Q D"]) -> Float[Tensor, "N Q R"]:
        """Coordinates of activations in the subspace."""
        return torch.einsum("nqd,qrd->nqr", x_NQD, self.basis_QRD)


def orthonormal(directions_QRD: Float[Tensor, "Q R D"]) -> Float[Tensor, "Q R D"]:
    """Orthonormal bases of the spans of rows, differentiable (QR decomposition). Raises ConfigError when R > D."""
    if directions_QRD.shape[1] > directions_QRD.shape[2]:
        raise ConfigError(f"{directions_QRD.shape[1]} directions in {directions_QRD.shape[2]} dimensions: give fewer")
    return torch.linalg.qr(directions_QRD.transpose(1, 2)).Q.transpose(1, 2)


def random_subspace(site: Site, *, rank: int, d_model: int, seed: int) -> Subspace:
    """Uniformly drawn subspaces: the null of any other one of this rank."""
    generator = torch.Generator().manual_seed(seed)
    return Subspace(site, orthonormal(torch.randn(len(site.positions), rank, d_model, generator=generator)))


def activations_at(model: Model, site: Site, tokens_NS: Int[Tensor, "N S"]) -> Float[Tensor, "N Q D"]:
    """Activations at the site's positions. Raises ConfigError when rows end before a position."""
    if max(site.positions) >= tokens_NS.shape[1]:
        raise ConfigError(f"positions {site.positions} in rows of {tokens_NS.shape[1]} tokens: the rows end before")
    (name,) = _one(model, site)
    found = [run(model, part, name)[name][:, list(site.positions)] for part in tokens_NS.split(1024)]
    return torch.cat(found).float()


@contextmanager
def written(model: Model, subspace: Subspace, values_BQR: Float[Tensor, "B Q R"]) -> Iterator[None]:
    """Inside the block, component `values_BQR` stands in the subspace in place of the model's own.

    Row b of every forward gets `values_BQR[b]`; a single row of values serves any number of rows. Works behind a
    cache: positions are counted from the first token of the row. Differentiable in basis and values.
    """
    (name,) = _one(model, subspace.site)
    if subspace.basis_QRD.shape[2] != width(model, name):
        raise ConfigError(f"a subspace of {subspace.basis_QRD.shape[2]} dimensions does not fit {name} of {model.name}")
    with replace(model, {name: _Writer(subspace, values_BQR)}):
        yield


@dataclass(slots=True, eq=False)
class _Writer:
    """The replacement function."""

    subspace: Subspace
    values_BQR: Tensor

    def __call__(self, x_BSD: Tensor) -> Tensor | None:
        past = current_forward().past_length
        here = [(q, p - past) for q, p in enumerate(self.subspace.site.positions) if 0 <= p - past < x_BSD.shape[1]]
        if not here:
            return None
        which, places = map(list, zip(*here, strict=True))
        basis_QRD = self.subspace.basis_QRD[which].to(x_BSD.dtype)
        x_BQD = x_BSD[:, places]
        missing_BQR = self.values_BQR[:, which].to(x_BSD.dtype) - torch.einsum("bqd,qrd->bqr", x_BQD, basis_QRD)
        index_Q = torch.tensor(places, device=x_BSD.device)
        return x_BSD.index_add(1, index_Q, torch.einsum("bqr,qrd->bqd", missing_BQR, basis_QRD))


def _one(model: Model, site: Site) -> list[str]:
    found = resolve(model, site.hookpoint)
    if len(found) != 1:
        raise ConfigError(f"{site.hookpoint!r} means {len(found)} hookpoints: a site has one")
    return found
