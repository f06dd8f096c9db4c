"""Settings of `learn_shifts`."""

from dataclasses import dataclass, field

from bathyscope.dictionaries.ranges import require_not_negative, require_positive
from bathyscope.dictionaries.shifts.ascent import AscentSettings
from bathyscope.dictionaries.shifts.frame import Metric
from bathyscope.dictionaries.shifts.starts import StartKind
from bathyscope.errors import ConfigError


@dataclass(frozen=True, slots=True, kw_only=True)
class ShiftSettings:
    """A sparse shift autoencoder whose bound on L1 is found from loose to tight."""

    n_features: int = 30
    """C, number of columns: how many concepts are looked for."""
    metric: Metric = "whitened"
    """What length 1 of a decoder row means while learning: `plain` is the paper's."""
    alike: bool = True
    """Bring every shift to length 1 first, so that a pair in which little changes counts as much as one in which much
    does. Each pair keeps its direction and its concepts, so nothing is lost of what can be identified; as they are,
    long shifts (another language) fill the frame and short ones (another gender) are not looked at."""
    centre: bool = False
    """Take the mean shift off first. A concept that changes the same way in every pair is lost with it."""
    start: StartKind = "peaked"
    """Where restarts begin."""
    n_restarts: int = 4
    """R, starts that are followed along the whole path."""
    beta: float | None = None
    """Bound on L1 as a multiple of that of random rotations; None finds it on the path."""
    ratio: float = 0.8
    """Factor from one bound of the path to the next."""
    n_refined: int = 10
    """Most further bounds at the knee, each the lowest L1 found so far at full reconstruction."""
    tolerance: float | None = None
    """Reconstruction that may be lost for sparsity, as a share of the mean square; None is min(0.01, 0.25 / C)."""
    agreement_slack: float = 0.005
    """Bounds whose agreement between restarts is this close to the highest count as equal; the lowest L1 decides."""
    ascent: AscentSettings = field(default_factory=AscentSettings)
    """How restarts are moved at each bound."""
    refit: bool = True
    """Replace the chosen encoder by the one that reconstructs best from its decoder: takes out the shrinkage of L1."""
    seed: int = 0
    """Seed of starts and batches."""
    device: str = "cpu"
    """Where the arithmetic runs."""

    def __post_init__(self) -> None:
        require_positive(self, "n_features", "n_restarts", "beta", "tolerance")
        require_not_negative(self, "n_refined", "agreement_slack")
        if not 0 < self.ratio < 1:
            raise ConfigError(f"ratio is {self.ratio}: expected a factor between 0 and 1 from one bound to the next")
        if self.centre and self.alike:
            raise ConfigError(
                "centre takes the mean shift off, which is that of shifts as they are: give alike=False too"
            )
        if self.tolerance is not None and self.tolerance >= 1:
            raise ConfigError(f"tolerance is {self.tolerance}: expected a share of the mean square below 1")

    @property
    def lost(self) -> float:
        """Reconstruction that may be lost: small against what one of C equally large concepts holds."""
        return min(0.01, 0.25 / self.n_features) if self.tolerance is None else self.tolerance


DEFAULTS = ShiftSettings()
