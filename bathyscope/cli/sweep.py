"""`bathyscope sweep`: several dictionaries from one stream, then all of them on held-out documents."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from bathyscope.activations.match import require_same_model
from bathyscope.activations.store import ActivationStore
from bathyscope.cli.command import Command
from bathyscope.cli.terminal import result
from bathyscope.dictionaries.grid import grid, read_members
from bathyscope.dictionaries.train import TrainSettings
from bathyscope.dictionaries.train_many import train_many
from bathyscope.errors import ConfigError
from bathyscope.evaluation.compare import PLOT, TABLE, Compared, compare, place_for
from bathyscope.evaluation.fidelity import FidelitySettings
from bathyscope.models.load import load_model
from bathyscope.models.model import Model


@dataclass(frozen=True, slots=True, kw_only=True)
class Sweep(Command):
    """Which dictionaries, on what, and how they are trained and compared."""

    activations: Path
    """Folder of kind `activations` with held-out documents."""
    out: Path
    """Run folder: a folder of kind `dictionary` for each member, and one of kind `comparison`."""
    hookpoint: str | None = None
    """Which hookpoint of the activations; needed only when they hold several."""
    kinds: tuple[str, ...] = ("topk",)
    """Kinds of dictionary; every kind is trained at every size, k and seed."""
    n_features: tuple[int, ...] = (4608,)
    """Sizes."""
    k: tuple[int, ...] = (16, 32, 64)
    """Active features per token; a kind that takes no such number is trained once for each size and seed."""
    seeds: tuple[int, ...] = (0,)
    """Seeds of the start weights; the order of batches is the same for all."""
    members: Path | None = None
    """JSON file `{name: settings as in config.json}` instead of kinds, sizes, k and seeds."""
    model: str = "smollm2"
    """The model the activations came from."""
    evaluate_rows: int = 50_000
    """Held-out activations for variance explained, L0 and dead share."""
    evaluate_tokens: int = 16_384
    """Held-out tokens on which the model is run with the layer replaced."""
    settings: TrainSettings = field(default_factory=TrainSettings)
    """How they are trained."""


def run(config: Sweep) -> None:
    """Train what is not there yet, compare all, print a line for each."""
    if config.members is None:
        members = grid(config.kinds, n_features=config.n_features, k=config.k, seeds=config.seeds)
    else:
        members = read_members(config.members)
    store, model = ActivationStore(config.activations), load_model(config.model)
    _require_comparable(store, model, members)
    made = train_many(store, members, out=config.out, hookpoint=config.hookpoint, settings=config.settings)
    settings = FidelitySettings(n_rows=config.evaluate_rows, n_tokens=config.evaluate_tokens)
    place = place_for(config.out, made, settings)
    rows = compare(model, made, store, out=place, settings=settings)
    _say(rows, place, [name for name in members if name not in made], as_json=config.json)


def _require_comparable(store: ActivationStore, model: Model, names: Iterable[str]) -> None:
    """Refuse before the work what would be refused after it."""
    taken = [name for name in names if name.startswith("comparison")]
    if taken:
        raise ConfigError(f"no dictionary can be named {taken[0]}: that is the folder of a comparison")
    require_same_model(model, None, store)
    if len(store.rows("held_out")) == 0:
        raise ConfigError(f"{store.path} holds no held-out document: collect more text or a larger held-out share")


def _say(rows: Sequence[Compared], place: Path, diverged: Sequence[str], *, as_json: bool) -> None:
    if as_json:
        for row in rows:
            figures = {score.metric: score.value for score in row.scores if score.subject == "dictionary"}
            result({"dictionary": row.name, **figures}, as_json=True)
    else:
        result({row.name: _line(row) for row in rows}, as_json=False)
    last = {"table": str(place / TABLE), "plot": str(place / PLOT)}
    result(last | ({"diverged": ", ".join(diverged)} if diverged else {}), as_json=as_json)


def _line(row: Compared) -> str:
    shown = [f"L0 {row.score('L0').value:.1f}"]
    for metric in ("variance explained", "CE loss recovered"):
        null = row.score(metric, "random dictionary").value
        shown.append(f"{metric} {row.score(metric).value:.3f} (random {null:.3f})")
    return "  ".join([*shown, f"dead {row.score('dead share').value:.1%}"])
