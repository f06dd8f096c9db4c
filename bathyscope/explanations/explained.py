"""`explained`: feature → explanation, from a folder of written descriptions or of words."""

from pathlib import Path

import numpy as np

from bathyscope.artifacts import read_manifest
from bathyscope.config import from_json
from bathyscope.errors import ConfigError
from bathyscope.explanations.passages import PassageSettings
from bathyscope.explanations.reader import Explanations
from bathyscope.explanations.written import KIND, WriteSettings, Written

N_WORDS = 6
"""Words that stand for a description where none was written."""


def explained(explanations: Path, features: Path, passages: PassageSettings, *, n_features: int = 0) -> dict[int, str]:
    """The explanation of each explained feature, of the first `n_features` for a number above 0.

    Raises ConfigError when they belong to another index, or to other halves of the documents: they would be scored on
    text that they were made from.
    """
    manifest = read_manifest(explanations)
    if manifest.parents.get("features", {}).get("digest") != read_manifest(features, kind="features").digest:
        raise ConfigError(f"{explanations} explains another index than {features}; give the one that it was made from")
    if manifest.kind == KIND:
        seed = from_json(WriteSettings, manifest.config["settings"]).passages.seed
        if seed != passages.seed:
            raise ConfigError(
                f"{explanations} was made from the half of documents of seed {seed}, asked is seed {passages.seed}: "
                f"scoring would meet the same documents; use seed {seed}"
            )
        texts = Written(explanations).texts
    else:
        words = Explanations(explanations)
        found = np.unique(words.table["feature"].to_numpy()).tolist()
        texts = {feature: words.label(feature, n=N_WORDS) for feature in found}
    return dict(list(texts.items())[: n_features or None])
