"""One small setting of every estimator for the contract suite. A file in `estimators/` with none fails there."""

from bathyscope.risk.estimators.auto import Auto
from bathyscope.risk.estimators.cross_entropy import CrossEntropy
from bathyscope.risk.estimators.estimator import Estimator
from bathyscope.risk.estimators.gradient_sampling import ITGIS
from bathyscope.risk.estimators.metropolis import MHIS
from bathyscope.risk.estimators.naive import Naive
from bathyscope.risk.estimators.split_importance import SplitImportance
from bathyscope.risk.estimators.splitting import Splitting

CASES: dict[str, Estimator] = {
    "naive": Naive(),
    "splitting": Splitting(n_particles=50, n_moves=4, n_runs=6),
    "split importance": SplitImportance(n_particles=20, n_moves=3),
    "auto": Auto(rare=SplitImportance(n_particles=20, n_moves=3)),
    "ITGIS": ITGIS(batch=16),
    "cross-entropy": CrossEntropy(n_rounds=3, patience=1),
    "MHIS": MHIS(n_chains=4, n_particles=20, patience=1),
    "MHIS led by slopes": MHIS(n_chains=4, n_particles=20, patience=1, gradients=0.5),
    "MHIS harmonic": MHIS(form="harmonic", n_chains=8, temperature=4.0, patience=1),
}

REFERENCES = {"MHIS harmonic"}
"""Kept to be beaten: neither their number nor their interval is promised at the suite's budget."""
COUNT_FIRST = {"naive", "auto"}
"""Those that any budget pays for."""
UNBIASED = {"naive", "ITGIS", "cross-entropy"}
"""Those whose mean is the probability at any budget."""
