"""`bathyscope concepts`: which features carry a concept, with evidence from texts that did not choose them."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

from bathyscope.cli.command import Command
from bathyscope.cli.terminal import result, say
from bathyscope.dictionaries.dictionary import load_dictionary
from bathyscope.errors import ConfigError
from bathyscope.evaluation.concepts import TABLE, ConceptSettings, find_concepts
from bathyscope.evaluation.definitions import Definition, read_definitions, read_labelled, safety_definitions
from bathyscope.evaluation.labelled import LabelledSet
from bathyscope.evaluation.tasks import open_task
from bathyscope.explanations.reader import Explanations
from bathyscope.explanations.search import word_texts
from bathyscope.features.text_search import TextSearch
from bathyscope.models.load import load_model


@dataclass(frozen=True, slots=True, kw_only=True)
class Concepts(Command):
    """Which concepts to look for, in which dictionary."""

    dictionary: Path
    """Folder of kind `dictionary`."""
    out: Path
    """Folder to write (kind `scores`, with the features in `features.jsonl` and all of it to read in `table.md`)."""
    definitions: Path | None = None
    """A TOML file of your own concepts; without it and without texts or tasks, those that matter for safety."""
    texts: tuple[Path, ...] = ()
    """Files of JSON lines {text, label, group}, each a concept."""
    task: tuple[str, ...] = ()
    """Labelled sets of the library (`bathyscope probe --help` names them), each a concept."""
    feature: tuple[int, ...] = ()
    """Features that get evidence for every concept, whether or not they are found."""
    explanations: Path | None = None
    """Folder of kind `explanations`: features whose words are a concept's own get evidence, too."""
    n_by_words: int = 3
    """How many such features for each concept."""
    model: str = "smollm2"
    """The model that the dictionary belongs to."""
    settings: ConceptSettings = field(default_factory=ConceptSettings)
    """How much is read, how many features are found, and how large the nulls are."""


def run(config: Concepts) -> None:
    """Find the features and print the table."""
    definitions = _definitions(config)
    sets: list[LabelledSet] = [definition.labelled for definition in definitions]
    sets += [*map(read_labelled, config.texts), *map(open_task, config.task)]
    parents = {"dictionary": config.dictionary}
    if config.explanations is not None:
        parents["explanations"] = config.explanations
    found = find_concepts(
        load_model(config.model),
        load_dictionary(config.dictionary),
        sets,
        out=config.out,
        brought=_brought(config, definitions, sets),
        parents=parents,
        settings=config.settings,
    )
    if config.json:
        for one in found:
            result(asdict(one), as_json=True)
    say((config.out / TABLE).read_text(), as_json=config.json)
    result({"concepts": str(config.out / TABLE)}, as_json=config.json)


def _definitions(config: Concepts) -> list[Definition]:
    if config.definitions is not None:
        return read_definitions(config.definitions)
    return [] if config.texts or config.task else safety_definitions()


def _brought(
    config: Concepts, definitions: Sequence[Definition], sets: Sequence[LabelledSet]
) -> dict[str, dict[int, str]]:
    """Concept → feature → where it comes from: named by the user, or found by the concept's words."""
    brought = {each.name: dict.fromkeys(config.feature, "named") for each in sets}
    if config.explanations is None:
        return brought
    explanations = Explanations(config.explanations)
    _require_same(config, explanations)
    with TextSearch(word_texts(explanations, explanations.default_method)) as texts:
        for definition in definitions:
            if definition.words:
                by_words = texts.find(" ".join(definition.words), n=config.n_by_words)
                own = brought[definition.labelled.name]
                for feature in (one.feature for one in by_words):
                    own[feature] = f"{own[feature]}, words" if feature in own else "words"
    return brought


def _require_same(config: Concepts, explanations: Explanations) -> None:
    if explanations.manifest.config["dictionary"] != load_dictionary(config.dictionary).digest:
        raise ConfigError(f"{config.explanations} explains another dictionary; give the one that it was made with")
