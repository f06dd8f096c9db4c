"""Same dictionary, optimal codes: the features of a finished dictionary, the amounts from a classical solver.

Shows how much of an error is the encoder's and how much the decoder's (arXiv 2603.28744 asks the same of new data).
"""

from jaxtyping import Float
from torch import Tensor

from bathyscope.dictionaries.codes import Codes
from bathyscope.dictionaries.dictionary import Dictionary
from bathyscope.dictionaries.kernels.pursuit import merged, pursue
from bathyscope.dictionaries.normalise import normalised
from bathyscope.dictionaries.rules import Pursuit
from bathyscope.dictionaries.solvers.fista import Fista, fista
from bathyscope.dictionaries.solvers.orthogonal_pursuit import OrthogonalPursuit, orthogonal_pursuit
from bathyscope.errors import ConfigError

Solver = Pursuit | OrthogonalPursuit | Fista
"""Every way to code without an encoder."""


def recode(dictionary: Dictionary, x_ND: Float[Tensor, "N D"], solver: Solver) -> Codes:
    """Codes of `x_ND` on `dictionary`'s decoder by `solver`; `dictionary.decode` takes them, its encoder is not asked.

    What is coded is x - b_dec, whether or not the encoder subtracts it. Raises ConfigError for a dictionary that
    writes something else than it reads (a transcoder).
    """
    return solve(centred(dictionary, x_ND), dictionary.W_dec, solver)


def centred(dictionary: Dictionary, x_ND: Float[Tensor, "N D"]) -> Float[Tensor, "N D"]:
    """What codes have to make up: x, normalised where the dictionary does that, without `b_dec`."""
    if dictionary.output_hookpoint is not None:
        place = f"reads {dictionary.hookpoint} and writes {dictionary.output_hookpoint}"
        raise ConfigError(f"this dictionary {place}: only one that reconstructs its input can be recoded")
    if x_ND.ndim != 2 or x_ND.shape[1] != dictionary.d_model:
        wanted = f"this dictionary takes [N, {dictionary.d_model}]"
        raise ConfigError(f"activations have shape {tuple(x_ND.shape)}, {wanted}")
    x_ND = x_ND.to(dictionary.W_dec.dtype)
    x_ND = x_ND if dictionary.normalise is None else normalised(x_ND, dictionary.normalise)
    return x_ND - dictionary.b_dec


def solve(x_ND: Float[Tensor, "N D"], W_dec_FD: Float[Tensor, "F D"], solver: Solver) -> Codes:
    """Codes of centred activations on unit rows."""
    match solver:
        case Pursuit():
            return Codes(*merged(pursue(x_ND, W_dec_FD, solver.limits)), len(W_dec_FD))
        case OrthogonalPursuit():
            limits = {"is_signed": solver.is_signed, "residual_threshold": solver.residual_threshold}
            return orthogonal_pursuit(x_ND, W_dec_FD, solver.k, **limits)
        case Fista():
            limits = {"n_steps": solver.n_steps, "tolerance": solver.tolerance}
            return fista(x_ND, W_dec_FD, solver.l1, is_signed=solver.is_signed, **limits)
