"""`bathyscope train`: a sparse dictionary from activations."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

import tyro

from bathyscope.activations.beside import Beside
from bathyscope.activations.store import ActivationStore
from bathyscope.cli.command import Command
from bathyscope.cli.terminal import result
from bathyscope.dictionaries.abs_topk import AbsTopK
from bathyscope.dictionaries.batch_topk import BatchTopK
from bathyscope.dictionaries.crosscoder import Crosscoder
from bathyscope.dictionaries.dictionary import Dictionary
from bathyscope.dictionaries.frozen import Part, hold
from bathyscope.dictionaries.gated import Gated
from bathyscope.dictionaries.jumprelu import JumpReLU
from bathyscope.dictionaries.matryoshka import Matryoshka
from bathyscope.dictionaries.p_anneal import PAnneal
from bathyscope.dictionaries.pursuit import MatchingPursuit
from bathyscope.dictionaries.relu import ReLU
from bathyscope.dictionaries.shift import Shift
from bathyscope.dictionaries.temporal import Temporal
from bathyscope.dictionaries.topk import TopK
from bathyscope.dictionaries.train import TrainSettings, train
from bathyscope.dictionaries.transcoder import Transcoder
from bathyscope.errors import ConfigError
from bathyscope.launch.group import joined

Kind = (
    Annotated[TopK, tyro.conf.subcommand("topk")]
    | Annotated[AbsTopK, tyro.conf.subcommand("abstopk")]
    | Annotated[BatchTopK, tyro.conf.subcommand("batchtopk")]
    | Annotated[Matryoshka, tyro.conf.subcommand("matryoshka")]
    | Annotated[Temporal, tyro.conf.subcommand("temporal")]
    | Annotated[JumpReLU, tyro.conf.subcommand("jumprelu")]
    | Annotated[Gated, tyro.conf.subcommand("gated")]
    | Annotated[PAnneal, tyro.conf.subcommand("panneal")]
    | Annotated[ReLU, tyro.conf.subcommand("relu")]
    | Annotated[MatchingPursuit, tyro.conf.subcommand("matchingpursuit")]
    | Annotated[Shift, tyro.conf.subcommand("shift")]
    | Annotated[Transcoder, tyro.conf.subcommand("transcoder")]
    | Annotated[Crosscoder, tyro.conf.subcommand("crosscoder")]
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Train(Command):
    """What to train on, which kind, and how."""

    activations: Annotated[tuple[Path, ...], tyro.conf.UseAppendAction]
    """Folder of kind `activations`; give the option twice to put two models side by side for a crosscoder."""
    out: Path
    """Folder to write (kind `dictionary`)."""
    hookpoint: Annotated[tuple[str, ...], tyro.conf.UseAppendAction] = ()
    """Which hookpoint, if there are several; given twice (input, output) for a transcoder, or more for a crosscoder."""
    start_from: str | None = None
    """Dictionary of the same size and rule to go on from: its folder, or its id on the Hub."""
    frozen: Part | None = None
    """Hold a part of the kind at its random start: the null to read the dictionary's figures against."""
    feature_ranks: int = 1
    """Of several processes (`launch`, torchrun): how many share the features; tokens are split over the rest."""
    kind: Kind = field(default_factory=TopK)
    """Kind of dictionary."""
    settings: TrainSettings = field(default_factory=TrainSettings)
    """How it is trained."""


def run(config: Train) -> None:
    """Train and print what was learnt."""
    store = _opened(config.activations)
    kind = config.kind if config.frozen is None else hold(config.kind, config.frozen)
    with joined(feature_ranks=config.feature_ranks) as mesh:
        dictionary = train(
            store,
            kind,
            out=config.out,
            hookpoint=config.hookpoint if len(config.hookpoint) > 1 else next(iter(config.hookpoint), None),
            settings=config.settings,
            start_from=config.start_from,
            mesh=mesh,
        )
    figures = {"dictionary": str(config.out), "features": dictionary.n_features, **_places(dictionary)}
    result({**figures, "digest": dictionary.digest}, as_json=config.json)


def _places(dictionary: Dictionary) -> dict[str, str | None]:
    """Where it reads, and of a transcoder where it writes."""
    if dictionary.blocks:
        return {"hookpoints": ", ".join(block.name for block in dictionary.blocks)}
    written = dictionary.output_hookpoint
    return {"hookpoint": dictionary.hookpoint, **({} if written is None else {"writes to": written})}


def _opened(folders: tuple[Path, ...]) -> ActivationStore | Beside:
    if len(folders) == 1:
        return ActivationStore(folders[0])
    if len(folders) != 2:
        raise ConfigError(f"{len(folders)} folders of activations were given: expected one, or two side by side")
    return Beside(ActivationStore(folders[0]), ActivationStore(folders[1]))
