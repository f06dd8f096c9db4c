"""The same tensors under other conventions: what a reader may have understood wrongly, one thing at a time.

Each is a name in words and a function that makes the dictionary. Knows nothing of which one is right.
"""

import dataclasses
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, get_args

from torch import Tensor

from bathyscope.dictionaries.dictionary import Dictionary
from bathyscope.dictionaries.formats.parts import Gate, Parts, assemble
from bathyscope.dictionaries.normalise import Normalisation
from bathyscope.dictionaries.rules import Above, Largest, Positive, Pursuit
from bathyscope.dictionaries.weights import Weights, fold

Convention = tuple[str, Callable[[], Dictionary]]

GATES: dict[Gate, str] = {
    "pre": "the rule on pre-activations as they are",
    "length": "the rule on pre-activations times decoder lengths",
    "code": "the rule on folded codes",
}


def other_conventions(dictionary: Dictionary, parts: Parts | None, x_ND: Tensor) -> Iterator[Convention]:
    """Every other reading that the tensors allow, from the unfolded file where it is at hand."""
    if parts is not None:
        yield from _of_parts(parts)
    yield from _of_subtraction(dictionary)
    yield from _of_normalisation(dictionary, x_ND)
    yield from _of_rule(dictionary, x_ND)
    yield from _of_orientation(dictionary)


def _of_parts(parts: Parts) -> Iterator[Convention]:
    for gate, words in GATES.items():
        if gate != parts.gate:
            yield words, partial(_assembled, parts, gate=gate)
    threshold = parts.weights.threshold
    if threshold is not None:
        weights = dataclasses.replace(parts.weights, threshold=threshold.exp())
        yield "the threshold as a logarithm", partial(_assembled, parts, weights=weights)
    if parts.scale_in != 1 or parts.scale_out != 1:
        yield "activations not scaled (already folded in)", partial(_assembled, parts, scale_in=1.0, scale_out=1.0)
    if parts.scale_in != parts.scale_out:
        yield "one factor for what is read and written", partial(_assembled, parts, scale_out=parts.scale_in)


def _assembled(parts: Parts, **changes: Any) -> Dictionary:
    return assemble(dataclasses.replace(parts, **changes))


def _of_subtraction(dictionary: Dictionary) -> Iterator[Convention]:
    if dictionary.is_of_one_place and not isinstance(dictionary.rule, Pursuit):
        words = "b_dec not subtracted" if dictionary.subtract_b_dec else "b_dec subtracted before encoding"
        changed = not dictionary.subtract_b_dec
        yield words, partial(dataclasses.replace, dictionary, subtract_b_dec=changed)


def _of_normalisation(dictionary: Dictionary, x_ND: Tensor) -> Iterator[Convention]:
    if not dictionary.is_of_one_place or isinstance(dictionary.rule, Pursuit):
        return
    for how in (None, *get_args(Normalisation)):
        if how != dictionary.normalise:
            words = f"each token normalised ({how})" if how else "tokens not normalised"
            yield words, partial(dataclasses.replace, dictionary, normalise=how)
    if dictionary.normalise is None:
        width = dictionary.d_model**0.5
        factor = width / max(float(x_ND.norm(dim=1).mean()), 1e-30)
        yield f"activations scaled to a mean length of √D (times {factor:.4g})", partial(_scaled, dictionary, factor)
        yield "activations divided by √D", partial(_scaled, dictionary, 1 / width)


def _of_rule(dictionary: Dictionary, x_ND: Tensor) -> Iterator[Convention]:
    match dictionary.rule:
        case Above() if dictionary.threshold is not None:
            yield "no threshold (every positive feature)", partial(dataclasses.replace, dictionary, rule=Positive())
            factor = dictionary.d_model**0.5 / max(float(x_ND.norm(dim=1).mean()), 1e-30)
            yield f"the threshold times √D/mean‖x‖ ({factor:.4g})", partial(_threshold_times, dictionary, factor)
            yield (
                f"the threshold divided by √D/mean‖x‖ ({factor:.4g})",
                partial(_threshold_times, dictionary, 1 / factor),
            )
        case Largest():
            yield "every positive feature instead of k", partial(dataclasses.replace, dictionary, rule=Positive())
        case _:
            pass


def _of_orientation(dictionary: Dictionary) -> Iterator[Convention]:
    """Shapes alone say nothing where both sizes are equal."""
    weights = dictionary.weights
    for name, words in (("W_enc", "encoder"), ("W_dec", "decoder"), ("W_skip", "skip")):
        matrix = weights.tensors().get(name)
        if matrix is not None and matrix.shape[0] == matrix.shape[1]:
            turned = {name: matrix.T.contiguous()}
            yield f"the {words} transposed", partial(_with_weights, dictionary, weights, turned)


def _with_weights(dictionary: Dictionary, weights: Weights, changes: dict[str, Tensor]) -> Dictionary:
    return dataclasses.replace(dictionary, weights=dataclasses.replace(weights, **changes))


def _scaled(dictionary: Dictionary, factor: float) -> Dictionary:
    """The dictionary taken for one of `factor · x`."""
    weights = dictionary.weights
    if weights.gain is None:
        return dataclasses.replace(dictionary, weights=fold(weights, scale=factor))
    changes = {"W_enc": weights.W_enc * factor, "b_dec": weights.b_dec / factor, "gain": weights.gain / factor}
    return _with_weights(dictionary, weights, changes)


def _threshold_times(dictionary: Dictionary, factor: float) -> Dictionary:
    assert dictionary.threshold is not None
    return _with_weights(dictionary, dictionary.weights, {"threshold": dictionary.threshold * factor})
