"""The authors' own MHIS and ITGIS on the events of `bathyscope bench risk`, through an adapter.

git clone https://github.com/alignment-research-center/low-probability-estimation CODE
.venv/bin/python benchmarks/released_mhis.py --code CODE --worlds runs/risk/worlds --temperature 1.0

Their code is imported from where it lies; what it needs for other models than ours is stubbed. A sample costs a forward
and a backward, three forwards in all: 4,096 samples and 42 steps of burn-in of 32 chains are 16,320.
"""

import json
import math
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import tyro

from bathyscope.models.load import load_model
from bathyscope.risk.inputs.product import ProductTokens
from bathyscope.risk.scoring.fit import leave_one_out
from bathyscope.risk.worlds.truth import Truth, read_truth


@dataclass(frozen=True, kw_only=True)
class Released:
    """What is asked."""

    code: Path
    """Their repository."""
    worlds: Path = Path("runs/risk/worlds")
    """Network and truths that `bathyscope bench risk` made."""
    laws: int = 3
    """How many of its laws."""
    events: int = 24
    """Events of each law at most, the bench's own."""
    method: str = "MHIS"
    """`MHIS` or `ITGIS`."""
    temperature: float = 1.0
    """Theirs."""
    samples: int = 4096
    """Samples of an event."""
    burn_in: int = 42
    """Steps of each of 32 chains before them (MHIS)."""
    seed: int = 0
    """Of the draws."""


def main(settings: Released) -> int:
    """Estimate every event, and print one line for each and the sum."""
    import torch

    methods, discrete = theirs(settings.code)
    network = load_model(settings.worlds / "model").network
    adapted = adapter(network)
    torch.manual_seed(settings.seed)
    truths, estimates, seconds = [], [], 0.0
    for number in range(settings.laws):
        truth, law = read_truth(settings.worlds / f"truth-{number}")
        laws = [
            discrete(probs=log_p.exp().float(), values=ids) for ids, log_p in zip(law.support, law.log_p, strict=True)
        ]
        require_equal(adapted, network, law)
        for token in events(truth, settings.events):
            start = time.process_time()
            more = {"burn_in": settings.burn_in, "batch_size": 32} if settings.method == "MHIS" else {"batch_size": 256}
            method = getattr(methods, settings.method)
            found = float(method(adapted, laws, token, temp=settings.temperature, n_samples=settings.samples, **more))
            seconds += time.process_time() - start
            truths.append(truth[token])
            estimates.append(found if math.isfinite(found) and found > 0 else 0.0)
            print(json.dumps({"law": number, "token": token, "truth": truth[token], "estimate": found}), flush=True)
    p_T, q_T = np.array(truths), np.array(estimates)
    off = np.log10(q_T[q_T > 0] / p_T[q_T > 0])
    print(
        f"{settings.method}, temperature {settings.temperature:g}: {np.sum(q_T == 0)} of {len(q_T)} are 0, the others "
        f"{np.sqrt((off**2).mean()):.2f} decades off (rms); fitted loss {leave_one_out(p_T, q_T).mean():.2f}; "
        f"{seconds / len(q_T):.1f} s of processor time each"
    )
    return 0


def events(truth: Truth, most: int) -> list[int]:
    """The tokens that the bench asks for."""
    tokens = truth.events(1e-9, 1e-4)
    n = min(len(tokens), most)
    return [tokens[math.floor(place * len(tokens) / n)] for place in range(n)]


def theirs(code: Path) -> tuple[Any, Any]:
    """Their module of methods and their class of token laws, without their models, corpora and downloads."""
    if not (code / "lpe" / "methods.py").is_file():
        sys.exit(f"{code} holds no lpe/methods.py: clone their repository there")
    for name, given in (
        ("fancy_einsum", {"einsum": None}),
        ("blobfile", {}),
        ("lpe.utils.datasets", {"get_token_dataset": None}),
        ("lpe.utils.transformer", {"Transformer": object}),
    ):
        stub(name, **given)
    stub("lpe", __path__=[str(code / "lpe")])
    utils = stub("lpe.utils", __path__=[str(code / "lpe" / "utils")], Transformer=object)
    from lpe.utils.discrete import Discrete  # pyright: ignore[reportMissingImports]

    utils.Discrete = Discrete
    import lpe.methods  # pyright: ignore[reportMissingImports]

    return lpe.methods, Discrete


def stub(name: str, **given: Any) -> Any:
    """A module of this name that holds what is given."""
    module: Any = ModuleType(name)
    module.__dict__.update(given)
    sys.modules[name] = module
    return module


def adapter(network: Any) -> Any:
    """The GPT-2 under the names that their code calls."""
    import torch

    parts = network.transformer

    class Adapted(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.network = network
            self.embed = SimpleNamespace(W_E=parts.wte.weight.detach(), d_vocab=len(parts.wte.weight))
            self.device = torch.device("cpu")
            self.blocks = [lambda x, block=block: first(block(x)) for block in parts.h]
            self.unembed = Unembedding(network)
            self.ln_final = parts.ln_f

        def pos_embed(self, tokens: Any) -> Any:
            return parts.wpe(torch.arange(tokens.shape[1])).expand(len(tokens), -1, -1)

    return Adapted()


class Unembedding:
    """Called for logits, read for its matrix."""

    def __init__(self, network: Any) -> None:
        self.head, self.W_U = network.lm_head, network.lm_head.weight.detach().T

    def __call__(self, x: Any) -> Any:
        """The logits."""
        return self.head(x)


def first(found: Any) -> Any:
    """What a block gives, without its cache."""
    return found[0] if isinstance(found, tuple) else found


def require_equal(adapted: Any, network: Any, law: ProductTokens) -> None:
    """Refuse an adapter that is not the network."""
    import torch

    tokens = torch.stack([ids_K[torch.randint(len(ids_K), (4,))] for ids_K in law.support], dim=1)
    with torch.no_grad():
        x = network.transformer.wte(tokens) + adapted.pos_embed(tokens)
        for block in adapted.blocks:
            x = block(x)
        off = float((adapted.unembed(adapted.ln_final(x)) - network(tokens).logits).abs().max())
    if off > 1e-4:
        sys.exit(f"the adapter's logits differ from the network's by {off}")


if __name__ == "__main__":
    sys.exit(main(tyro.cli(Released)))
