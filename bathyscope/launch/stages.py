"""Collecting and indexing by all processes of a mesh: the folders that one process would have made."""

from collections.abc import Sequence
from functools import partial
from pathlib import Path

from bathyscope.activations.collect import CollectSettings, collect
from bathyscope.activations.store import ActivationStore
from bathyscope.activations.text import Text
from bathyscope.dictionaries.dictionary import Dictionary
from bathyscope.dictionaries.ranks.mesh import Mesh
from bathyscope.features.index import FeatureIndex, index_features, index_part
from bathyscope.features.settings import DEFAULTS as INDEX_DEFAULTS
from bathyscope.features.settings import IndexSettings
from bathyscope.launch.together import together
from bathyscope.models.model import Model
from bathyscope.models.vision import Readable

COLLECT_DEFAULTS = CollectSettings()
"""The settings of collect as they are."""


def collect_together(
    mesh: Mesh,
    model: Model,
    text: Text,
    *,
    out: str | Path,
    hookpoint: str | Sequence[str] = "layers.15",
    n_tokens: int = 200_000,
    settings: CollectSettings = COLLECT_DEFAULTS,
) -> ActivationStore:
    """What `collect` makes of the same arguments, each process having run every n-th batch. Raises what `collect` does.

    The bytes are those of one process where processes have the same number of threads.
    """
    out = Path(out)
    work = partial(collect, model, text, hookpoint=hookpoint, n_tokens=n_tokens, settings=settings)
    if not mesh.is_alone:
        together(
            mesh,
            out,
            lambda part, share: work(out=part, share=share),
            lambda parts: work(out=out, parts=[ActivationStore(part) for part in parts]),
        )
    return work(out=out)


def index_together(
    mesh: Mesh,
    model: Readable,
    dictionary: Dictionary,
    store: ActivationStore,
    *,
    out: str | Path,
    settings: IndexSettings = INDEX_DEFAULTS,
) -> FeatureIndex:
    """What `index_features` makes of the same arguments, each process having encoded its share of the rows.

    Tables and examples are then made by the first process alone. Raises what `index_features` does.
    """
    out = Path(out)
    work = partial(index_features, model, dictionary, store, settings=settings)
    if not mesh.is_alone:
        together(
            mesh,
            out,
            lambda part, share: index_part(model, dictionary, store, out=part, settings=settings, share=share),
            lambda parts: work(out=out, parts=parts),
        )
    return work(out=out)
