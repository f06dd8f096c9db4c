"""bathyscope: look under the surface of language models; each claim with the check that could have refuted it.

Names are imported when they are first used: `import bathyscope` loads neither torch nor transformers.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from bathyscope.activations.collect import collect
    from bathyscope.activations.store import ActivationStore
    from bathyscope.dictionaries.dictionary import (
        Codes,
        Dictionary,
        load_dictionary,
    )
    from bathyscope.dictionaries.relu import ReLU
    from bathyscope.dictionaries.topk import TopK
    from bathyscope.dictionaries.train import train
    from bathyscope.explanations.explain import explain
    from bathyscope.explanations.mutual_information import MutualInformation
    from bathyscope.features.index import FeatureIndex, index_features
    from bathyscope.models.load import load_model
    from bathyscope.steering.operations import Amplify, Clamp
    from bathyscope.steering.steer import steer
    from bathyscope.web.export import export

__version__ = "0.1.0"

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

__all__ = [
    "ActivationStore",
    "Amplify",
    "Clamp",
    "Codes",
    "Dictionary",
    "FeatureIndex",
    "MutualInformation",
    "ReLU",
    "TopK",
    "collect",
    "explain",
    "export",
    "index_features",
    "load_dictionary",
    "load_model",
    "steer",
    "train",
]


def __getattr__(name: str) -> Any:
    """The public object `name`, its room imported on first use."""
    if name in _WHERE:
        return getattr(importlib.import_module(_WHERE[name]), name)
    raise AttributeError(f"module 'bathyscope' has no attribute {name!r}")


def __dir__() -> list[str]:
    return [*__all__, "__version__"]
