"""bathyscope: look under the surface of language models; each claim with the check that could have refuted it.

Names are imported when they are first used: `import bathyscope` loads neither torch nor transformers.
"""

import importlib
from typing import Any

_WHERE = {
    "ActivationStore": "bathyscope.activations.store",
    "Amplify": "bathyscope.steering.operations",
    "Clamp": "bathyscope.steering.operations",
    "Codes": "bathyscope.dictionaries.dictionary",
    "Dictionary": "bathyscope.dictionaries.dictionary",
    "FeatureIndex": "bathyscope.features.index",
    "MutualInformation": "bathyscope.explanations.mutual_information",
    "ReLU": "bathyscope.dictionaries.relu",
    "TopK": "bathyscope.dictionaries.topk",
    "collect": "bathyscope.activations.collect",
    "explain": "bathyscope.explanations.explain",
    "export": "bathyscope.web.export",
    "index_features": "bathyscope.features.index",
    "load_dictionary": "bathyscope.dictionaries.dictionary",
    "load_model": "bathyscope.models.load",
    "steer": "bathyscope.steering.steer",
    "train": "bathyscope.dictionaries.train",
}

__all__ = sorted(_WHERE)  # pyright: ignore[reportUnsupportedDunderAll]
__version__ = "0.1.0"


def __getattr__(name: str) -> Any:
    """The public object `name`, its room imported on first use."""
    if name in _WHERE:
        return getattr(importlib.import_module(_WHERE[name]), name)
    raise AttributeError(f"module 'bathyscope' has no attribute {name!r}")


def __dir__() -> list[str]:
    return [*__all__, "__version__"]
