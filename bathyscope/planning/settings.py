"""What a plan is asked for."""

from dataclasses import dataclass

from bathyscope.activations.shards import Dtype
from bathyscope.errors import ConfigError
from bathyscope.planning.hardware import Compute


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanSettings:
    """Which work, on what. The defaults are those of `collect`, `train`, `index` and `risk`."""

    model: str = "smollm2"
    """Known name (see docs/scaling.md), model folder, config.json, or Hub id whose config was fetched before."""
    hookpoint: tuple[str, ...] = ("layers.15",)
    """Where activations are read, as names or globs such as `layers.*`; rows of the model's width are presumed."""
    n_features: int = 4608
    """Features of the dictionary."""
    k: int = 32
    """Active features per token: k, or the mean that is expected."""
    tokens: int = 200_000
    """Tokens of text to collect."""
    epochs: int = 4
    """Passes of training over them."""
    context: int = 128
    """Tokens that a token can look back on."""
    hardware: str = "this"
    """`this` machine as it was calibrated, a name listed in docs/scaling.md, or a JSON file of your own."""
    devices: int | None = None
    """Devices to use; None takes the fewest that hold the work, or that meet within_hours."""
    within_hours: float | None = None
    """Hours that training may take; devices are doubled until it does."""
    batch_size: int | None = None
    """Tokens of a training step; None takes the smallest at which products outweigh passes over the weights."""
    compute: Compute | None = None
    """Numbers in products; None takes float32 on a processor and the faster type on a GPU."""
    stored: Dtype = "float16"
    """Type of stored rows."""
    disk_gb: float | None = None
    """Disk room for activations, 10⁹ bytes; None takes what is free here for `this`, and 10 TB elsewhere."""
    index_tokens: int | None = None
    """Tokens to index; None takes the tenth that is held out, at most 10 million."""
    forwards: int = 65_536
    """Forwards that a risk estimate may spend; a gradient counts two more."""
    prompt_tokens: int = 16
    """Tokens of an input of the risk estimate."""

    def __post_init__(self) -> None:
        counts = ("n_features", "k", "tokens", "epochs", "context", "forwards", "prompt_tokens")
        optional = ("devices", "batch_size", "index_tokens", "within_hours", "disk_gb")
        given = {name: getattr(self, name) for name in (*counts, *optional)}
        for name, value in given.items():
            if value is not None and value <= 0:
                raise ConfigError(f"{name} is {value}: expected a positive number")
        if self.devices is not None and self.within_hours is not None:
            raise ConfigError("devices and within_hours exclude each other: the hours decide how many devices")
        if self.k > self.n_features:
            raise ConfigError(f"k is {self.k}, more than the {self.n_features} features there are")
        if not self.hookpoint:
            raise ConfigError("no hookpoint was given: expected at least one, such as layers.15")

    @property
    def indexed(self) -> int:
        """Tokens that are indexed."""
        return self.index_tokens or max(1, min(self.tokens // 10, 10_000_000))


DEFAULTS = PlanSettings()
"""The settings as they are."""
