"""The self-check: what is stated and holds is green, a misread file is red and its right reading is named."""

import dataclasses
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from dictionaries.formats import foreign_files as files
from dictionaries.formats.foreign_files import draw
from torch import Tensor

from bathyscope.dictionaries.dictionary import Dictionary
from bathyscope.dictionaries.formats.detect import open_place, read_parts
from bathyscope.dictionaries.formats.parts import Parts, assemble
from bathyscope.dictionaries.formats.self_check import check_dictionary
from bathyscope.dictionaries.place import find
from bathyscope.dictionaries.rules import Above, Largest, Positive
from bathyscope.dictionaries.weights import Weights
from bathyscope.errors import ConfigError

D, F, K = 32, 32, 3


def planted(*, offset: float = 3.0) -> tuple[Tensor, Tensor, Tensor]:
    """Activations made of K of F orthogonal directions above an offset, the directions, and the offset."""
    generator = torch.Generator().manual_seed(0)
    rows_FD = torch.linalg.qr(draw(D, F, seed=21)).Q
    chosen_NK = torch.rand(1500, F, generator=generator).argsort(1)[:, :K]
    codes_NF = torch.zeros(1500, F).scatter(1, chosen_NK, 2 + torch.rand(1500, K, generator=generator))
    b_dec_D = offset * torch.nn.functional.normalize(draw(1, D, seed=22), dim=1)[0]
    noise_ND = 0.1 * torch.randn(1500, D, generator=generator)
    return codes_NF @ rows_FD + b_dec_D + noise_ND, rows_FD, b_dec_D


def true_dictionary(rows_FD: Tensor, b_dec_D: Tensor, **changes: Any) -> Dictionary:
    """Correlates with the rows and keeps what is above 1.2: right up to the noise."""
    threshold = torch.full((F,), 1.2)
    weights = Weights(
        W_enc=rows_FD.T.contiguous(), b_enc=torch.zeros(F), W_dec=rows_FD, b_dec=b_dec_D, threshold=threshold
    )
    return dataclasses.replace(Dictionary(weights=weights, rule=Above(), subtract_b_dec=True), **changes)


def in_batches(x_ND: Tensor) -> Iterator[Tensor]:
    yield from x_ND.split(400)


def stated_of(dictionary: Dictionary, x_ND: Tensor) -> dict[str, float]:
    seen = check_dictionary(dictionary, [x_ND]).figures
    return {"l0": seen.l0, "variance_explained": seen.variance_explained}


def test_figures_are_those_of_a_hand_computation() -> None:
    x_ND, rows, b_dec = planted()
    made = true_dictionary(rows, b_dec)
    found = check_dictionary(made, in_batches(x_ND), n_rows=1000).figures
    x, dense = x_ND[:1000], made.encode(x_ND[:1000]).dense()
    error = (x - (dense @ rows + b_dec)).square().sum()
    assert found.n_rows == 1000
    assert found.l0 == pytest.approx(float((dense != 0).sum(1).float().mean()))
    assert found.dead_share == float((dense.sum(0) == 0).float().mean())
    assert found.variance_explained == pytest.approx(1 - float(error / (x - x.mean(0)).square().sum()), rel=1e-5)


@pytest.mark.parametrize(("factor", "verdict"), [(1.0, "green"), (1.08, "green"), (1.3, "amber"), (2.2, "red")])
def test_the_verdict_is_the_relative_difference_from_what_is_stated(factor: float, verdict: str) -> None:
    x_ND, rows, b_dec = planted()
    made = true_dictionary(rows, b_dec)
    stated = {"l0": stated_of(made, x_ND)["l0"] * factor}
    assert check_dictionary(made, in_batches(x_ND), stated=stated).verdict == verdict


def test_without_stated_figures_nothing_is_green() -> None:
    x_ND, rows, b_dec = planted()
    made = true_dictionary(rows, b_dec)
    assert check_dictionary(made, [x_ND]).verdict == "amber"
    upside_down = dataclasses.replace(made, weights=dataclasses.replace(made.weights, W_dec=-rows))
    found = check_dictionary(upside_down, [x_ND])
    assert found.verdict == "red" and found.fits is None and "none of" in found.sentence


def test_figures_of_the_source_or_of_the_training_are_what_is_compared() -> None:
    x_ND, rows, b_dec = planted()
    made = true_dictionary(rows, b_dec)
    stated = stated_of(made, x_ND)
    assert check_dictionary(dataclasses.replace(made, training={"survey": stated}), [x_ND]).verdict == "green"
    wrong = {"format": "saelens", "expected": {"l0": 500.0}}
    assert check_dictionary(dataclasses.replace(made, source=wrong), [x_ND]).stated == {"l0": 500.0}


WRONG: dict[str, tuple[dict[str, Any], str]] = {
    "subtraction left out": ({"subtract_b_dec": False}, "b_dec subtracted before encoding"),
    "each token normalised": ({"normalise": "layer-norm"}, "tokens not normalised"),
}


@pytest.mark.parametrize("name", WRONG)
def test_the_convention_that_fits_is_named_and_nothing_is_switched(name: str) -> None:
    x_ND, rows, b_dec = planted(offset=8.0)
    right = true_dictionary(rows, b_dec)
    changes, words = WRONG[name]
    misread = dataclasses.replace(right, **changes)
    before = misread.digest
    found = check_dictionary(misread, in_batches(x_ND), stated=stated_of(right, x_ND))
    assert found.verdict == "red" and found.fits == words
    assert found.sentence.endswith(f"it fits with {words}")
    assert misread.digest == before


def test_top_k_read_as_relu_is_seen_in_its_l0(tmp_path: Path) -> None:
    """A dictionary of OpenAI's was once loaded so: L0 600 instead of 80."""
    x_ND, rows, b_dec = planted()
    made = true_dictionary(rows, b_dec, rule=Largest(k=K))
    as_relu = dataclasses.replace(made, rule=Positive())
    assert check_dictionary(as_relu, [x_ND], stated={"l0": float(K)}).verdict == "red"
    assert check_dictionary(made, [x_ND], stated={"l0": float(K)}).verdict == "green"


def test_a_data_set_scale_that_was_not_applied_is_named() -> None:
    """Trained on activations of mean length √D, read as if of the model's own, 40 times as long."""
    x_ND, rows, b_dec = planted()
    factor = D**0.5 / float(x_ND.norm(dim=1).mean())
    weights = true_dictionary(rows, b_dec).weights
    changes = {"b_dec": factor * b_dec, "threshold": torch.full((F,), 1.2 * factor)}
    misread = true_dictionary(rows, b_dec, weights=dataclasses.replace(weights, **changes))
    stated = stated_of(misread, factor * x_ND)
    found = check_dictionary(misread, [40 * factor * x_ND], stated=stated)
    assert found.verdict == "red" and found.fits is not None
    assert found.fits.startswith("activations scaled to a mean length of √D (times 0.025)")


def test_the_gate_of_a_llama_dictionary_is_found_from_the_unfolded_file(tmp_path: Path) -> None:
    files.llama_scope_2024(tmp_path / "a", norms=(9.0, 0.5), jump_relu_threshold=2.0)
    parts = read_parts(find(tmp_path / "a"))
    assert parts is not None
    right, x_ND = assemble(parts), 3 * draw(600, 6, seed=11)
    misread: Parts = dataclasses.replace(parts, gate="pre")
    stated = {"l0": check_dictionary(right, [x_ND]).figures.l0}
    found = check_dictionary(assemble(misread), [x_ND], stated=stated, parts=misread)
    assert found.verdict == "red"
    assert "the rule on folded codes" in [trial.convention for trial in found.trials if trial.gap < 1e-6]


def test_a_transposed_skip_is_found(tmp_path: Path) -> None:
    foreign = files.saelens_transcoder(tmp_path / "a", skip=True, jump=True)
    right = open_place(foreign.place)[0]
    assert right.weights.W_skip is not None
    x_ND = draw(600, 6, seed=11)
    y_ND = right.reconstruct(x_ND) + 0.3 * draw(600, 6, seed=12)
    weights = dataclasses.replace(right.weights, W_skip=right.weights.W_skip.T.contiguous())
    misread = dataclasses.replace(right, weights=weights)
    stated = {"variance_explained": check_dictionary(right, [(x_ND, y_ND)]).figures.variance_explained}
    found = check_dictionary(misread, [(x_ND, y_ND)], stated=stated)
    assert found.verdict == "red" and found.fits == "the skip transposed"


def test_too_few_rows_and_another_width_are_refused() -> None:
    x_ND, rows, b_dec = planted()
    with pytest.raises(ConfigError, match="was given 0 activations"):
        check_dictionary(true_dictionary(rows, b_dec), [])
    with pytest.raises(ConfigError, match=r"this dictionary takes \[N, 32\]"):
        check_dictionary(true_dictionary(rows, b_dec), [(x_ND[:, :4], x_ND)])
