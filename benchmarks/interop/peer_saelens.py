"""Runs where SAELens is installed: opens folders that bathyscope wrote, and saves folders of its own.

python peer_saelens.py EXCHANGE
"""

import sys
from pathlib import Path
from typing import Any

import torch
from sae_lens import SAE
from sae_lens.registry import get_sae_class, get_sae_training_class
from safetensors.torch import load_file, save_file

D, F, D_OUT = 32, 128, 24
CASES = {
    "standard": {"architecture": "standard"},
    "standard, no subtraction": {"architecture": "standard", "apply_b_dec_to_input": False},
    "topk": {"architecture": "topk", "k": 8},
    "topk by length": {"architecture": "topk", "k": 8, "rescale_acts_by_decoder_norm": True},
    "abstopk": {"architecture": "abstopk", "k": 8},
    "jumprelu": {"architecture": "jumprelu"},
    "jumprelu, no subtraction": {"architecture": "jumprelu", "apply_b_dec_to_input": False},
    "jumprelu, layer_norm": {"architecture": "jumprelu", "normalize_activations": "layer_norm"},
    "jumprelu, constant_norm_rescale": {
        "architecture": "jumprelu",
        "normalize_activations": "constant_norm_rescale",
    },
    "gated": {"architecture": "gated"},
    "matching_pursuit": {"architecture": "matching_pursuit", "max_iterations": 6, "residual_threshold": 0.5},
    "transcoder": {"architecture": "transcoder", "d_out": D_OUT, "apply_b_dec_to_input": False},
    "skip_transcoder": {"architecture": "skip_transcoder", "d_out": D_OUT, "apply_b_dec_to_input": False},
    "jumprelu_transcoder": {"architecture": "jumprelu_transcoder", "d_out": D_OUT, "apply_b_dec_to_input": False},
    "jumprelu_skip_transcoder": {
        "architecture": "jumprelu_skip_transcoder",
        "d_out": D_OUT,
        "apply_b_dec_to_input": False,
    },
}
TRAINED = {
    "batchtopk": {"k": 8.0},
    "batchtopk by length": {"k": 8.0, "rescale_acts_by_decoder_norm": True},
    "matryoshka_batchtopk": {"k": 8.0, "matryoshka_widths": [32, 128]},
}


@torch.no_grad()
def fill(sae: Any, seed: int) -> None:
    """Random parameters, with decoder rows of different lengths."""
    generator = torch.Generator().manual_seed(seed)
    for name, tensor in sae.named_parameters():
        scale = {"threshold": 0.3, "b_enc": 0.3, "b_gate": 0.3, "b_mag": 0.3, "r_mag": 0.3, "W_skip": 0.2}.get(name, 1)
        draw = scale * torch.randn(tensor.shape, generator=generator)
        if name == "W_enc":
            draw = draw / D**0.5
        if name == "W_dec":
            draw = draw / draw.norm(dim=1, keepdim=True) * (0.5 + torch.rand(len(draw), 1, generator=generator))
        tensor.copy_(draw.abs() if name == "threshold" else draw)


@torch.no_grad()
def measure(sae: Any, x: torch.Tensor, file: Path) -> None:
    """Codes, how long a decoder row one unit of them is, and what comes out."""
    codes = sae.encode(x)
    length = sae.W_dec.norm(dim=-1)
    if getattr(sae.cfg, "rescale_acts_by_decoder_norm", False):
        length = torch.ones_like(length)
    found = {"codes": codes.to_dense() if codes.is_sparse else codes, "length": length, "output": sae(x)}
    save_file({name: tensor.detach().float().contiguous() for name, tensor in found.items()}, file)


def main(exchange: Path) -> None:
    """Open what was given, save what is made here."""
    x = load_file(exchange / "x.safetensors")["x"]
    for folder in sorted(path for path in (exchange / "given").iterdir() if path.is_dir()):
        measure(SAE.load_from_disk(folder), x, folder.with_suffix(".safetensors"))
    made = exchange / "made"
    made.mkdir(exist_ok=True)
    for seed, (name, settings) in enumerate(CASES.items()):
        sae_class, config_class = get_sae_class(settings["architecture"])
        config = config_class(d_in=D, d_sae=F, **{k: v for k, v in settings.items() if k != "architecture"})
        config.metadata.hook_name, config.metadata.model_name = "blocks.2.hook_resid_post", "tiny"
        sae = sae_class(config)
        fill(sae, seed)
        sae.save_model(made / name)
        measure(SAE.load_from_disk(made / name), x, made / f"{name}.safetensors")
    for seed, (name, settings) in enumerate(TRAINED.items()):
        sae_class, config_class = get_sae_training_class(name.split(" ")[0])
        sae = sae_class(config_class(d_in=D, d_sae=F, **settings))
        fill(sae, seed)
        sae.topk_threshold = torch.tensor(0.4, dtype=torch.float64)
        sae.save_model(made / f"{name}, checkpoint")
        sae.save_inference_model(made / f"{name}, saved as jumprelu")
        for kind in ("checkpoint", "saved as jumprelu"):
            loaded = SAE.load_from_disk(made / f"{name}, saved as jumprelu")
            measure(loaded, x, made / f"{name}, {kind}.safetensors")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
