"""Which feature of a dictionary tells true texts from false ones."""

import itertools

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from bathyscope.dictionaries.dictionary import Dictionary
from bathyscope.evaluation.probes import weighted_auroc
from bathyscope.vectors.examples import Examples, Pool


def text_codes(examples: Examples, dictionary: Dictionary, how: Pool) -> Float[Tensor, "T F"]:
    """Codes of each text's tokens as codes of the text, float32. Peak memory: the codes of one text, and the result."""
    edges = torch.searchsorted(examples.text_N, torch.arange(examples.n_texts + 1)).tolist()
    found: list[Tensor] = []
    for start, stop in itertools.pairwise(edges):
        codes_SF = dictionary.encode(examples.x_ND[start:stop].to(dictionary.device)).dense()
        found.append((codes_SF.mean(0) if how == "mean" else codes_SF.amax(0)).float().cpu())
    return torch.stack(found)


def feature_auroc(examples: Examples, dictionary: Dictionary, how: Pool) -> Float[np.ndarray, " F"]:
    """P(code of a true text > code of a false one), ties counting half; a half for a feature that never fires."""
    codes_TF = text_codes(examples, dictionary, how).numpy()
    area_F = np.full(codes_TF.shape[1], 0.5)
    even_1T = np.ones((1, examples.n_texts))
    for feature in np.flatnonzero(codes_TF.any(axis=0)).tolist():
        area_F[feature] = weighted_auroc(codes_TF[:, feature].astype(np.float64), examples.labels_T, even_1T)[0]
    return area_F
