"""bathyscope: look under the surface of language models; each claim with the check that could have refuted it.

Names are imported when they are first used: `import bathyscope` loads neither torch nor transformers.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from bathyscope.activations.collect import CollectSettings, collect
    from bathyscope.activations.packing import Packing
    from bathyscope.activations.store import ActivationStore
    from bathyscope.activations.text import Mixture, Texts
    from bathyscope.artifacts import verify
    from bathyscope.dictionaries.dictionary import Codes, Dictionary, load_dictionary
    from bathyscope.dictionaries.relu import ReLU
    from bathyscope.dictionaries.topk import TopK
    from bathyscope.dictionaries.train import TrainSettings, train
    from bathyscope.evaluation.fidelity import FidelitySettings, fidelity
    from bathyscope.evaluation.nulls import random_dictionary
    from bathyscope.explanations.explain import explain
    from bathyscope.explanations.mutual_information import MutualInformation
    from bathyscope.features.index import FeatureIndex, index_features
    from bathyscope.features.settings import IndexSettings
    from bathyscope.models.generate import generate
    from bathyscope.models.load import load_model
    from bathyscope.steering.operations import Add, Amplify, Clamp, RandomDirection
    from bathyscope.steering.steer import steer
    from bathyscope.web.export import export

__version__ = "0.1.0"

_WHERE = {
    "ActivationStore": "bathyscope.activations.store",
    "Add": "bathyscope.steering.operations",
    "Amplify": "bathyscope.steering.operations",
    "Clamp": "bathyscope.steering.operations",
    "Codes": "bathyscope.dictionaries.dictionary",
    "CollectSettings": "bathyscope.activations.collect",
    "Dictionary": "bathyscope.dictionaries.dictionary",
    "FeatureIndex": "bathyscope.features.index",
    "FidelitySettings": "bathyscope.evaluation.fidelity",
    "IndexSettings": "bathyscope.features.settings",
    "Mixture": "bathyscope.activations.text",
    "MutualInformation": "bathyscope.explanations.mutual_information",
    "Packing": "bathyscope.activations.packing",
    "RandomDirection": "bathyscope.steering.operations",
    "ReLU": "bathyscope.dictionaries.relu",
    "Texts": "bathyscope.activations.text",
    "TopK": "bathyscope.dictionaries.topk",
    "TrainSettings": "bathyscope.dictionaries.train",
    "collect": "bathyscope.activations.collect",
    "explain": "bathyscope.explanations.explain",
    "export": "bathyscope.web.export",
    "fidelity": "bathyscope.evaluation.fidelity",
    "generate": "bathyscope.models.generate",
    "index_features": "bathyscope.features.index",
    "load_dictionary": "bathyscope.dictionaries.dictionary",
    "load_model": "bathyscope.models.load",
    "random_dictionary": "bathyscope.evaluation.nulls",
    "steer": "bathyscope.steering.steer",
    "train": "bathyscope.dictionaries.train",
    "verify": "bathyscope.artifacts",
}

__all__ = [
    "ActivationStore",
    "Add",
    "Amplify",
    "Clamp",
    "Codes",
    "CollectSettings",
    "Dictionary",
    "FeatureIndex",
    "FidelitySettings",
    "IndexSettings",
    "Mixture",
    "MutualInformation",
    "Packing",
    "RandomDirection",
    "ReLU",
    "Texts",
    "TopK",
    "TrainSettings",
    "collect",
    "explain",
    "export",
    "fidelity",
    "generate",
    "index_features",
    "load_dictionary",
    "load_model",
    "random_dictionary",
    "steer",
    "train",
    "verify",
]


def __getattr__(name: str) -> Any:
    """The public object `name`, its room imported on first use."""
    if name in _WHERE:
        return getattr(importlib.import_module(_WHERE[name]), name)
    raise AttributeError(f"module 'bathyscope' has no attribute {name!r}")


def __dir__() -> list[str]:
    return [*__all__, "__version__"]
