"""Runs where sparsify is installed: opens folders that bathyscope wrote, and saves folders of its own.

python peer_sparsify.py EXCHANGE
"""

import sys
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from sparsify import SparseCoder, SparseCoderConfig

D, F = 32, 128
CASES = {
    "topk": {},
    "topk, rows of other lengths": {"normalize_decoder": False},
    "transcoder": {"transcode": True},
    "skip transcoder": {"transcode": True, "skip_connection": True},
}


@torch.no_grad()
def fill(coder: SparseCoder, seed: int) -> None:
    """Random parameters; decoder rows of length 1 only where the settings say so."""
    generator = torch.Generator().manual_seed(seed)
    for name, tensor in coder.named_parameters():
        draw = torch.randn(tensor.shape, generator=generator)
        if name == "encoder.weight":
            draw = draw / D**0.5
        if name == "W_dec":
            draw = draw / draw.norm(dim=1, keepdim=True)
            if not coder.cfg.normalize_decoder or coder.cfg.transcode:
                draw = draw * (0.5 + torch.rand(len(draw), 1, generator=generator))
        tensor.copy_(draw)


@torch.no_grad()
def measure(coder: SparseCoder, x: torch.Tensor, file: Path) -> None:
    """Codes, how long a decoder row one unit of them is, and what comes out."""
    values, indices, _ = coder.encode(x)
    codes = torch.zeros(len(x), coder.num_latents).scatter(1, indices, values)
    found = {"codes": codes, "length": coder.W_dec.norm(dim=1), "output": coder(x).sae_out}
    save_file({name: tensor.detach().float().contiguous() for name, tensor in found.items()}, file)


def main(exchange: Path) -> None:
    """Open what was given, save what is made here."""
    x = load_file(exchange / "x.safetensors")["x"]
    for folder in sorted(path for path in (exchange / "given").iterdir() if path.is_dir()):
        measure(SparseCoder.load_from_disk(folder), x, folder.with_suffix(".safetensors"))
    made = exchange / "made"
    for seed, (name, settings) in enumerate(CASES.items()):
        coder = SparseCoder(D, SparseCoderConfig(num_latents=F, k=8, **settings))
        fill(coder, seed)
        coder.save_to_disk(made / name)
        measure(SparseCoder.load_from_disk(made / name), x, made / f"{name}.safetensors")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
