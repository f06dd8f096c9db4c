"""What the ways of learning a direction are called in tables, and those that need nothing but labelled texts."""

from collections.abc import Mapping

from bathyscope.vectors.diff_mean import DiffMean
from bathyscope.vectors.kinds import Method
from bathyscope.vectors.logistic import LogisticProbe
from bathyscope.vectors.multimax import MultiMax
from bathyscope.vectors.principal_component import PrincipalComponent
from bathyscope.vectors.tomography import Tomography

FROM_LABELS: Mapping[str, Method] = {
    "difference of means": DiffMean(),
    "principal component": PrincipalComponent(),
    "LAT": Tomography(),
    "logistic probe": LogisticProbe(),
    "MultiMax probe": MultiMax(),
}
"""Name → learner."""
REFT, SHIFTS = "ReFT-r1", "column of shifts"
DENOISED, BY_AUROC = "denoised difference", "feature by AUROC"
