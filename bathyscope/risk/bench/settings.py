"""Settings of the bench of rare events."""

from dataclasses import dataclass, replace
from typing import Literal

from bathyscope.errors import ConfigError
from bathyscope.risk.worlds.enumerated import EnumeratedSettings
from bathyscope.risk.worlds.zipf_law import ZipfLawSettings

ENUMERATED, WIDE = "enumerated", "wide"
LAWS_APART = 10
"""Laws that a world can have without sharing one with the next."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RiskBench:
    """Settings of `bench_risk`."""

    worlds: tuple[Literal["enumerated", "wide"], ...] = (ENUMERATED,)
    """`enumerated`: every input asked; `wide`: sixteen random positions, truth counted over 2^28 samples."""
    low: float = 1e-9
    """Events are those whose probability lies above this one."""
    high: float = 1e-4
    """Events are those whose probability lies below this one."""
    most_events: int = 24
    """Events of each law at most: evenly spread over their order of probability."""
    forward: int = 2**14
    """Budget of each event, in forwards; a backward counts two."""
    methods: tuple[str, ...] = ()
    """Which estimators; none means all of them."""
    n_unbiased: int = 200
    """Repeats of naive sampling and ITGIS on one event, whose mean is tested against the truth; 0 leaves it out."""
    level: float = 0.9
    """Nominal coverage of the intervals."""
    n_laws: int = 3
    """Laws over the enumerated network, each with its own exact truth."""
    world: int = 0
    """Number of the enumerated worlds: another one has another network, language and laws."""
    n_workers: int = 2
    """Processes at once."""
    seed: int = 0
    """Of every draw."""

    def __post_init__(self) -> None:
        if not 0 < self.low < self.high < 1 or not 0 < self.level < 1:
            raise ConfigError("low and high must be probabilities, low the smaller; level must lie within (0, 1)")
        if not self.worlds or len(set(self.worlds)) < len(self.worlds):
            raise ConfigError("name one or two worlds, none of them twice")
        if min(self.most_events - 3, self.forward, self.n_laws, self.n_workers) < 1 or self.n_unbiased < 0:
            raise ConfigError("forward, n_laws and n_workers are at least 1, most_events at least 4, n_unbiased 0")
        if self.world < 0 or self.n_laws > LAWS_APART:
            raise ConfigError(f"world is at least 0, and a world has at most {LAWS_APART} laws")

    @property
    def enumerated(self) -> EnumeratedSettings:
        """The enumerated worlds."""
        network = EnumeratedSettings().network
        language = replace(network.language, seed=self.world)
        laws = tuple(ZipfLawSettings(seed=LAWS_APART * self.world + law) for law in range(self.n_laws))
        return EnumeratedSettings(network=replace(network, language=language, seed=self.world), laws=laws)
