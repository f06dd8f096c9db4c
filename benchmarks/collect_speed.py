"""Tokens a second at one hookpoint: ours beside plain hooks on the same network, and beside its matrix products alone.

.venv/bin/python benchmarks/collect_speed.py --contexts 128 1024

All ways see the same tokens in turn, in one process. The ceiling is the time of the linear layers' products up to the
hookpoint (`torch.mm` into a buffer, each shape timed in the same rounds), and the same with attention's two products,
half of each counted since later tokens are masked. Values are compared before anything is timed; exits 1 where the
largest relative difference is above the tolerance.
"""

import json
import sys
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import tyro
from interleaved import Times, interleaved

from bathyscope import runtime
from bathyscope.models.hooks import run
from bathyscope.models.load import load_model
from bathyscope.models.model import Model

if TYPE_CHECKING:
    from torch import Tensor

OURS, HOOK = "ours", "hook with early stop"


@dataclass(frozen=True, kw_only=True)
class Speed:
    """What is read."""

    model: str = "smollm2"
    """Model."""
    layer: int = 15
    """Layer whose output is read."""
    contexts: tuple[int, ...] = (128, 1024)
    """Tokens of a row."""
    tokens: int = 2048
    """Tokens of a batch; as many rows as make them up."""
    rounds: int = 9
    """Batches of each way."""
    threads: int = 2
    """Threads."""
    tolerance: float = 1e-4
    """Largest relative difference of an activation vector that passes."""
    seed: int = 0
    """Seed of the tokens, drawn from the whole vocabulary: what they say does not change the time."""
    out: Path = Path("runs/collect-speed")
    """Folder for results.json."""


class _Stop(Exception):
    """Ends the forward behind the hookpoint."""


def main(speed: Speed) -> int:
    """Compare values, time, print a table for each context."""
    import torch

    runtime.keep_freed_memory()
    torch.set_num_threads(speed.threads)
    model, found, is_right = load_model(speed.model), [], True
    for context in speed.contexts:
        generator = torch.Generator().manual_seed(speed.seed)
        rows = max(1, speed.tokens // context)
        tokens_BS = torch.randint(model.n_vocabulary, (rows, context), generator=generator)
        ways = readers(model, tokens_BS, speed.layer)
        difference = compare(ways)
        is_right &= max(difference.values()) <= speed.tolerance
        products = {**layer_products(model, tokens_BS.numel(), speed.layer), **attention_products(model, rows, context)}
        counts = {name: count for name, (count, _) in products.items()}
        times = interleaved({**ways, **{name: product for name, (_, product) in products.items()}}, rounds=speed.rounds)
        ceiling = {
            "linear layers": _total(times, {name: n for name, n in counts.items() if name.startswith("linear")}),
            "and attention": _total(times, _attention(counts, speed.layer)),
        }
        print(table(tokens_BS.numel(), context, {name: times[name] for name in ways}, ceiling, difference), flush=True)
        seconds = {name: own.seconds for name, own in times.items()}
        found.append({"context": context, "rows": rows, "seconds": seconds, "counts": counts, "difference": difference})
    speed.out.mkdir(parents=True, exist_ok=True)
    document = {"environment": runtime.environment(), "threads": speed.threads, "layer": speed.layer, "found": found}
    (speed.out / "results.json").write_text(json.dumps(document, indent=1) + "\n")
    return 0 if is_right else 1


def readers(model: Model, tokens_BS: "Tensor", layer: int) -> "dict[str, Callable[[], Tensor]]":
    """Ways to the activations [B, S, D]."""
    import torch

    name, network = f"layers.{layer}", model.network
    module: Any = model.body.get_submodule(name)
    seen: dict[str, Any] = {}

    def keep(_module: object, _inputs: object, output: Any) -> None:
        seen["x"] = output[0] if isinstance(output, tuple) else output

    def stop(module: object, inputs: object, output: Any) -> None:
        keep(module, inputs, output)
        raise _Stop

    def hooked(hook: Callable[..., None]) -> "Tensor":
        handle = module.register_forward_hook(hook)
        try:
            with torch.no_grad():
                network(input_ids=tokens_BS, use_cache=False)
        except _Stop:
            pass
        finally:
            handle.remove()
        return seen.pop("x")

    def hidden() -> "Tensor":
        with torch.no_grad():
            out: Any = network(input_ids=tokens_BS, use_cache=False, output_hidden_states=True)
        return out.hidden_states[layer + 1]

    return {
        OURS: lambda: run(model, tokens_BS, name)[name],
        HOOK: lambda: hooked(stop),
        "hook, whole forward": lambda: hooked(keep),
        "output_hidden_states": hidden,
    }


def compare(ways: "dict[str, Callable[[], Tensor]]") -> dict[str, float]:
    """Largest `‖x - y‖ / ‖y‖` over tokens, of each way to the plain hook."""
    reference_BSD = ways[HOOK]()
    lengths_BS = reference_BSD.norm(dim=-1).clamp_min(1e-30)
    return {
        name: float(((way() - reference_BSD).norm(dim=-1) / lengths_BS).max())
        for name, way in ways.items()
        if name != HOOK
    }


def layer_products(model: Model, n_tokens: int, layer: int) -> "dict[str, tuple[int, Callable[[], Tensor]]]":
    """Each shape of linear layer up to the hookpoint: how many there are, and its product into a buffer."""
    import torch

    shapes: Counter[tuple[int, int]] = Counter()
    for number in range(layer + 1):
        for module in model.body.get_submodule(f"layers.{number}").modules():
            if isinstance(module, torch.nn.Linear):
                shapes[module.in_features, module.out_features] += 1
    found: dict[str, tuple[int, Callable[[], Tensor]]] = {}
    for (d_in, d_out), count in shapes.items():
        x_ND, W_OD, y_NO = torch.randn(n_tokens, d_in), torch.randn(d_out, d_in), torch.empty(n_tokens, d_out)
        found[f"linear {d_in} to {d_out}"] = (count, partial(torch.mm, x_ND, W_OD.T, out=y_NO))
    return found


def attention_products(model: Model, rows: int, context: int) -> "dict[str, tuple[int, Callable[[], Tensor]]]":
    """Queries with keys, and weights with values, of one layer."""
    import torch

    config: Any = model.network.config.get_text_config(decoder=True)
    n_heads = config.num_attention_heads
    width = getattr(config, "head_dim", None) or model.d_model // n_heads
    query_HSE, key_HES = torch.randn(rows * n_heads, context, width), torch.randn(rows * n_heads, width, context)
    weight_HSS, out_HSE = torch.empty(rows * n_heads, context, context), torch.empty(rows * n_heads, context, width)
    return {
        "queries with keys": (1, partial(torch.bmm, query_HSE, key_HES, out=weight_HSS)),
        "weights with values": (1, partial(torch.bmm, weight_HSS, query_HSE, out=out_HSE)),
    }


def table(
    n_tokens: int, context: int, times: dict[str, Times], ceiling: dict[str, float], difference: dict[str, float]
) -> str:
    """Markdown."""
    lines = [
        f"## Context {context:,}, {n_tokens:,} tokens a batch",
        "",
        "| way | tokens/s | times the hook | share of the linear layers | with attention | largest difference |",
        "|---|---|---|---|---|---|",
    ]
    for name, own in times.items():
        middle, low, high = own.ratio(times[HOOK])
        shares = " | ".join(f"{seconds / own.median:.0%}" for seconds in ceiling.values())
        told = f"{difference[name]:.1e}" if name in difference else ""
        lines.append(
            f"| {name} | {n_tokens / own.median:,.0f} | {middle:.2f} ({low:.2f}–{high:.2f}) | {shares} | {told} |"
        )
    return "\n".join([*lines, ""])


def _attention(counts: dict[str, int], layer: int) -> dict[str, float]:
    """How often each product counts with attention's halves in every layer."""
    return {name: n if name.startswith("linear") else (layer + 1) / 2 for name, n in counts.items()}


def _total(times: dict[str, Times], counts: "dict[str, int] | dict[str, float]") -> float:
    """Seconds of all products together."""
    return sum(count * times[name].median for name, count in counts.items())


if __name__ == "__main__":
    sys.exit(main(tyro.cli(Speed)))
