"""Writing sparsify folders: `cfg.json` and `sae.safetensors`. Only the k largest per token, as encoder and decoder
or as a transcoder of one width.

The folder's name is the hookpoint there: call it `layers.15`, not `sparsify`.
"""

import json
import logging
from pathlib import Path

from bathyscope.dictionaries.dictionary import Dictionary
from bathyscope.dictionaries.formats.outgoing import refuse, save_tensors, trained_rows, with_subtraction
from bathyscope.dictionaries.formats.sparsify import CONFIG, NAME, WEIGHTS
from bathyscope.dictionaries.rules import Largest

log = logging.getLogger(__name__)


def write(dictionary: Dictionary, folder: Path) -> None:
    """Write both files. Raises ConfigError for what sparsify cannot express."""
    if not isinstance(dictionary.rule, Largest):
        raise refuse(dictionary, NAME, "it keeps the k largest of each token; saelens holds the others")
    if dictionary.normalise is not None or dictionary.blocks or dictionary.d_out != dictionary.d_model:
        raise refuse(dictionary, NAME, "it neither normalises tokens nor holds several places or two widths")
    transcodes = dictionary.output_hookpoint is not None
    weights = with_subtraction(dictionary, trained_rows(dictionary), subtracts=not transcodes)
    tensors = {
        "encoder.weight": weights.W_enc.T,
        "encoder.bias": weights.b_enc,
        "W_dec": weights.W_dec,
        "b_dec": weights.b_dec,
    }
    if weights.W_skip is not None:
        tensors["W_skip"] = weights.W_skip.T
    save_tensors(tensors, folder / WEIGHTS)
    config = {
        "activation": "topk",
        "expansion_factor": max(1, dictionary.n_features // dictionary.d_model),
        "normalize_decoder": dictionary.weights.gain is None,
        "num_latents": dictionary.n_features,
        "k": dictionary.rule.k,
        "multi_topk": False,
        "skip_connection": weights.W_skip is not None,
        "transcode": transcodes,
        "d_in": dictionary.d_model,
    }
    (folder / CONFIG).write_text(json.dumps(config, indent=1))
    hookpoint, name = dictionary.output_hookpoint or dictionary.hookpoint, folder.name.removesuffix(".partial")
    if hookpoint not in (None, "output", name):
        log.warning("sparsify reads the hookpoint from the folder's name: call the folder %s, not %s", hookpoint, name)
