"""Which features are kept: the last step of encoding, from pre-activations to codes.

Each rule is a frozen value that goes into `config.json`. A new rule is one class here and one entry in `Rule`.
"""

from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor

from bathyscope.dictionaries.codes import Codes
from bathyscope.dictionaries.kernels.pursuit import Limits, merged, pursue
from bathyscope.dictionaries.kernels.select import select_largest
from bathyscope.dictionaries.weights import Weights
from bathyscope.errors import ConfigError


@dataclass(frozen=True, slots=True, kw_only=True)
class Positive:
    """Keep what is positive: `c = ReLU(pre)`."""

    def keep(self, pre_NF: Float[Tensor, "N F"], threshold_F: Float[Tensor, " F"] | None) -> Codes:
        """Codes of every positive pre-activation."""
        return Codes.from_dense(pre_NF.relu())


@dataclass(frozen=True, slots=True, kw_only=True)
class Largest:
    """Keep the k largest per token, then what is positive among them: `c = ReLU(top-k(pre))`."""

    k: int
    """Most active features per token; fewer where fewer than k pre-activations are positive."""

    def keep(self, pre_NF: Float[Tensor, "N F"], threshold_F: Float[Tensor, " F"] | None) -> Codes:
        """Codes of the k largest pre-activations; equal ones are kept in order of the feature number on a CPU."""
        return Codes(*select_largest(pre_NF, self.k), pre_NF.shape[1])


@dataclass(frozen=True, slots=True, kw_only=True)
class Above:
    """Keep what is above each feature's threshold: `c = ReLU(pre)·1[pre > θ]`, strictly."""

    def keep(self, pre_NF: Float[Tensor, "N F"], threshold_F: Float[Tensor, " F"] | None) -> Codes:
        """Codes of every pre-activation above its threshold."""
        if threshold_F is None:
            raise ConfigError("this dictionary keeps what is above a threshold, but holds no threshold")
        return Codes.from_dense(pre_NF.relu() * (pre_NF > threshold_F))


@dataclass(frozen=True, slots=True, kw_only=True)
class LargestAbsolute:
    """Keep the k entries of largest size per token, with their sign and without ReLU (arXiv 2510.00404)."""

    k: int
    """Active features per token."""

    def keep(self, pre_NF: Float[Tensor, "N F"], threshold_F: Float[Tensor, " F"] | None) -> Codes:
        """Signed codes; on a CPU equal sizes are kept in order of the feature number."""
        return Codes(*select_largest(pre_NF, self.k, absolute=True), pre_NF.shape[1])


@dataclass(frozen=True, slots=True, kw_only=True)
class Pursuit:
    """Matching pursuit over the decoder rows: the closest atom's share is taken off x - b_dec, k times.

    r = x - b_dec;  k times: f = argmax ⟨r, a_f⟩, v = ⟨r, a_f⟩, c_f += v·‖a_f‖, r ← r - v·a_f,  a_f = d_f·‖W_enc[:, f]‖

    Codes cannot be told from pre-activations alone, so this rule has `encode` and no `keep`. `W_enc` is `W_decᵀ` where
    atoms have length 1; other lengths make codes as a foreign pursuit that never normalised its atoms does. `b_enc` is
    not used, nor a `gain`. Pre-activations are the inner products before the first step.
    """

    k: int
    """Most steps per token; fewer atoms are active where one is taken twice."""
    residual_threshold: float = 0.0
    """A token is done after a step that leaves a residual shorter than this, in units of the activations."""
    is_signed: bool = False
    """Whether codes may be negative; if not, a token without positive inner product is done."""
    stops_on_duplicate: bool = False
    """Whether a token is done after a step that took an atom again."""

    @property
    def limits(self) -> Limits:
        """The same, as the kernel takes it."""
        return Limits(self.k, self.is_signed, self.residual_threshold, self.stops_on_duplicate)

    def encode(self, centred_ND: Float[Tensor, "N D"], weights: Weights) -> Codes:
        """Codes of activations without `b_dec`, atoms in the order in which they were first taken.

        Differentiable in the activations, with the choice of atoms fixed.
        """
        length_F = weights.W_enc.norm(dim=0)
        values_NK, indices_NK = merged(pursue(centred_ND, weights.W_dec * length_F[:, None], self.limits))
        return Codes(values_NK * length_F[indices_NK], indices_NK, len(length_F))


@dataclass(frozen=True, slots=True, kw_only=True)
class Linear:
    """Keep every pre-activation as it is, with its sign: `c = pre`.

    For shifts of activations, whose codes are sparse by what they were trained for and not by a rule. Almost no code is
    exactly 0, so L0 says nothing here.
    """

    def keep(self, pre_NF: Float[Tensor, "N F"], threshold_F: Float[Tensor, " F"] | None) -> Codes:
        """All pre-activations as codes: N·F·12 bytes."""
        return Codes.from_dense(pre_NF)


Rule = Positive | Largest | LargestAbsolute | Above | Pursuit | Linear
"""Every way to go from pre-activations (or, for `Pursuit`, from activations) to codes."""
