"""What a TopK training step costs on a GPU, beside the floor and beside other ways to make it.

    .venv/bin/python benchmarks/gpu_step.py --dtype bfloat16 --out runs/gpu-step.jsonl

For each width and k: the median step over rounds that all ways take in turn, with 5th and 95th percentiles; FLOPs and
bytes that no step can do without, and the time they take at the rates of a large product and a large copy, which are
measured in the same run (each part of a step at the slower of the two). Losses of all ways on the same batch are
printed before anything is timed. Without a GPU nothing is measured: times are predicted from the rates given as
options, and every row says so.
"""

import json
import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
import torch
import tyro
from torch import Tensor

from bathyscope.dictionaries.kernels.encode import encode_largest, encode_largest_reference
from bathyscope.dictionaries.kernels.engine import engine
from bathyscope.dictionaries.kernels.error import reconstruction_error, reconstruction_error_reference

UNCOUNTED = 3
"""Rounds before those that count."""

Loss = Callable[[Tensor, Tensor, Tensor, Tensor, Tensor, int], Tensor]
"""Squared error of a batch: x, W_enc, W_dec, b_enc, b_dec, k."""
Row = dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class Options:
    """What is timed."""

    widths: tuple[int, ...] = (4096, 576)
    """d, widths of the activations."""
    n_features: int = 131_072
    """F, number of features."""
    ks: tuple[int, ...] = (32, 64)
    """Active features per token."""
    tokens: int = 4096
    """N, tokens of a batch."""
    dtype: Literal["bfloat16", "float32"] = "bfloat16"
    """Element type of weights, gradients, Adam's averages and activations."""
    rounds: int = 20
    """Rounds of each way."""
    tiles: bool = False
    """Whether the encoder is also timed with each way of cutting its product, and whether the bytes are the same."""
    matmul_tflops: float = 989.0
    """For a prediction: products, 10¹² FLOP/s (H100 SXM data sheet, dense bfloat16; float32 is 67)."""
    bandwidth: float = 3.35
    """For a prediction: memory, 10¹² bytes a second (H100 SXM data sheet)."""
    out: Path | None = None
    """File that gets a line of JSON for each row."""


class Rates(NamedTuple):
    """What the machine can do."""

    flops: float
    """Per second, in a product."""
    bytes: float
    """Per second, read and written."""


class Part(NamedTuple):
    """Work of one part of a step."""

    name: str
    flops: float
    bytes: float


@dataclass(frozen=True, kw_only=True)
class Sizes:
    """One case."""

    n: int
    """N, tokens."""
    d: int
    """D, width."""
    f: int
    """F, features."""
    k: int
    """Active features per token."""
    dtype: str
    """Element type."""

    def floor(self) -> list[Part]:
        """A sparse step in which every array is moved once: no implementation can go below it."""
        pairs, tokens, rows = self.n * self.k, self._bytes(self.n), self._bytes(self.f)
        used_rows = min(rows, self._bytes(pairs))
        return [
            Part("encoder product", 2.0 * self.n * self.d * self.f, tokens + rows),
            Part("decode, residual", 2.0 * pairs * self.d, used_rows + 2 * tokens),
            Part("gradient of codes", 2.0 * pairs * self.d, used_rows + tokens),
            Part("gradient of W_dec", 2.0 * pairs * self.d, tokens + rows),
            Part("gradients of W_enc and biases", 2.0 * pairs * self.d, tokens + 2 * rows),
            Part("Adam", 24.0 * self.f * self.d, 2 * 7 * rows),
        ]

    def ours(self) -> list[Part]:
        """The same with what the kernels move beyond it: candidates of tiles, and a row or token for every pair."""
        from_pairs, candidates = self._bytes(self.n * self.k), 2 * 8.0 * self.n * (self.f / 128) * 4
        more = [candidates, *[from_pairs] * 4, 0.0]
        return [part._replace(bytes=part.bytes + extra) for part, extra in zip(self.floor(), more, strict=True)]

    def dense(self) -> list[Part]:
        """Dense codes: five products of the encoder's size, and ten passes over [N, F] around them."""
        codes = self.n * self.f * self._bytes(1) / self.d
        products = Part("five products", 5 * 2.0 * self.n * self.d * self.f, 10 * codes + 5 * self._bytes(self.f))
        return [products, self.floor()[-1]]

    def _bytes(self, n_rows: int) -> float:
        """Of rows of width d."""
        return float(n_rows * self.d * (2 if self.dtype == "bfloat16" else 4))


def main(options: Options) -> int:
    """Measure or predict, and print a table."""
    is_measured = torch.cuda.is_available()
    if not is_measured:
        print("no GPU here: nothing is measured, times are PREDICTED from the rates given as options")
    rates = measured_rates(options) if is_measured else Rates(options.matmul_tflops * 1e12, options.bandwidth * 1e12)
    print(f"{'measured' if is_measured else 'given'}: {rates.flops / 1e12:.0f} TFLOP/s, {rates.bytes / 1e12:.2f} TB/s")
    for d in options.widths:
        for k in options.ks:
            sizes = Sizes(n=options.tokens, d=d, f=options.n_features, k=k, dtype=options.dtype)
            for row in measured(sizes, rates, options) if is_measured else predicted(sizes, rates):
                show(row, options.out)
    return 0


def show(row: Row, out: Path | None) -> None:
    """Print a row, and add it to the file."""
    print("  ".join(f"{name} {value}" for name, value in row.items()), flush=True)
    if out:
        out.parent.mkdir(parents=True, exist_ok=True)
        with out.open("a") as file:
            file.write(json.dumps(row) + "\n")


def seconds_of(parts: list[Part], rates: Rates) -> float:
    """Each part at the slower of the two rates, one after the other."""
    return sum(max(part.flops / rates.flops, part.bytes / rates.bytes) for part in parts)


def case(sizes: Sizes, way: str, parts: list[Part]) -> Row:
    """What a row begins with."""
    work = {"TFLOP": sum(part.flops for part in parts) / 1e12, "GB": sum(part.bytes for part in parts) / 1e9}
    where = {"d": sizes.d, "F": sizes.f, "k": sizes.k, "N": sizes.n, "dtype": sizes.dtype, "way": way}
    return where | {name: round(value, 2) for name, value in work.items()}


def predicted(sizes: Sizes, rates: Rates) -> list[Row]:
    """Rows from first principles, one for each part of our step as well."""
    floor = seconds_of(sizes.floor(), rates)
    ways = {"floor": sizes.floor(), "bathyscope": sizes.ours(), "dense torch": sizes.dense()}
    ways |= {f"bathyscope: {part.name}": [part] for part in sizes.ours()}
    rows = list[Row]()
    for way, parts in ways.items():
        seconds = seconds_of(parts, rates)
        more = {} if ":" in way else {"share of floor": round(floor / seconds, 3)}
        rows.append(case(sizes, way, parts) | {"ms, PREDICTED": round(1e3 * seconds, 3)} | more)
    return rows


def measured_rates(options: Options) -> Rates:
    """Of a large product and of a large copy."""
    dtype = getattr(torch, options.dtype)
    a, b = (torch.randn(8192, 8192, device="cuda", dtype=dtype) for _ in range(2))
    source = torch.zeros(1 << 30, device="cuda", dtype=torch.uint8)
    target = torch.empty_like(source)
    seconds = timed({"product": lambda: a @ b, "copy": lambda: target.copy_(source)}, options.rounds)
    product, copy = (float(np.median(seconds[name])) for name in ("product", "copy"))
    return Rates(2 * 8192**3 / product, 2 * source.numel() / copy)


def timed(ways: dict[str, Callable[[], object]], rounds: int) -> dict[str, list[float]]:
    """Seconds of each way in each round, all ways in turn."""
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for number in range(rounds + UNCOUNTED):
        for name, way in ways.items():
            torch.cuda.synchronize()
            start = time.perf_counter()
            way()
            torch.cuda.synchronize()
            if number >= UNCOUNTED:
                seconds[name].append(time.perf_counter() - start)
    return seconds


def measured(sizes: Sizes, rates: Rates, options: Options) -> list[Row]:
    """Rows of all ways that are installed and fit; all learn the same weights with the same optimiser."""
    x_ND, parameters = operands(sizes)
    adam = torch.optim.Adam(parameters, lr=1e-5, fused=True)
    ways, peaks, losses = dict[str, Callable[[], object]](), dict[str, float](), dict[str, float]()
    for name, loss_of in losses_of(x_ND).items():
        torch.cuda.reset_peak_memory_stats()
        step_of = partial(step, loss_of, x_ND, parameters, adam, sizes.k)
        try:
            losses[name] = float(loss_of(x_ND, *parameters, sizes.k).detach())
            step_of()
        except torch.OutOfMemoryError:
            print(f"{name}: does not fit into this GPU")
            continue
        ways[name], peaks[name] = step_of, torch.cuda.max_memory_allocated() / 1e9
    print(
        "squared errors, each way one step later: " + ", ".join(f"{name} {loss:.6g}" for name, loss in losses.items())
    )
    floor, rows = seconds_of(sizes.floor(), rates), list[Row]()
    for name, of in timed(ways, options.rounds).items():
        low, middle, high = np.quantile(of, (0.05, 0.5, 0.95))
        figures = {"ms": round(1e3 * middle, 3), "5-95 %": f"{1e3 * low:.3f} to {1e3 * high:.3f}"}
        rows.append(
            case(sizes, name, sizes.floor())
            | figures
            | {"share of floor": round(floor / middle, 3), "peak GB": round(peaks[name], 1)}
        )
    return rows + (tile_rows(sizes, x_ND, parameters, options) if options.tiles else [])


def operands(sizes: Sizes) -> tuple[Tensor, list[torch.nn.Parameter]]:
    """A batch and start weights, random."""
    generator, dtype = torch.Generator("cuda").manual_seed(0), getattr(torch, sizes.dtype)
    x_ND = torch.randn(sizes.n, sizes.d, device="cuda", generator=generator).to(dtype)
    W_FD = torch.randn(sizes.f, sizes.d, device="cuda", generator=generator) / math.sqrt(sizes.d)
    start = (W_FD, W_FD, torch.zeros(sizes.f, device="cuda"), torch.zeros(sizes.d, device="cuda"))
    return x_ND, [torch.nn.Parameter(tensor.to(dtype, copy=True)) for tensor in start]


def step(loss_of: Loss, x_ND: Tensor, parameters: list[torch.nn.Parameter], adam: torch.optim.Adam, k: int) -> None:
    """Loss, gradients, update."""
    loss_of(x_ND, *parameters, k).backward()
    adam.step()
    adam.zero_grad(set_to_none=True)


def losses_of(x_ND: Tensor) -> dict[str, Loss]:
    """The ways to make a step that can be had here."""
    ways: dict[str, Loss] = {"dense torch": dense, "plain sparse torch": plain}
    if engine(x_ND) == "triton":
        ways["bathyscope"] = ours
    if find_spec("sparsify") is not None:
        ways["sparsify"] = sparsify
    return ways


def ours(x_ND: Tensor, W_enc_FD: Tensor, W_dec_FD: Tensor, b_enc_F: Tensor, b_dec_D: Tensor, k: int) -> Tensor:
    """The kernels of the package."""
    pairs = encode_largest(x_ND, b_dec_D, W_enc_FD, b_enc_F, k)
    return reconstruction_error(x_ND, *pairs, W_dec_FD, b_dec_D).squared


def plain(x_ND: Tensor, W_enc_FD: Tensor, W_dec_FD: Tensor, b_enc_F: Tensor, b_dec_D: Tensor, k: int) -> Tensor:
    """The references: dense pre-activations and their gradient, decoding by embedding bag."""
    pairs = encode_largest_reference(x_ND, b_dec_D, W_enc_FD, b_enc_F, k)
    return reconstruction_error_reference(x_ND, *pairs, W_dec_FD, b_dec_D).squared


def dense(x_ND: Tensor, W_enc_FD: Tensor, W_dec_FD: Tensor, b_enc_F: Tensor, b_dec_D: Tensor, k: int) -> Tensor:
    """Codes as a dense matrix."""
    top = ((x_ND - b_dec_D) @ W_enc_FD.T + b_enc_F).relu().topk(k, dim=1, sorted=False)
    codes_NF = x_ND.new_zeros(len(x_ND), len(b_enc_F)).scatter(1, top.indices, top.values)
    return (x_ND - codes_NF @ W_dec_FD - b_dec_D).square().sum()


def sparsify(x_ND: Tensor, W_enc_FD: Tensor, W_dec_FD: Tensor, b_enc_F: Tensor, b_dec_D: Tensor, k: int) -> Tensor:
    """sparsify's own encoder and Triton decoder, as its SparseCoder calls them."""
    from sparsify.fused_encoder import fused_encoder
    from sparsify.utils import decoder_impl

    values_NK, indices_NK, _ = fused_encoder(x_ND - b_dec_D, W_enc_FD, b_enc_F, k, "topk")
    return (x_ND - decoder_impl(indices_NK, values_NK, W_dec_FD.mT) - b_dec_D).square().sum()


def tile_rows(sizes: Sizes, x_ND: Tensor, parameters: list[torch.nn.Parameter], options: Options) -> list[Row]:
    """The encoder alone with each way of cutting its product, and whether values and features stay the same."""
    from bathyscope.dictionaries.kernels.gpu import product

    W_enc_FD, _, b_enc_F, b_dec_D = parameters
    all_tiles, rows, found = dict(product.TILES), list[Row](), None
    size = x_ND.element_size()
    for tile in all_tiles[size]:
        product.TILES[size] = (tile,)
        with torch.no_grad():
            pairs = encode_largest(x_ND, b_dec_D, W_enc_FD, b_enc_F, sizes.k)
            encode = partial(encode_largest, x_ND, b_dec_D, W_enc_FD, b_enc_F, sizes.k)
            milliseconds = 1e3 * float(np.median(timed({"encode": encode}, options.rounds)["encode"]))
        found = found or pairs
        is_same = all(map(torch.equal, pairs, found))
        row = case(sizes, f"bathyscope, encoder, {tile}", sizes.floor()[:1])
        rows.append(row | {"ms": round(milliseconds, 3), "same bytes as the first": is_same})
    product.TILES.update(all_tiles)
    return rows


if __name__ == "__main__":
    raise SystemExit(main(tyro.cli(Options)))
