"""Who takes part in the recovery bench: every kind that learns from single activations, at one size and sparsity.

Kinds that take k get it; kinds with a penalty bring their L0 to k, so that all are compared at the same sparsity.
"""

from collections.abc import Callable

from bathyscope.dictionaries.abs_topk import AbsTopK
from bathyscope.dictionaries.batch_topk import BatchTopK
from bathyscope.dictionaries.frozen import Frozen
from bathyscope.dictionaries.gated import Gated
from bathyscope.dictionaries.jumprelu import JumpReLU
from bathyscope.dictionaries.kinds import Kind
from bathyscope.dictionaries.matryoshka import Matryoshka
from bathyscope.dictionaries.p_anneal import PAnneal
from bathyscope.dictionaries.plain import PlainKind
from bathyscope.dictionaries.pursuit import MatchingPursuit
from bathyscope.dictionaries.relu import ReLU
from bathyscope.dictionaries.topk import TopK
from bathyscope.errors import ConfigError

NULL = "frozen"
"""What is added to an entrant's name for the same kind with its decoder held at its random start."""


ENTRANTS: dict[str, Callable[[int, int], PlainKind]] = {
    "matryoshka": lambda n_features, k: Matryoshka(n_features=n_features, k=k),
    "batchtopk": lambda n_features, k: BatchTopK(n_features=n_features, k=k),
    "jumprelu": lambda n_features, k: JumpReLU(n_features=n_features, l0=k),
    "topk": lambda n_features, k: TopK(n_features=n_features, k=k),
    "abstopk": lambda n_features, k: AbsTopK(n_features=n_features, k=k),
    "gated": lambda n_features, k: Gated(n_features=n_features, l0=k),
    "panneal": lambda n_features, k: PAnneal(n_features=n_features, l0=k),
    "relu": lambda n_features, k: ReLU(n_features=n_features, l0=k),
    "matchingpursuit": lambda n_features, k: MatchingPursuit(n_features=n_features, k=k),
}
"""Name → the kind of a given size and sparsity, with its default settings otherwise."""


def chosen(names: tuple[str, ...], *, n_features: int, k: int, with_nulls: bool) -> dict[str, Kind]:
    """The entrants of these names (all for none), each followed by its null. Raises ConfigError for an unknown name."""
    unknown = [name for name in names if name not in ENTRANTS]
    if unknown:
        raise ConfigError(f"no entrant named {unknown[0]!r}; expected some of: {', '.join(ENTRANTS)}")
    found: dict[str, Kind] = {}
    for name in names or tuple(ENTRANTS):
        kind = ENTRANTS[name](n_features, k)
        found[name] = kind
        if with_nulls:
            found[f"{name}-{NULL}"] = Frozen(of=kind, part="decoder")
    return found
