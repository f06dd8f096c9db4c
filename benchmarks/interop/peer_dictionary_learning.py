"""Runs where dictionary_learning is installed: opens folders that bathyscope wrote, and saves folders of its own.

python peer_dictionary_learning.py EXCHANGE
"""

import json
import sys
from pathlib import Path
from typing import Any

import torch
from dictionary_learning.dictionary import AutoEncoder, AutoEncoderNew, GatedAutoEncoder, JumpReluAutoEncoder
from dictionary_learning.trainers.batch_top_k import BatchTopKSAE
from dictionary_learning.trainers.matryoshka_batch_top_k import MatryoshkaBatchTopKSAE
from dictionary_learning.trainers.top_k import AutoEncoderTopK
from dictionary_learning.utils import load_dictionary
from safetensors.torch import load_file, save_file

D, F, K = 32, 128, 8
CASES = {
    "AutoEncoder": lambda: AutoEncoder(D, F),
    "AutoEncoderNew": lambda: AutoEncoderNew(D, F),
    "AutoEncoderTopK": lambda: AutoEncoderTopK(D, F, K),
    "BatchTopKSAE": lambda: BatchTopKSAE(D, F, K),
    "MatryoshkaBatchTopKSAE": lambda: MatryoshkaBatchTopKSAE(D, F, K, [32, 96]),
    "JumpReluAutoEncoder": lambda: JumpReluAutoEncoder(D, F),
    "GatedAutoEncoder": lambda: GatedAutoEncoder(D, F),
}


@torch.no_grad()
def fill(dictionary: torch.nn.Module, seed: int) -> None:
    """Random parameters, with decoder rows of different lengths; a calibrated threshold."""
    generator = torch.Generator().manual_seed(seed)
    for name, tensor in dictionary.named_parameters():
        scale = 1.0 if "decoder" in name or "dec" in name else 0.3
        draw = scale * torch.randn(tensor.shape, generator=generator)
        if name in ("decoder.weight", "W_dec"):
            rows = draw.T if name == "decoder.weight" else draw
            rows = rows / rows.norm(dim=1, keepdim=True) * (0.5 + torch.rand(len(rows), 1, generator=generator))
            draw = rows.T if name == "decoder.weight" else rows
        tensor.copy_(draw.abs() if name == "threshold" else draw)
    for name, tensor in dictionary.named_buffers():
        if name == "threshold":
            tensor.fill_(0.4)


def rows_of(dictionary: Any) -> torch.Tensor:
    """Decoder rows [F, D]."""
    return dictionary.W_dec if hasattr(dictionary, "W_dec") else dictionary.decoder.weight.T


@torch.no_grad()
def measure(folder: Path, x: torch.Tensor, file: Path) -> None:
    """Codes, how long a decoder row one unit of them is, and what comes out, as the library itself loads the folder."""
    dictionary, _ = load_dictionary(str(folder), "cpu")
    codes = dictionary.encode(x)
    found = {"codes": codes, "length": rows_of(dictionary).norm(dim=1), "output": dictionary(x)}
    save_file({name: tensor.detach().float().contiguous().clone() for name, tensor in found.items()}, file)


def main(exchange: Path) -> None:
    """Open what was given, save what is made here."""
    x = load_file(exchange / "x.safetensors")["x"]
    for folder in sorted(path for path in (exchange / "given").iterdir() if path.is_dir()):
        measure(folder, x, folder.with_suffix(".safetensors"))
    for seed, (name, make) in enumerate(CASES.items()):
        folder, dictionary = exchange / "made" / name, make()
        fill(dictionary, seed)
        folder.mkdir(parents=True)
        torch.save(dictionary.state_dict(), folder / "ae.pt")
        trainer = {"dict_class": name, "activation_dim": D, "dict_size": F, "layer": 2, "lm_name": "tiny"}
        (folder / "config.json").write_text(json.dumps({"trainer": {**trainer, "k": K}}))
        measure(folder, x, exchange / "made" / f"{name}.safetensors")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
