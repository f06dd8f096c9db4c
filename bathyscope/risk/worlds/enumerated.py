"""Enumerated worlds: a small transformer, laws with few inputs, and exact probabilities of every next token.

Several laws (other tokens, in another order) over one network are several worlds.
"""

from dataclasses import dataclass, field
from pathlib import Path

from jaxtyping import Float, Int
from torch import Tensor

from bathyscope.errors import ConfigError
from bathyscope.models.model import Model
from bathyscope.risk.inputs.product import ProductTokens
from bathyscope.risk.worlds.enumeration import enumerate_tokens, numbers_of, tabulate_margins
from bathyscope.risk.worlds.language import RandomLanguageSettings
from bathyscope.risk.worlds.network import NetworkSettings, train_small_network
from bathyscope.risk.worlds.truth import Truth
from bathyscope.risk.worlds.zipf_law import ZipfLawSettings, zipf_law


@dataclass(frozen=True, slots=True, kw_only=True)
class EnumeratedSettings:
    """Settings of `make_enumerated`."""

    network: NetworkSettings = field(
        default_factory=lambda: NetworkSettings(
            language=RandomLanguageSettings(n_vocabulary=384, order=2, sharpness=4.0), n_positions=6
        )
    )
    """The network and the language that it learns."""
    laws: tuple[ZipfLawSettings, ...] = (ZipfLawSettings(seed=0), ZipfLawSettings(seed=1))
    """What it is asked: each is a world of its own."""

    def __post_init__(self) -> None:
        longest = max((law.n_positions for law in self.laws), default=0)
        if not self.laws or longest >= self.network.n_positions:
            raise ConfigError(
                f"the network reads {self.network.n_positions} tokens; give laws of fewer random positions than that"
            )


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class EnumeratedWorld:
    """A problem whose every input has been asked."""

    model: Model
    """The network."""
    law: ProductTokens
    """Its inputs."""
    truth: Truth
    """How likely each token is to be the likeliest next one; exact but for nearly equal logits."""
    folder: Path
    """Holds `model`, and what `make_enumerated` and `margins` keep."""

    def events(self, low: float, high: float) -> tuple[int, ...]:
        """Tokens with low < p < high, the likeliest first."""
        return self.truth.events(low, high)

    def margins(self, targets: tuple[int, ...], *, out: str | Path) -> Float[Tensor, "inputs targets"]:
        """For every input its margin to each target, from folder `out`, made there first if it is not.

        Row `world.numbers(choices)` belongs to those choices: an estimator that needs no gradient can be repeated
        thousands of times without the network.
        """
        return tabulate_margins(self.folder / "model", self.law, targets, out=Path(out))

    def numbers(self, choices_NC: Int[Tensor, "N C"]) -> Int[Tensor, " N"]:
        """Rows of the table of margins."""
        return numbers_of(self.law, choices_NC)


def make_enumerated(settings: EnumeratedSettings, *, out: str | Path) -> tuple[EnumeratedWorld, ...]:
    """The worlds in folder `out`: trains `model` there, then enumerates `truth-0`, `truth-1`, …, where missing."""
    folder = Path(out)
    model = train_small_network(settings.network, out=folder / "model")
    laws = [zipf_law(law, n_vocabulary=settings.network.language.n_vocabulary) for law in settings.laws]
    return tuple(
        EnumeratedWorld(
            model=model,
            law=law,
            truth=enumerate_tokens(folder / "model", law, out=folder / f"truth-{number}"),
            folder=folder,
        )
        for number, law in enumerate(laws)
    )
