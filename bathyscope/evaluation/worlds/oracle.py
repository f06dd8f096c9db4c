"""The ceiling of a linear encoder: true directions, the best linear readout, the best threshold for each feature.

No dictionary that encodes by one product and a threshold can be expected to detect the features better; where even
this one fails, the world is too crowded for such encoders, whatever they learnt.
"""

import torch
from jaxtyping import Float
from torch import Tensor

from bathyscope.dictionaries.dictionary import Dictionary
from bathyscope.dictionaries.rules import Above
from bathyscope.dictionaries.weights import Weights
from bathyscope.evaluation.worlds.world import World, own_seed


def linear_oracle(world: World, *, n_features: int, n_tokens: int = 40_000, seed: int = 0) -> Dictionary:
    """A dictionary of the `n_features` most frequent true features, read out from `n_tokens` labelled activations.

    The readout minimises the squared error of the amounts; each threshold maximises F1, on the same activations.
    """
    x_ND, amounts_NG, _ = world.sample(
        n_tokens, generator=torch.Generator(world.device).manual_seed(own_seed("oracle", seed))
    )
    amounts_NF = amounts_NG[:, :n_features]
    wide_ND = torch.cat([x_ND, x_ND.new_ones(n_tokens, 1)], dim=1).double()
    moment = wide_ND.T @ wide_ND
    moment.diagonal().add_(1e-6 * float(moment.diagonal().mean()))
    readout = torch.linalg.solve(moment, wide_ND.T @ amounts_NF.double()).float()
    pre_NF = torch.addmm(readout[-1], x_ND, readout[:-1])
    threshold_F = torch.stack([best_threshold(pre_NF[:, f], amounts_NF[:, f] > 0) for f in range(n_features)])
    weights = Weights(
        W_enc=readout[:-1].contiguous(),
        b_enc=readout[-1].contiguous(),
        W_dec=world.directions_GD[:n_features].contiguous(),
        b_dec=world.offset_D,
        threshold=threshold_F.clamp_min(0),
    )
    return Dictionary(weights=weights, rule=Above(), subtract_b_dec=False)


def best_threshold(score_N: Float[Tensor, " N"], is_true_N: Tensor) -> Float[Tensor, ""]:
    """The threshold whose `score > threshold` has the highest F1 on these tokens; infinity when nothing is true."""
    ordered, order = score_N.sort(descending=True)
    hits = is_true_N[order].cumsum(0).double()
    n_found = torch.arange(1, len(score_N) + 1, device=score_N.device, dtype=torch.float64)
    f1 = 2 * hits / (n_found + float(is_true_N.sum()))
    last = int(f1.argmax())
    if not bool(is_true_N.any()):
        return ordered.new_tensor(torch.inf)
    below = ordered[last + 1] if last + 1 < len(ordered) else ordered[last] - 1
    return (ordered[last] + below) / 2
