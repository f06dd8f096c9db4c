"""`Truth`: how likely each token is to be the likeliest next one, with bounds; kept with its law in one folder.

Knows nothing of how it was found out.
"""

import json
from dataclasses import dataclass
from pathlib import Path

import torch
from jaxtyping import Float
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor

from bathyscope.artifacts import check_file, read_manifest
from bathyscope.errors import ConfigError
from bathyscope.files import read_json, write_atomic
from bathyscope.risk.inputs.product import ProductTokens

KIND = "truth"
FILE = "truth.json"
LAW = "law.safetensors"


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Truth:
    """P(argmax of the next token's logits = token) for every token, float64."""

    p_V: Float[Tensor, " V"]
    """Probabilities; they sum to 1."""
    low_V: Float[Tensor, " V"]
    """Lower bounds: what the truth is known to lie above."""
    high_V: Float[Tensor, " V"]
    """Upper bounds."""
    n_inputs: int
    """Inputs that were looked at: all there are, or how many were drawn."""

    def __getitem__(self, token: int) -> float:
        """The probability of a token."""
        return float(self.p_V[token])

    def events(self, low: float, high: float, *, within: float = 2.5) -> tuple[int, ...]:
        """Tokens with low < p < high whose bounds are less than a factor `within` apart, the likeliest first."""
        if not 0 < low < high:
            raise ConfigError(f"no probability lies between {low} and {high}; give 0 < low < high")
        found_V = (self.p_V > low) & (self.p_V < high) & (self.high_V < within * self.low_V)
        tokens = found_V.nonzero()[:, 0].tolist()
        return tuple(sorted(tokens, key=lambda token: (-self[token], token)))


def save_truth(truth: Truth, law: ProductTokens, folder: Path, *, counts: list[int] | None = None) -> None:
    """Write truth and law; `counts` are kept where the truth comes from counting."""
    data = {"n_inputs": truth.n_inputs, "p": truth.p_V.tolist(), "low": truth.low_V.tolist()}
    data |= {"high": truth.high_V.tolist()} | ({} if counts is None else {"counts": counts})
    write_atomic(folder / FILE, json.dumps(data).encode())
    tensors = {f"{position:03d}.ids": ids_K.clone() for position, ids_K in enumerate(law.support)}
    tensors |= {f"{position:03d}.log_p": log_p_K.clone() for position, log_p_K in enumerate(law.log_p)}
    save_file(tensors, folder / LAW, metadata={"name": law.name})


def read_truth(folder: Path) -> tuple[Truth, ProductTokens]:
    """Truth and law from a finished folder of kind `truth`. Raises ArtifactError for anything else."""
    manifest = read_manifest(folder, kind=KIND)
    data = read_json(check_file(folder, manifest, FILE))
    with safe_open(check_file(folder, manifest, LAW), framework="pt") as file:
        positions = sorted({name.partition(".")[0] for name in file.keys()})  # noqa: SIM118  (it has no iterator)
        law = ProductTokens(
            support=tuple(file.get_tensor(f"{position}.ids") for position in positions),
            log_p=tuple(file.get_tensor(f"{position}.log_p") for position in positions),
            name=file.metadata()["name"],
        )
    p_V, low_V, high_V = (torch.tensor(data[name], dtype=torch.float64) for name in ("p", "low", "high"))
    return Truth(p_V=p_V, low_V=low_V, high_V=high_V, n_inputs=data["n_inputs"]), law
