"""A tiny random vision transformer with visual words, built in memory."""

import torch
from transformers import ViTConfig, ViTForImageClassification

from bathyscope.evaluation.worlds.segments import drawn_digits
from bathyscope.models.vision import ImageModel
from bathyscope.models.visual_words import fit_words

D_MODEL, N_LAYERS, PATCH, N_WORDS = 16, 2, 7, 12


def tiny_network(*, seed: int = 0, **changes: object) -> ViTForImageClassification:
    """28 × 28 grey pixels, 16 patches, 10 classes."""
    sizes = {
        "image_size": 28,
        "patch_size": PATCH,
        "num_channels": 1,
        "num_labels": 10,
        "hidden_size": D_MODEL,
        "num_hidden_layers": N_LAYERS,
        "num_attention_heads": 2,
        "intermediate_size": 24,
    }
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return ViTForImageClassification(ViTConfig(**{**sizes, **changes})).eval().requires_grad_(False)


def tiny_image_model(*, seed: int = 0) -> ImageModel:
    """The network as a model, its words fitted on drawn digits."""
    words = fit_words(drawn_digits(40, seed=0).pixels_NHW, patch_size=PATCH, n_words=N_WORDS, seed=0)
    identity = {"name": f"tiny-vit-{seed}", "sha256": f"{seed:064d}", "words": words.sha256}
    return ImageModel(network=tiny_network(seed=seed), words=words, name=identity["name"], identity=identity)
