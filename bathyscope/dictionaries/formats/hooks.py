"""Names of places in a model as other tools write them, and which of them are module paths of ours.

A hookpoint of ours is a module path below the model's body whose output is read. TransformerLens names are kept as they
are: what they are called in a given model is for the caller, who has the model.
"""

import re

_BODY = ("model.language_model.", "language_model.model.", "model.", "transformer.", "gpt_neox.", "base_model.")
"""What stands before the body's own paths."""
_PATH = re.compile(r"(?:layers|h)\.\d+(?:\.\w+)*|embed_tokens|embed_in|wte")


def module_path(name: object) -> str | None:
    """The module path that a name of the Hugging Face kind means; None for inputs, TransformerLens names and others."""
    if not isinstance(name, str):
        return None
    path = name.removesuffix(".output")
    body = next((body for body in _BODY if path.startswith(body)), "")
    path = path.removeprefix(body)
    return path if _PATH.fullmatch(path) and not path.endswith(".input") else None


def lens_residual(layer: int) -> str:
    """The TransformerLens name of the residual stream after a block."""
    return f"blocks.{layer}.hook_resid_post"
