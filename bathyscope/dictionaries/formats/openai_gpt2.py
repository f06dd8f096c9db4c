"""OpenAI's GPT-2 dictionaries: one pickle a layer, `{site}_v5_{32k,128k}/autoencoders/{L}.pt`.

TopK ones see each token after a LayerNorm of its own (mean, standard deviation with n - 1, 1e-5 added to it), take
`pre_bias` off after that, and undo the norm on what they reconstruct.
"""

import re
from collections.abc import Mapping
from pathlib import Path

from bathyscope.dictionaries.formats.parts import Parts
from bathyscope.dictionaries.formats.pickled import Allowed, open_pickled
from bathyscope.dictionaries.place import Place
from bathyscope.dictionaries.rules import Largest, Positive, Rule
from bathyscope.dictionaries.weights import Weights
from bathyscope.errors import ArtifactError

NAME = "openai_gpt2"
ALLOWED: Allowed = {"activation": str, "activation_state_dict": {"k": int, "postact_fn": str}}
"""What stands beside the tensors; torch opens plain texts and numbers without running anything."""
SITES = {
    "resid_post_mlp": ("hook_resid_post", ""),
    "resid_post_attn": ("hook_resid_mid", None),
    "resid_delta_mlp": ("hook_mlp_out", ".mlp"),
    "resid_delta_attn": ("hook_attn_out", ".attn"),
    "mlp_post_act": ("mlp.hook_post", ".mlp.act"),
}
"""Site in the path → TransformerLens hook of the block, and module below it (None: no module puts it out)."""


def claims(path: Path) -> bool:
    """Whether `path` is such a file."""
    return path.is_file() and path.parent.name == "autoencoders" and re.fullmatch(r"\d+\.pt", path.name) is not None


def read(place: Place) -> Parts:
    """The dictionary in the file. Raises ArtifactError when the file does not say which rule it was trained with."""
    tensors = open_pickled(place.path, allowed=ALLOWED)
    f, d = tensors.shape("encoder.weight", axes=2)
    activation = tensors.settings.get("activation")
    found = re.search(r"(\w+?)_v\d\w*/autoencoders/(\d+)\.pt$", place.label)
    lens, module = SITES.get(found[1], (None, None)) if found else (None, None)
    origin = {"model_name": "gpt2", "activation": activation}
    origin |= {"hook_name": f"blocks.{found[2]}.{lens}"} if found and lens else {}
    return Parts(
        weights=Weights(
            W_enc=tensors.take_transposed("encoder.weight", d, f),
            b_enc=tensors.take("latent_bias", f),
            W_dec=tensors.take_transposed("decoder.weight", f, d),
            b_dec=tensors.take("pre_bias", d),
        ),
        rule=_rule(activation, tensors.settings.get("activation_state_dict"), place.path, f),
        subtract_b_dec=True,
        normalise="layer-norm" if activation == "TopK" else None,
        hookpoint=f"h.{found[2]}{module}" if found and module is not None else None,
        format=NAME,
        origin=origin,
        inferred=("model_name from the format, hook_name from the path", "normalisation from the activation's name"),
        files=(place.path,),
    )


def _rule(activation: object, state: object, path: Path, f: int) -> Rule:
    if activation == "ReLU":
        return Positive()
    k = state.get("k") if isinstance(state, Mapping) else None
    if activation != "TopK":
        raise ArtifactError(
            f"{path}: activation is {activation!r}, expected 'TopK' or 'ReLU'; without it the dictionary would be read "
            "with the wrong rule (L0 600 instead of 80)"
        )
    after = state.get("postact_fn", "ReLU") if isinstance(state, Mapping) else None
    if type(k) is not int or not 1 <= k <= f or after != "ReLU":
        raise ArtifactError(f"{path}: k is {k!r} and {after!r} follows it, expected a number up to {f} and 'ReLU'")
    return Largest(k=k)
