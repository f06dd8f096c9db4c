"""Who takes part in the recovery bench: every kind that learns from single activations, at one size and sparsity.

Kinds that take k get it; kinds with a penalty bring their L0 to k, so that all are compared at the same sparsity.
"""

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


def entrants(n_features: int, k: int) -> dict[str, PlainKind]:
    """Name → kind with its default settings but for size and sparsity."""
    return {
        "matryoshka": Matryoshka(n_features=n_features, k=k),
        "batchtopk": BatchTopK(n_features=n_features, k=k),
        "jumprelu": JumpReLU(n_features=n_features, l0=k),
        "topk": TopK(n_features=n_features, k=k),
        "abstopk": AbsTopK(n_features=n_features, k=k),
        "gated": Gated(n_features=n_features, l0=k),
        "panneal": PAnneal(n_features=n_features, l0=k),
        "relu": ReLU(n_features=n_features, l0=k),
        "matchingpursuit": MatchingPursuit(n_features=n_features, k=k),
    }


def chosen(names: tuple[str, ...], *, n_features: int, k: int, with_nulls: bool) -> dict[str, Kind]:
    """The entrants of these names (all for none), each followed by its null. Raises ConfigError for an unknown name."""
    everyone = entrants(n_features, k)
    unknown = [name for name in names if name not in everyone]
    if unknown:
        raise ConfigError(f"no entrant named {unknown[0]!r}; expected some of: {', '.join(everyone)}")
    found: dict[str, Kind] = {}
    for name in names or tuple(everyone):
        found[name] = everyone[name]
        if with_nulls:
            found[f"{name}-{NULL}"] = Frozen(of=everyone[name], part="decoder")
    return found
