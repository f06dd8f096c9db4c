"""The estimators that are compared, by name."""

from collections.abc import Mapping
from pathlib import Path

from bathyscope.dictionaries.dictionary import load_dictionary
from bathyscope.risk.estimators.cross_entropy import CrossEntropy
from bathyscope.risk.estimators.estimator import Estimator
from bathyscope.risk.estimators.gaussian_margin import GaussianMargin
from bathyscope.risk.estimators.gradient_sampling import ITGIS
from bathyscope.risk.estimators.metropolis import MHIS
from bathyscope.risk.estimators.naive import Naive
from bathyscope.risk.estimators.peaks import PeaksOverThreshold
from bathyscope.risk.estimators.quadratic import QuadraticLogits
from bathyscope.risk.estimators.split_importance import SplitImportance
from bathyscope.risk.estimators.splitting import Splitting
from bathyscope.risk.features.shuffled import ShuffledCodes

NAIVE = "naive"
ONE_PASS: Mapping[str, Estimator] = {
    NAIVE: Naive(),
    "GLD": GaussianMargin(),
    "peaks over threshold": PeaksOverThreshold(),
    "QLD": QuadraticLogits(),
}
"""Those that read independent inputs once for all events."""
EACH: Mapping[str, Estimator] = {
    "ITGIS": ITGIS(),
    "MHIS, harmonic mean": MHIS(form="harmonic", n_chains=32),
    "MHIS": MHIS(),
    "cross-entropy": CrossEntropy(),
    "splitting": Splitting(),
    "split importance": SplitImportance(),
}
"""Those that work on one event at a time."""


FEATURES: Mapping[str, str] = {
    "shuffled codes": "trained",
    "shuffled codes, random dictionary": "random",
    "shuffled codes, shift columns": "shifts",
}
"""Estimators that shuffle codes → the dictionary whose codes they shuffle (`dictionaries`)."""


def by_features(dictionaries: Mapping[str, Path]) -> dict[str, Estimator]:
    """The estimators whose dictionary is at hand (name → folder)."""
    return {
        name: ShuffledCodes(dictionary=load_dictionary(dictionaries[own]))
        for name, own in FEATURES.items()
        if own in dictionaries
    }
