"""Latent scaling: is a crosscoder's feature really in one model only? (Minder et al. 2025, arXiv 2504.02922).

β_j^m(t) = ⟨d_j, Σ_n c_nj t_n^m⟩ / (‖d_j‖² Σ_n c_nj²),  d_j = d_j^chat,  m ∈ {base, chat}
t = x^m - (x̂^m - c_j d_j^m) → β^ε;  t = x̂^m → β^r;  ν^ε = β^ε_base / β^ε_chat,  ν^r = β^r_base / β^r_chat

β is how strongly the chat model's direction is present in model m's activations whenever the feature fires: β^ε in what
the other features leave unexplained, β^r in what the reconstruction already has. ν ≈ 1: shared; ν ≈ 0: in chat only.
A feature whose decoder row is 0 in base but whose ν^ε is large was only made to look exclusive (complete shrinkage);
one with a large ν^r has a twin that speaks for base (latent decoupling). Sums are kept in float64, four per feature.
"""

from collections.abc import Iterable
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from bathyscope.dictionaries.dictionary import Dictionary
from bathyscope.errors import ConfigError

FLOOR = 0.01
"""|β_chat| below which a ratio is undefined: the direction is not in the chat model either."""
CHUNK_BYTES = 64 << 20
"""Size of the gathered decoder rows held at once."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class LatentScaling:
    """Figures of every feature; NaN where they are undefined."""

    blocks: tuple[str, str]
    """Names of base and chat."""
    beta_error_F2: Float[Tensor, "F 2"]
    """β^ε of base and chat."""
    beta_reconstruction_F2: Float[Tensor, "F 2"]
    """β^r of base and chat."""
    nu_error_F: Float[Tensor, " F"]
    """ν^ε; NaN for a feature that never fired, has no row in chat, or whose |β^ε_chat| is below the floor."""
    nu_reconstruction_F: Float[Tensor, " F"]
    """ν^r, likewise."""
    norm_share_F: Float[Tensor, " F"]
    """‖d^chat‖ / (‖d^base‖ + ‖d^chat‖): ½ looks shared, 1 looks exclusive to chat; what ν is there to check."""
    fires_F: Int[Tensor, " F"]
    """Tokens in which each feature fired."""


def latent_scaling(
    dictionary: Dictionary,
    data: Iterable[Float[Tensor, "_ W"]],
    *,
    blocks: tuple[int | str, int | str] = (0, 1),
    floor: float = FLOOR,
) -> LatentScaling:
    """β and ν of every feature of a crosscoder, in closed form, from batches [N, width] of all its blocks.

    `blocks` are base and chat by number or name; `Beside(a, b).stream(batch_size=4096, epochs=1)` gives such batches.
    Raises ConfigError for a dictionary without these blocks, no data, or a floor that is not positive.
    """
    if not 0 < floor < 1:
        raise ConfigError(f"floor is {floor}: expected a number above 0, below 1")
    sums = _Sums(dictionary, [dictionary.block(which) for which in blocks])
    n_tokens = 0
    for batch_NW in data:
        n_tokens += len(batch_NW)
        sums.add(batch_NW.to(dictionary.device, torch.float32))
    if n_tokens == 0:
        raise ConfigError("latent scaling needs activations: there was no batch")
    names = [block.name for block in dictionary.blocks]
    named = [which if isinstance(which, str) else names[which] for which in blocks]
    return sums.result((named[0], named[1]), floor)


class _Sums:
    """Per feature: Σ c², ⟨d, Σ c e^m⟩ and ⟨d, Σ c x̂^m⟩ for both models."""

    def __init__(self, dictionary: Dictionary, columns: list[slice]) -> None:
        self._dictionary, self._columns = dictionary, columns
        self._rows_F = [dictionary.W_dec[:, part].double() for part in columns]
        if self._rows_F[0].shape[1] != self._rows_F[1].shape[1]:
            widths = " and ".join(str(rows.shape[1]) for rows in self._rows_F)
            raise ConfigError(f"the two blocks have widths {widths}: a direction of one is none in the other")
        zeros_F = torch.zeros(dictionary.n_features, dtype=torch.float64, device=dictionary.device)
        self._square_F = zeros_F.clone()
        self._error_F = [zeros_F.clone(), zeros_F.clone()]
        self._guess_F = [zeros_F.clone(), zeros_F.clone()]
        self._fires_F = zeros_F.to(torch.int64)

    def add(self, x_NW: Tensor) -> None:
        codes = self._dictionary.encode(x_NW)
        guess_NW = self._dictionary.decode(codes, x_NW).double()
        error_NW = x_NW.double() - guess_NW
        values_NK = codes.values_NK.double()
        features_M = codes.indices_NK.flatten()
        self._fires_F += codes.fires()
        self._square_F.scatter_add_(0, features_M, values_NK.square().flatten())
        for m, part in enumerate(self._columns):
            for target_NW, sum_F in ((error_NW, self._error_F[m]), (guess_NW, self._guess_F[m])):
                products_NK = _along(target_NW[:, part], self._rows_F[1], codes.indices_NK)
                sum_F.scatter_add_(0, features_M, (values_NK * products_NK).flatten())

    def result(self, names: tuple[str, str], floor: float) -> LatentScaling:
        base_FD, chat_FD = self._rows_F
        own_F = chat_FD.square().sum(1)
        scale_F = own_F * self._square_F
        scale_F = torch.where(scale_F > 0, scale_F, torch.nan)
        error_F2 = torch.stack(
            [
                (self._error_F[m] + self._square_F * (chat_FD * rows_FD).sum(1)) / scale_F
                for m, rows_FD in enumerate(self._rows_F)
            ],
            dim=1,
        )
        guess_F2 = torch.stack([sum_F / scale_F for sum_F in self._guess_F], dim=1)
        lengths = [rows_FD.norm(dim=1) for rows_FD in (base_FD, chat_FD)]
        return LatentScaling(
            blocks=names,
            beta_error_F2=error_F2,
            beta_reconstruction_F2=guess_F2,
            nu_error_F=_ratio(error_F2, floor),
            nu_reconstruction_F=_ratio(guess_F2, floor),
            norm_share_F=lengths[1] / (lengths[0] + lengths[1]),
            fires_F=self._fires_F,
        )


def _along(target_ND: Tensor, directions_FD: Tensor, indices_NK: Tensor) -> Tensor:
    """`⟨target_n, d_f⟩` for the features f of each token n, a few tokens at a time."""
    n_rows = max(1, CHUNK_BYTES // (8 * max(1, indices_NK.shape[1]) * directions_FD.shape[1]))
    parts = [
        torch.einsum("nd,nkd->nk", target_ND[i : i + n_rows], directions_FD[indices_NK[i : i + n_rows]])
        for i in range(0, len(target_ND), n_rows)
    ]
    return torch.cat(parts) if parts else target_ND.new_zeros(indices_NK.shape)


def _ratio(beta_F2: Tensor, floor: float) -> Tensor:
    """base / chat; NaN where chat's is too small to divide by, never 0."""
    return torch.where(beta_F2[:, 1].abs() >= floor, beta_F2[:, 0] / beta_F2[:, 1], torch.nan)
