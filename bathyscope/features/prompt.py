"""A prompt as a dictionary meets it: its tokens behind BOS, as in collected text, and their codes.

Without BOS in front, many models make the first token an attention sink whose activation no dictionary was trained on.
"""

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from bathyscope.activations.document import Document
from bathyscope.activations.match import require_same_model, require_width
from bathyscope.activations.packing import Packing, bos_token, encode
from bathyscope.dictionaries.dictionary import Dictionary
from bathyscope.errors import ConfigError
from bathyscope.models.hookpoints import width
from bathyscope.models.hooks import run
from bathyscope.models.model import Model


def prompt_tokens(model: Model, prompt: str) -> tuple[Int[np.ndarray, " S"], int]:
    """Token ids of `prompt` behind BOS (if the tokenizer has one), and how many of them come before the text.

    Raises ConfigError when the text gives no token.
    """
    own = encode(model.tokenizer, Document(prompt, ""), chat=False).astype(np.int64)
    if len(own) == 0:
        raise ConfigError(f"the prompt {prompt!r} gives no token with the tokenizer of {model.name}; give it some text")
    bos = bos_token(model.tokenizer, Packing())
    head = np.array([] if bos is None else [bos], dtype=np.int64)
    return np.concatenate([head, own]), len(head)


def prompt_codes(
    model: Model, dictionary: Dictionary, prompt: str
) -> tuple[Float[Tensor, "S F"], Int[np.ndarray, " S"]]:
    """The dense codes of a prompt's tokens, BOS left out, and their ids.

    Raises ConfigError for a prompt without tokens or a dictionary that does not fit its hookpoint, ModelError for a
    dictionary of another model.
    """
    hookpoint = require_own_hookpoint(model, dictionary)
    tokens, n_head = prompt_tokens(model, prompt)
    x_SD = run(model, torch.from_numpy(tokens)[None], hookpoint)[hookpoint][0]
    return dictionary.encode(x_SD[n_head:].float().to(dictionary.device)).dense(), tokens[n_head:]


def prompt_maxima(model: Model, dictionary: Dictionary, prompt: str) -> Float[Tensor, " F"]:
    """Each feature's highest value over the tokens of `prompt`; 0 where it fires on none."""
    return prompt_codes(model, dictionary, prompt)[0].amax(dim=0).clamp_min(0)


def require_own_hookpoint(model: Model, dictionary: Dictionary) -> str:
    """The hookpoint that the dictionary reads. Raises ConfigError or ModelError when it does not fit `model`."""
    if dictionary.hookpoint is None:
        raise ConfigError("the dictionary does not say which hookpoint it reads")
    require_same_model(model, dictionary, None)
    require_width(dictionary, dictionary.hookpoint, width(model, dictionary.hookpoint))
    return dictionary.hookpoint
