"""Truth by enumeration: every input that a small law can give, asked once.

Inputs are numbered in lexicographic order of their options, the last position fastest. All that differ in the last free
position only share the forward of what stands before it. The sum is exact but for one thing: where two logits are
nearly equal, another order of additions could make the other one larger; bounds count such inputs for neither or both.
"""

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import torch
from jaxtyping import Float, Int
from safetensors.torch import load_file, save_file
from torch import Tensor

from bathyscope import artifacts, progress
from bathyscope.artifacts import Draft, Recipe, check_file, read_manifest
from bathyscope.errors import ConfigError
from bathyscope.models.load import load_model
from bathyscope.models.model import Model
from bathyscope.risk.inputs.law import free_choices, log_prob
from bathyscope.risk.inputs.product import ProductTokens
from bathyscope.risk.worlds.truth import KIND, Truth, read_truth, save_truth

NEARLY_EQUAL = 1e-4
"""Logits closer than this may change places with the order of additions (float32 logits of these networks: 1e-5)."""
BATCH = 1 << 13
"""Inputs at a time, about."""
MOST = 1 << 26
"""Inputs beyond which counting is the better way."""
MARGINS = "margins.safetensors"


def n_inputs(law: ProductTokens) -> int:
    """How many inputs the law can give."""
    return math.prod(len(ids_K) for ids_K in law.support)


def choices_of(law: ProductTokens, numbers_N: Int[Tensor, " N"]) -> Int[Tensor, "N C"]:
    """Options of the inputs with these numbers."""
    return torch.stack(torch.unravel_index(numbers_N, [len(ids_K) for ids_K in law.support]), dim=1)


def numbers_of(law: ProductTokens, choices_NC: Int[Tensor, "N C"]) -> Int[Tensor, " N"]:
    """Numbers of the inputs with these options."""
    numbers_N = torch.zeros(len(choices_NC), dtype=torch.int64)
    for ids_K, chosen_N in zip(law.support, choices_NC.unbind(1), strict=True):
        numbers_N = numbers_N * len(ids_K) + chosen_N
    return numbers_N


def enumerate_tokens(model: Path, law: ProductTokens, *, out: Path) -> Truth:
    """The truth in folder `out` (kind `truth`), made there first if it is not; resumes after its last whole batch.

    `model` is a model folder. Raises ConfigError for a law with more than 2²⁶ inputs, none to
    choose, or a choice at its first position.
    """
    recipe = Recipe(kind=KIND, config={"law": law.sha256}, parents={"model": model})
    if not artifacts.is_finished(out, recipe):
        _require_enumerable(law)
        with artifacts.draft(out, recipe) as work:
            save_truth(_enumerate(load_model(model), law, work), law, work.path)
    return read_truth(out)[0]


def tabulate_margins(
    model: Path, law: ProductTokens, targets: tuple[int, ...], *, out: Path
) -> Float[Tensor, "inputs targets"]:
    """For every input its margin to each target, from folder `out` (kind `margins`), made there first if it is not.

    margin = logit of the target − largest other logit, at least 0 for hits. float32. A row's number is `numbers_of`.
    """
    recipe = Recipe(kind="margins", config={"law": law.sha256, "targets": targets}, parents={"model": model})
    if not artifacts.is_finished(out, recipe):
        _require_enumerable(law)
        with artifacts.draft(out, recipe) as work:
            network, wanted_T = load_model(model), torch.tensor(targets)
            parts = [_margins(part, wanted_T) for part in _parts(network, law, first=0)]
            save_file({"margins": torch.cat(parts)}, work.path / MARGINS)
    return load_file(check_file(out, read_manifest(out, kind="margins"), MARGINS))["margins"]


class _Part(NamedTuple):
    """Consecutive inputs."""

    first: int
    """Number of the first one."""
    logits_NV: Float[Tensor, "N V"]
    """Logits of the token after each."""


def _enumerate(model: Model, law: ProductTokens, work: Draft) -> Truth:
    """Sums of probabilities over all inputs, those of the draft's last checkpoint included."""
    state = work.state() or {"done": 0, "sums": [[0.0] * model.n_vocabulary] * 3}
    sums_3V = torch.tensor(state["sums"], dtype=torch.float64)
    p_V, sure_V, second_V = sums_3V  # of hits, of hits by a clear margin, of inputs that miss by next to nothing
    for part in _parts(model, law, first=state["done"]):
        numbers_N = torch.arange(part.first, part.first + len(part.logits_NV))
        p_N = log_prob(law, choices_of(law, numbers_N)).exp()
        best_N2, tokens_N2 = part.logits_NV.topk(2)
        is_close_N = best_N2[:, 0] - best_N2[:, 1] < NEARLY_EQUAL
        p_V.index_add_(0, tokens_N2[:, 0], p_N)
        sure_V.index_add_(0, tokens_N2[:, 0], p_N * ~is_close_N)
        second_V.index_add_(0, tokens_N2[:, 1], p_N * is_close_N)
        done = part.first + len(p_N)
        work.checkpoint({"done": done, "sums": sums_3V.tolist()})
    return Truth(p_V=p_V, low_V=sure_V, high_V=p_V + second_V, n_inputs=n_inputs(law))


def _margins(part: _Part, targets_T: Int[Tensor, " T"]) -> Float[Tensor, "N T"]:
    best_N2, tokens_N2 = part.logits_NV.topk(2)
    is_best_NT = tokens_N2[:, :1] == targets_T
    return part.logits_NV[:, targets_T] - torch.where(is_best_NT, best_N2[:, 1:], best_N2[:, :1])


def _parts(model: Model, law: ProductTokens, *, first: int) -> Iterator[_Part]:
    """Logits of all inputs from number `first` on, which begins a part."""
    cut = int(free_choices(law)[-1])
    head, tail = _positions(law, 0, cut), _positions(law, cut, law.n_positions)
    tails_KS = _all_tokens(tail, 0, n_inputs(tail))
    n_heads, step = n_inputs(head), max(1, BATCH // len(tails_KS))
    for start in range(first // len(tails_KS), n_heads, step):
        heads_MS = _all_tokens(head, start, min(start + step, n_heads))
        yield _Part(start * len(tails_KS), _logits(model, heads_MS, tails_KS))
        done = (start + len(heads_MS)) * len(tails_KS)
        progress.report("enumerate", done, n_heads * len(tails_KS), "inputs")


@torch.inference_mode()
def _logits(model: Model, heads_MS: Int[Tensor, "M S"], tails_KS: Int[Tensor, "K T"]) -> Float[Tensor, "N V"]:
    """Logits after every head followed by every tail, the tail faster: each head is read once."""
    n_heads, n_tails = len(heads_MS), len(tails_KS)
    cache: Any = model.network(input_ids=heads_MS, use_cache=True, logits_to_keep=1).past_key_values
    cache.batch_repeat_interleave(n_tails)
    tails_NS = tails_KS.repeat(n_heads, 1)
    return model.network(input_ids=tails_NS, past_key_values=cache, use_cache=True, logits_to_keep=1).logits[:, -1]


def _positions(law: ProductTokens, first: int, last: int) -> ProductTokens:
    return ProductTokens(support=law.support[first:last], log_p=law.log_p[first:last], name=law.name)


def _all_tokens(law: ProductTokens, first: int, last: int) -> Int[Tensor, "N S"]:
    return law.tokens(choices_of(law, torch.arange(first, last)))


def _require_enumerable(law: ProductTokens) -> None:
    if n_inputs(law) > MOST:
        raise ConfigError(f"{law.name} can give {n_inputs(law)} inputs, too many to ask each; count samples instead")
    if not len(free_choices(law)) or len(law.support[0]) > 1:
        raise ConfigError(f"{law.name}: expected a law whose first token is fixed and some later one is not")
