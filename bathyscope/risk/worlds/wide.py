"""The wide world: sixteen random positions, a transformer of one layer, and the truth counted over 2²⁸ samples.

Counting takes a quarter of an hour and more of one core, and training does not give the same bytes on every machine:
network, law and counts come with the package, as the folders that `make_wide` wrote.
"""

from dataclasses import dataclass, field
from pathlib import Path

from bathyscope.models.load import load_model
from bathyscope.models.model import Model
from bathyscope.risk.inputs.product import ProductTokens
from bathyscope.risk.worlds.counting import CountSettings, count_tokens
from bathyscope.risk.worlds.language import RandomLanguageSettings
from bathyscope.risk.worlds.network import NetworkSettings, train_small_network
from bathyscope.risk.worlds.truth import Truth, read_truth
from bathyscope.risk.worlds.zipf_law import ZipfLawSettings, zipf_law

STORED = Path(__file__).parent / "stored" / "wide"


@dataclass(frozen=True, slots=True, kw_only=True)
class WideSettings:
    """Settings of `make_wide`."""

    network: NetworkSettings = field(
        default_factory=lambda: NetworkSettings(
            language=RandomLanguageSettings(n_vocabulary=256, order=16, decay=0.85),
            n_layers=1,
            d_model=32,
            d_hidden=64,
            n_positions=18,
            n_steps=400,
            batch_size=64,
            lr=1e-2,
        )
    )
    """The network and the language that it learns."""
    law: ZipfLawSettings = field(default_factory=lambda: ZipfLawSettings(n_positions=16, n_options=32, exponent=1.0))
    """What it is asked."""
    count: CountSettings = field(default_factory=CountSettings)
    """How the truth is counted."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class WideWorld:
    """A problem with many random positions and its truth."""

    model: Model
    """The network."""
    law: ProductTokens
    """Its inputs."""
    truth: Truth
    """How likely each token is to be the likeliest next one; bounds are 95 % intervals."""

    def events(self, low: float, high: float) -> tuple[int, ...]:
        """Tokens with low < p < high whose bounds are less than a factor 2.5 apart, the likeliest first."""
        return self.truth.events(low, high)


def make_wide(settings: WideSettings, *, out: str | Path) -> WideWorld:
    """The world in folder `out`: trains `model` there, then counts `truth`, each gone on with where it stopped."""
    folder = Path(out)
    train_small_network(settings.network, out=folder / "model")
    law = zipf_law(settings.law, n_vocabulary=settings.network.language.n_vocabulary)
    count_tokens(folder / "model", law, settings.count, out=folder / "truth")
    return open_wide(folder)


def open_wide(folder: str | Path = STORED) -> WideWorld:
    """The world that `make_wide` wrote into `folder`; without one, the world that comes with the package."""
    truth, law = read_truth(Path(folder) / "truth")
    return WideWorld(model=load_model(Path(folder) / "model"), law=law, truth=truth)
