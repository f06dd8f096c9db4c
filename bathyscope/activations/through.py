"""`Through`: batches of whole sequences, and what the model loses when an activation in them is replaced.

KL(clean ‖ spliced) = Σ_v p_v (log p_v - log q_v),  p the model's own prediction, q the one with x̂ in place of x
CE = -log q(next token);  both as means over the predictions of real next tokens, in nats

An end-to-end dictionary takes its batches from here and calls this for its loss: the model runs once to the end for the
activations, and once more, with gradients, from the activations of the last batch. Knows nothing of dictionaries.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from bathyscope.activations.collect import CollectSettings
from bathyscope.activations.masks import Mask
from bathyscope.activations.packing import Packing, TokenBatch, TokenStream, check_packing
from bathyscope.activations.split import held_out
from bathyscope.activations.text import Text, open_text
from bathyscope.config import to_json
from bathyscope.errors import ConfigError
from bathyscope.models.hookpoints import resolve
from bathyscope.models.hooks import record, replace
from bathyscope.models.model import Model
from bathyscope.models.packing import packed_inputs
from bathyscope.models.prompts import special_tokens

SMALL = CollectSettings(packing=Packing(batch_tokens=512))
"""Few tokens at once: a batch holds several [tokens, vocabulary] matrices."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Last:
    """The batch that was handed out last."""

    inputs: Mapping[str, Any]
    kept_BS: Bool[Tensor, "B S"]
    """Tokens whose activation was handed out."""
    scored_BS: Bool[Tensor, "B S"]
    """Tokens that predict a real next token; never the last place of a row."""
    next_M: Int[Tensor, " M"]
    """The tokens that are predicted there."""
    clean_MV: Float[Tensor, "M V"] | None
    """The model's own logits there, for KL."""


class Through:
    """An iterable of activations [N, D] of whole sequences, and the callable that asks the model about them.

    The same order every time. Documents that `collect` with the same text and settings holds out are neither handed
    out nor scored; special tokens and attention sinks keep their own activations. `train` needs its `n_tokens` set.
    """

    def __init__(
        self,
        model: Model,
        text: Text,
        *,
        hookpoint: str,
        loss: Literal["kl", "ce"] = "kl",
        n_tokens: int = 200_000,
        settings: CollectSettings = SMALL,
    ) -> None:
        """Raises ConfigError for unreadable text or settings that do not fit, ModelError for an unknown hookpoint."""
        names = resolve(model, hookpoint)
        if len(names) != 1:
            raise ConfigError(f"{hookpoint!r} means {len(names)} hookpoints; name one")
        if n_tokens < 1:
            raise ConfigError(f"n_tokens is {n_tokens}, expected at least 1")
        check_packing(model, settings.packing)
        self._model, self._text, self._settings = model, open_text(text), settings
        self._n_tokens, self._kind = n_tokens, loss
        self._last: _Last | None = None
        self.hookpoint = names[0]
        self.model_identity = model.identity
        self.materials = (*model.materials, *self._text.records())

    def record(self) -> dict[str, Any]:
        """What decides the loss, for recipes."""
        return {
            "loss": self._kind,
            "hookpoint": self.hookpoint,
            "model": dict(self.model_identity),
            "text": to_json(self._text.describe()),
            "n_tokens": self._n_tokens,
            "settings": to_json(self._settings),
        }

    def __iter__(self) -> Iterator[Float[Tensor, "N D"]]:
        """Activations of the kept tokens of each batch in stream order, as the model makes them, in float32."""
        settings = self._settings
        special = special_tokens(self._model) if settings.mask_special else ()
        mask = Mask(special, sink_multiple=settings.sink_multiple, state={})
        stream = TokenStream(
            self._model, self._text, packing=settings.packing, seed=settings.seed, n_tokens=self._n_tokens
        )
        for batch in stream:
            last, x_ND = self._read(batch, mask)
            if len(x_ND):
                self._last = last
                yield x_ND

    def __call__(self, guess_ND: Float[Tensor, "N D"], x_ND: Float[Tensor, "N D"]) -> Float[Tensor, ""]:
        """The loss with `guess_ND` in place of the last batch's first N activations; gradients flow into the guess.

        `x_ND`, what is replaced, is only compared in number.
        """
        last = self._last
        if last is None or not len(guess_ND) == len(x_ND) <= int(last.kept_BS.sum()):
            n_last = 0 if last is None else int(last.kept_BS.sum())
            raise ConfigError(f"{len(guess_ND)} activations were given, the last batch had {n_last}: take it from here")
        with replace(self._model, {self.hookpoint: _Splice(guess_ND, last.kept_BS)}):
            logits_MV = self._model.network(**last.inputs).logits[last.scored_BS].float()
        if last.clean_MV is None:
            return torch.nn.functional.cross_entropy(logits_MV, last.next_M)
        return kl(last.clean_MV.float(), logits_MV)

    def _read(self, batch: TokenBatch, mask: Mask) -> tuple[_Last, Tensor]:
        """One forward without gradients: to the end where the model's own predictions are needed."""
        model, real_BS = self._model, batch.real_BS
        inputs = packed_inputs(batch.tokens_BS.to(model.device), batch.segments_BS.to(model.device))
        with torch.no_grad(), record(model, self.hookpoint, stop=self._kind == "ce") as recorded:
            output = model.network(**inputs)
        x_BSD = recorded[self.hookpoint].float()
        x_ND = x_BSD[real_BS.to(x_BSD.device)]
        learns_N = ~held_out(
            batch.documents_N.astype(np.int64), share=self._settings.held_out, seed=self._settings.seed
        )
        kept_N = mask.kept(batch.tokens_N, {self.hookpoint: x_ND}) & learns_N
        kept_BS, learns_BS = (_placed(real_BS, claim_N) for claim_N in (kept_N, learns_N))
        scored_BS = torch.zeros_like(real_BS)
        scored_BS[:, :-1] = learns_BS[:, :-1] & (batch.segments_BS[:, :-1] == batch.segments_BS[:, 1:])
        next_M = batch.tokens_BS.roll(-1, dims=1)[scored_BS].to(model.device)
        scored_BS = scored_BS.to(model.device)
        last = _Last(
            inputs=inputs,
            kept_BS=kept_BS.to(model.device),
            scored_BS=scored_BS,
            next_M=next_M,
            clean_MV=output.logits[scored_BS] if self._kind == "kl" else None,
        )
        return last, x_BSD[last.kept_BS]


class _Splice:
    """Puts the guess in the place of the first kept tokens, and leaves the rest."""

    def __init__(self, guess_ND: Tensor, kept_BS: Tensor) -> None:
        places_M = kept_BS.flatten().nonzero()[:, 0][: len(guess_ND)]
        self._guess_ND, self._places_M = guess_ND, places_M

    def __call__(self, x_BSD: Tensor) -> Tensor:
        flat_ND = x_BSD.reshape(-1, x_BSD.shape[-1])
        spliced_ND = flat_ND.index_copy(0, self._places_M, self._guess_ND.to(x_BSD))
        return spliced_ND.reshape(x_BSD.shape)


def kl(clean_MV: Float[Tensor, "M V"], spliced_MV: Float[Tensor, "M V"]) -> Float[Tensor, ""]:
    """Mean KL(clean ‖ spliced) of the predictions behind two sets of logits; differentiable in both."""
    clean_MV, spliced_MV = clean_MV.log_softmax(-1), spliced_MV.log_softmax(-1)
    return (clean_MV.exp() * (clean_MV - spliced_MV)).sum(-1).mean()


def _placed(real_BS: Bool[Tensor, "B S"], claim_N: Bool[np.ndarray, " N"]) -> Bool[Tensor, "B S"]:
    """A claim about the real tokens, in their places; False at padding."""
    claim_BS = torch.zeros_like(real_BS)
    claim_BS[real_BS] = torch.from_numpy(claim_N)
    return claim_BS
