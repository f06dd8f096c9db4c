"""`bathyscope vector`: a steering vector from labelled texts or pairs, and what it is worth as a detector."""

import dataclasses
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

import tyro

from bathyscope.activations.pairs.store import PairStore
from bathyscope.cli.command import Command
from bathyscope.cli.score_rows import show_scores
from bathyscope.cli.terminal import result
from bathyscope.dictionaries.dictionary import Dictionary, load_dictionary
from bathyscope.errors import ConfigError
from bathyscope.evaluation.definitions import read_labelled
from bathyscope.evaluation.tasks import open_task
from bathyscope.explanations.reader import Explanations
from bathyscope.explanations.search import word_texts
from bathyscope.features.text_search import TextSearch
from bathyscope.models.load import load_model
from bathyscope.models.model import Model
from bathyscope.vectors.contrast import Contrast, ReadSettings, contrast_of_pairs, contrast_of_texts
from bathyscope.vectors.decoder_row import DecoderRow
from bathyscope.vectors.denoised import DenoisedDiffMean
from bathyscope.vectors.diff_mean import DiffMean
from bathyscope.vectors.learn import VectorSettings, learn_vector
from bathyscope.vectors.learner import Learner
from bathyscope.vectors.logistic import LogisticProbe
from bathyscope.vectors.multimax import MultiMax
from bathyscope.vectors.principal_component import PrincipalComponent
from bathyscope.vectors.reft import ReFTr1
from bathyscope.vectors.shift_column import ShiftColumn
from bathyscope.vectors.tomography import Tomography

Method = (
    Annotated[DiffMean, tyro.conf.subcommand("diffmean")]
    | Annotated[PrincipalComponent, tyro.conf.subcommand("pca")]
    | Annotated[Tomography, tyro.conf.subcommand("lat")]
    | Annotated[LogisticProbe, tyro.conf.subcommand("logistic")]
    | Annotated[MultiMax, tyro.conf.subcommand("multimax")]
    | Annotated[ReFTr1, tyro.conf.subcommand("reft-r1")]
    | Annotated[DecoderRow, tyro.conf.subcommand("decoder-row")]
    | Annotated[ShiftColumn, tyro.conf.subcommand("shift-column")]
    | Annotated[DenoisedDiffMean, tyro.conf.subcommand("denoised")]
)
USUAL = "layers.15"


@dataclass(frozen=True, slots=True, kw_only=True)
class Vector(Command):
    """What to tell apart, where, and how. Give one of `--texts`, `--task` and `--pairs`."""

    out: Path
    """Folder to write (kind `vector`)."""
    texts: Path | None = None
    """A file of JSON lines {text, label, group}."""
    task: str | None = None
    """A labelled set of the library (`bathyscope probe --help` names them)."""
    pairs: Path | None = None
    """Folder of kind `pairs`; its second sides are the true ones unless `--value` says which are."""
    factor: str | None = None
    """Of pairs: only those in which this factor changed."""
    value: str | None = None
    """Of pairs: the side on which the factor has this value is the true one."""
    hookpoint: Annotated[tuple[str, ...], tyro.conf.UseAppendAction] = ()
    """Module to read (name or glob), once or more; without one the dictionary's, all of the pairs', else layers.15."""
    model: str = "smollm2"
    """Bundled name, local folder, .gguf file or Hub id."""
    dictionary: Path | None = None
    """Folder of kind `dictionary`, for decoder-row, shift-column and denoised."""
    explanations: Path | None = None
    """Folder of kind `explanations`: decoder-row takes the feature whose words match `--words` best."""
    words: str | None = None
    """What that feature should be about."""
    reading: ReadSettings = field(default_factory=ReadSettings)
    """How labelled texts are read."""
    settings: VectorSettings = field(default_factory=VectorSettings)
    """How the vector is learnt and measured."""
    method: Method = field(default_factory=DiffMean)
    """How the direction is found."""


def run(config: Vector) -> None:
    """Learn, and print detection on the reporting half beside its nulls, with the units of strength."""
    model = load_model(config.model)
    dictionary = None if config.dictionary is None else load_dictionary(config.dictionary)
    method = _method(config, dictionary)
    parents = {"dictionary": config.dictionary, "explanations": config.explanations}
    vector = learn_vector(
        _contrast(config, model, dictionary),
        method,
        out=config.out,
        model=model,
        dictionary=dictionary,
        parents={role: folder for role, folder in parents.items() if folder is not None},
        settings=config.settings,
    )
    show_scores(vector.scores, as_json=config.json)
    for hookpoint, known in vector.units.items():
        result({hookpoint: str(vector.origin["chosen"][hookpoint] or "nothing to choose")}, as_json=config.json)
        result(
            {f"{name} · {hookpoint}": value for name, value in dataclasses.asdict(known).items()}, as_json=config.json
        )
    result({"vector": str(config.out)}, as_json=config.json)


def _contrast(config: Vector, model: Model, dictionary: Dictionary | None) -> Contrast:
    """The contrast that the options name."""
    given = {"--texts": config.texts, "--task": config.task, "--pairs": config.pairs}
    named = [option for option, value in given.items() if value is not None]
    if len(named) != 1:
        raise ConfigError(f"{' and '.join(named) or 'nothing to learn from'} given; name one of {', '.join(given)}")
    if config.pairs is not None:
        return contrast_of_pairs(
            PairStore(config.pairs),
            factor=config.factor,
            value=config.value,
            hookpoint=config.hookpoint,
            halves_seed=config.reading.halves_seed,
        )
    if config.factor is not None or config.value is not None:
        raise ConfigError("--factor and --value choose among pairs; leave them out with labelled texts")
    labelled = read_labelled(config.texts) if config.texts is not None else open_task(str(config.task))
    own = USUAL if dictionary is None or dictionary.hookpoint is None else dictionary.hookpoint
    return contrast_of_texts(model, labelled, hookpoint=config.hookpoint or (own,), settings=config.reading)


def _method(config: Vector, dictionary: Dictionary | None) -> Learner:
    """The method, with the feature that the words of explanations choose."""
    if config.explanations is None and config.words is None:
        return config.method
    if config.explanations is None or config.words is None or not isinstance(config.method, DecoderRow):
        raise ConfigError("a feature is chosen by its words with --explanations, --words and the method decoder-row")
    explanations = Explanations(config.explanations)
    if dictionary is None or explanations.manifest.config["dictionary"] != dictionary.digest:
        raise ConfigError(f"{config.explanations} explains another dictionary; give --dictionary it was made with")
    with TextSearch(word_texts(explanations, explanations.default_method)) as texts:
        found = texts.find(config.words, n=1)
    if not found:
        raise ConfigError(f"no feature is explained by {config.words!r}; try other words")
    return dataclasses.replace(config.method, feature=found[0].feature)
