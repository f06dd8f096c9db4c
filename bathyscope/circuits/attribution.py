"""Which features of a prompt move one answer against another: gradient × activation, checked by switching them off.

m = logit(answer) − logit(other) at the last token. With x = Σ_f c_f d_f + b_dec + ε (the error term ε stays in place)

    attribution(s, f) = c_f(s) · d_f · mean over points of ∂m/∂x(s),    points x − (1 − α)·Σ_f c_f d_f, α in (0, 1)

One point at α = 1 is gradient × activation (Templeton et al. 2024, attributions; Syed et al. 2023, arXiv 2310.10348);
many points are integrated gradients, whose sum over features is m − m(features off) but for a residual that is stated.
An attribution is a claim about a cut: the features it names are switched off one by one, beside random active ones.
"""

from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from bathyscope.dictionaries.dictionary import Dictionary
from bathyscope.errors import ConfigError
from bathyscope.features.prompt import prompt_tokens, require_own_hookpoint
from bathyscope.models.hooks import replace, run
from bathyscope.models.model import Model

CUTS_PER_BATCH = 16
"""Features switched off in one forward, each in a row of its own."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AttributionSettings:
    """How features are ranked and checked."""

    n_points: int = 16
    """Points of the path from features off to features on, at which gradients are taken; 1 is the prompt itself."""
    n: int = 10
    """Features returned, those of largest attribution in either direction."""
    n_random: int = 20
    """Other active features, drawn at random, that are switched off beside them."""
    seed: int = 0
    """Seed of that draw."""

    def __post_init__(self) -> None:
        if min(self.n_points, self.n, self.n_random) < 1:
            raise ConfigError("n_points, n and n_random must be at least 1")


@dataclass(frozen=True, slots=True, kw_only=True)
class Attributed:
    """One feature's part in the answer; positive speaks for it."""

    feature: int
    attribution: float
    """Summed over tokens, in units of logits."""
    cut: float
    """m minus m with this feature switched off at every token: what the attribution predicts."""
    token: int
    """Place of its largest part among the prompt's tokens."""
    activation_rank: int
    """Its place among the active features by highest activation, from 0."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Attribution:
    """The answer of a prompt, taken apart."""

    tokens: tuple[int, ...]
    """The prompt's tokens, BOS left out."""
    difference: float
    """m: logit of the answer minus logit of the other one."""
    features_off: float
    """m when every feature is switched off; bias and error term stay."""
    attributed: float
    """Sum of all features' attributions."""
    error: float
    """First-order part of what the dictionary does not explain: ε · ∂m/∂x at the prompt, summed over tokens."""
    n_active: int
    """Features that fire on the prompt."""
    found: list[Attributed]
    """The features of largest attribution, either sign."""
    cut_agreement: float
    """Pearson correlation of attribution and cut over the found and the random features."""
    activation_agreement: float
    """The same of highest activation and size of the cut: what ranking by activation would have known."""

    @property
    def residual(self) -> float:
        """What the attributions leave unexplained: m − m(features off) − their sum; 0 for a complete account."""
        return self.difference - self.features_off - self.attributed


@dataclass(frozen=True, slots=True, eq=False)
class _Case:
    """One prompt, its question, and what the dictionary sees of it."""

    model: Model
    hookpoint: str
    directions_FD: Tensor
    tokens_S: Int[np.ndarray, " S"]
    n_head: int
    answer: int
    other: int
    x_SD: Tensor
    codes_SF: Tensor
    """Codes behind the head only."""

    def parts(self, codes_SF: Tensor) -> Float[Tensor, "S D"]:
        """What some codes write, with zeros at the head."""
        head_HD = self.x_SD.new_zeros(self.n_head, self.x_SD.shape[1])
        return torch.cat([head_HD, codes_SF @ self.directions_FD])

    def differences(self, deltas_BSD: Float[Tensor, "B S D"]) -> Float[Tensor, " B"]:
        """m when `deltas_BSD` are added at the hookpoint, each in a forward of its own."""
        tokens_BS = torch.from_numpy(self.tokens_S).to(self.model.device).expand(len(deltas_BSD), -1)
        with replace(self.model, {self.hookpoint: partial(_moved, deltas_BSD)}):
            logits_BV = self.model.network(input_ids=tokens_BS, use_cache=False, logits_to_keep=1).logits[:, -1]
        return logits_BV[:, self.answer].double() - logits_BV[:, self.other].double()


def attribute(
    model: Model,
    dictionary: Dictionary,
    prompt: str,
    *,
    answer: str,
    other: str,
    settings: AttributionSettings = AttributionSettings(),
) -> Attribution:
    """The features behind the preference for `answer` over `other` as the token that follows `prompt`.

    Raises ConfigError when the two are not one token each, when they are the same one, or when no feature fires.
    """
    case = _case(model, dictionary, prompt, answer=answer, other=other)
    total_SD = case.parts(case.codes_SF)
    with torch.no_grad():
        both_2 = case.differences(torch.stack([torch.zeros_like(total_SD), -total_SD]))
    error_SD = case.x_SD - total_SD - dictionary.b_dec
    per_token_SF = case.codes_SF * (
        _mean_gradient(case, total_SD, settings.n_points)[case.n_head :] @ dictionary.W_dec.T
    )
    by_feature_F = per_token_SF.double().sum(0)
    active = case.codes_SF.gt(0).any(0).nonzero()[:, 0]
    order = active[by_feature_F[active].abs().argsort(descending=True, stable=True)].tolist()
    top, rest = order[: settings.n], order[settings.n :]
    generator = np.random.default_rng(settings.seed)
    controls = sorted(generator.permutation(rest)[: settings.n_random].tolist())
    checked = [*top, *controls]
    cuts = _cuts(case, checked, float(both_2[0]))
    highest_F = case.codes_SF.amax(0).double()
    ranked = active[highest_F[active].argsort(descending=True, stable=True)].tolist()
    return Attribution(
        tokens=tuple(case.tokens_S[case.n_head :].tolist()),
        difference=float(both_2[0]),
        features_off=float(both_2[1]),
        attributed=float(by_feature_F.sum()),
        error=float((error_SD * _mean_gradient(case, total_SD, 1))[case.n_head :].double().sum()),
        n_active=len(active),
        found=[
            Attributed(
                feature=f,
                attribution=float(by_feature_F[f]),
                cut=cuts[f],
                token=int(per_token_SF[:, f].abs().argmax()),
                activation_rank=ranked.index(f),
            )
            for f in top
        ],
        cut_agreement=_correlation([float(by_feature_F[f]) for f in checked], [cuts[f] for f in checked]),
        activation_agreement=_correlation([float(highest_F[f]) for f in checked], [abs(cuts[f]) for f in checked]),
    )


def _case(model: Model, dictionary: Dictionary, prompt: str, *, answer: str, other: str) -> _Case:
    dictionary.require_one_place("attribution")
    dictionary.require_selection("attribution")
    if dictionary.normalise is not None:
        raise ConfigError(
            f"this dictionary normalises each token ({dictionary.normalise}): its codes are not lengths in the model's "
            "activations, so they cannot be taken away one by one"
        )
    hookpoint = require_own_hookpoint(model, dictionary)
    tokens_S, n_head = prompt_tokens(model, prompt)
    ids = [_one_token(model, text) for text in (answer, other)]
    if ids[0] == ids[1]:
        raise ConfigError(f"{answer!r} and {other!r} are the same token: there is no difference to attribute")
    x_SD = run(model, torch.from_numpy(tokens_S)[None], hookpoint)[hookpoint][0]
    codes_SF = dictionary.encode(x_SD[n_head:].float()).dense()
    if not bool(codes_SF.gt(0).any()):
        raise ConfigError(f"no feature fires on {prompt!r}: there is nothing to attribute to")
    return _Case(model, hookpoint, dictionary.W_dec, tokens_S, n_head, ids[0], ids[1], x_SD, codes_SF)


def _one_token(model: Model, text: str) -> int:
    """The id of a text that is one token."""
    ids = model.tokenizer(text, add_special_tokens=False)["input_ids"]
    if len(ids) != 1:
        pieces = model.tokenizer.convert_ids_to_tokens(ids)
        raise ConfigError(
            f"{text!r} is {len(ids)} tokens ({pieces}), expected one; a word often needs a space before it"
        )
    return int(ids[0])


def _mean_gradient(case: _Case, total_SD: Float[Tensor, "S D"], n_points: int) -> Float[Tensor, "S D"]:
    """∂m/∂x averaged over the midpoints of `n_points` equal steps from features off to on; 1 means on itself."""
    alphas = [1.0] if n_points == 1 else [(i + 0.5) / n_points for i in range(n_points)]
    gradient_SD = torch.zeros_like(total_SD)
    for alpha in alphas:
        delta_1SD = (-(1 - alpha) * total_SD)[None].requires_grad_()
        with torch.enable_grad():
            (found_1SD,) = torch.autograd.grad(case.differences(delta_1SD).sum(), delta_1SD)
        gradient_SD += found_1SD[0] / len(alphas)
    return gradient_SD


def _cuts(case: _Case, features: list[int], difference: float) -> dict[int, float]:
    """m minus m with each feature switched off at every token."""
    found: dict[int, float] = {}
    for start in range(0, len(features), CUTS_PER_BATCH):
        batch = features[start : start + CUTS_PER_BATCH]
        own = [case.parts(_alone(case.codes_SF, feature)) for feature in batch]
        with torch.no_grad():
            left_B = case.differences(-torch.stack(own))
        found |= {feature: difference - left for feature, left in zip(batch, left_B.tolist(), strict=True)}
    return found


def _alone(codes_SF: Float[Tensor, "S F"], feature: int) -> Float[Tensor, "S F"]:
    alone_SF = torch.zeros_like(codes_SF)
    alone_SF[:, feature] = codes_SF[:, feature]
    return alone_SF


def _moved(deltas_BSD: Tensor, x_BSD: Tensor) -> Tensor:
    return x_BSD + deltas_BSD.to(x_BSD.dtype)


def _correlation(one: list[float], other: list[float]) -> float:
    """Pearson's; NaN where one of the two does not vary."""
    if np.std(one) == 0 or np.std(other) == 0:
        return float("nan")
    return float(np.corrcoef(one, other)[0, 1])
