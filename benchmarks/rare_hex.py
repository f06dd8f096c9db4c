"""Every estimator of rare outputs on SmolLM2 behind hexadecimal digits: how near, how fast, how much memory.

.venv/bin/python benchmarks/rare_hex.py --out runs/hex

Truth is counted first, over as many inputs as a processor bears; the event is the rarest next token whose count is
known within a factor of 2.5. Each estimator then runs in a process of its own. A second start goes on where the first
was stopped.
"""

import json
import math
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import tyro
from peak import forget_peak, peak_bytes

from bathyscope import progress
from bathyscope.files import write_atomic
from bathyscope.models.load import load_model
from bathyscope.models.model import Model
from bathyscope.risk.bench.dictionaries import law_dictionaries
from bathyscope.risk.bench.methods import EACH, FEATURES, ONE_PASS, by_features
from bathyscope.risk.budget import Budget
from bathyscope.risk.events.logit import ArgmaxToken, next_logits
from bathyscope.risk.inputs.law import draw
from bathyscope.risk.inputs.product import ProductTokens
from bathyscope.risk.inputs.recipes.hexadecimal import hex_law
from bathyscope.risk.problem import Problem
from bathyscope.risk.run import estimate
from bathyscope.risk.worlds.counting import counted


@dataclass(frozen=True, kw_only=True)
class Hex:
    """What is asked, and how much it may cost."""

    out: Path = Path("runs/hex")
    """Folder of truth, dictionaries and one file for each estimator."""
    model: str = "smollm2"
    """Model, by name or folder."""
    positions: int = 4
    """Hexadecimal tokens behind the start."""
    truth: int = 2**14
    """Inputs that truth is counted over."""
    inputs: int = 2**12
    """Inputs that the dictionaries learn from."""
    forward: int = 2**12
    """Budget of each estimator."""
    batch: int = 128
    """Inputs at a time."""
    seed: int = 0
    """Of the draws."""
    only: str = ""
    """Run this estimator alone and print its figures; what the processes of the estimators are given."""


def main(hex_: Hex) -> int:
    """Count, estimate in one process after another, and print the table."""
    if hex_.only:
        print(json.dumps(one(hex_, hex_.only)))
        return 0
    token, truth = event(hex_)
    found: dict[str, dict[str, Any]] = {}
    for method in (*ONE_PASS, *FEATURES, *EACH):
        file = hex_.out / f"{method.replace(' ', '-').replace(',', '')}.json"
        if not file.exists():
            told = subprocess.check_output([sys.executable, __file__, *arguments(hex_), "--only", method])
            write_atomic(file, told.splitlines()[-1])
        found[method] = json.loads(file.read_bytes())
        print(f"{method}: done", file=sys.stderr, flush=True)
    print(
        f"P(next token is {token!r} {truth['text']!r}) = {truth['p']:.2e} [{truth['low']:.1e}, {truth['high']:.1e}], "
    )
    print(f"counted over {hex_.truth:,} inputs of {hex_.positions} tokens; {hex_.forward:,} forwards each\n")
    print("| estimator | P | 90 % interval | decades off | flags | tokens a second | peak above the model, MiB |")
    print("|---|---|---|---|---|---|---|")
    for method, row in found.items():
        off = f"{math.log10(row['p'] / truth['p']):+.2f}" if row["p"] > 0 else "–"
        interval, flags = f"{row['low']:.1e} to {row['high']:.1e}", ", ".join(row["flags"])
        speed, rise = row["tokens"] / row["seconds"], row["peak"] / 2**20
        print(f"| {method} | {row['p']:.1e} | {interval} | {off} | {flags} | {speed:,.0f} | {rise:,.0f} |")
    return 0


def event(hex_: Hex) -> tuple[int, dict[str, Any]]:
    """The token asked for, and what is known of it."""
    file = hex_.out / "truth.json"
    if not file.exists():
        model = load_model(hex_.model)
        truth = counted(counts(model, law(model, hex_), hex_))
        known = truth.events(1e-9, 0.1)
        if not known:
            sys.exit(f"no token's probability is known within a factor of 2.5 from {hex_.truth} inputs: raise --truth")
        token = known[-1]
        bounds = {"p": truth[token], "low": float(truth.low_V[token]), "high": float(truth.high_V[token])}
        hex_.out.mkdir(parents=True, exist_ok=True)
        told = {"token": token, "text": model.tokenizer.decode([token]), **bounds}
        write_atomic(file, json.dumps(told).encode())
    told = json.loads(file.read_bytes())
    return told["token"], told


def law(model: Model, hex_: Hex) -> ProductTokens:
    """The law of inputs."""
    return hex_law(model.tokenizer, n_positions=hex_.positions)


def counts(model: Model, inputs: ProductTokens, hex_: Hex) -> Any:
    """How often each token is the likeliest next one."""
    import torch

    generator = torch.Generator().manual_seed(1 + hex_.seed)  # not the draws of the estimators
    counts_V = torch.zeros(len(model.network.get_input_embeddings().weight), dtype=torch.long)
    for first in range(0, hex_.truth, hex_.batch):
        rows_BC = draw(inputs, min(hex_.batch, hex_.truth - first), generator=generator)
        with torch.no_grad():
            logits_BV = next_logits(model, inputs.inputs(model, rows_BC))
        counts_V += torch.bincount(logits_BV.argmax(1), minlength=len(counts_V))
        progress.report("truth", first + len(rows_BC), hex_.truth, "inputs")
    return counts_V


def one(hex_: Hex, method: str) -> dict[str, Any]:
    """One estimator's figures, its tokens and seconds, and how far the process's peak rose."""
    import torch

    token, _ = event(hex_)
    model = load_model(hex_.model)
    inputs = law(model, hex_)
    if method in FEATURES:
        folders = {name: hex_.out / "dictionaries" / name for name in FEATURES.values()}
        if not all(folder.exists() for folder in folders.values()):
            law_dictionaries(model, inputs, out=hex_.out / "dictionaries", n_inputs=hex_.inputs)
        estimator = by_features({FEATURES[method]: folders[FEATURES[method]]})[method]
    else:
        estimator = {**ONE_PASS, **EACH}[method]
    problem = Problem(model=model, inputs=inputs, event=ArgmaxToken(token))
    with torch.no_grad():  # what the first forward sets up belongs to the model
        next_logits(model, inputs.inputs(model, draw(inputs, 1, generator=torch.Generator().manual_seed(0))))
    before = forget_peak()
    found = estimate(problem, estimator, Budget(forward=hex_.forward), seed=hex_.seed, level=0.9, batch_size=hex_.batch)
    row = found.row()
    tokens = row["cost"]["prompt_tokens"] + row["cost"]["generated_tokens"]
    figures = {name: row[name] for name in ("p", "low", "high")} | {"flags": list(found.flags)}
    return {**figures, "tokens": tokens, "seconds": row["cost"]["seconds"], "peak": peak_bytes() - before}


def arguments(hex_: Hex) -> list[str]:
    """The command line of the same settings."""
    names = ("out", "model", "positions", "truth", "inputs", "forward", "batch", "seed")
    return [part for name in names for part in (f"--{name}", str(getattr(hex_, name)))]


if __name__ == "__main__":
    sys.exit(main(tyro.cli(Hex)))
