"""`bathyscope probe`: do one, two or five features of a dictionary tell what a text is about?"""

from dataclasses import dataclass, field
from pathlib import Path

from bathyscope.cli.command import Command
from bathyscope.cli.score_rows import load_named, show_scores
from bathyscope.evaluation.probing import ProbeSettings, probe
from bathyscope.evaluation.tasks import DEFAULT_TASKS, TASKS
from bathyscope.models.load import load_model


@dataclass(frozen=True, slots=True, kw_only=True)
class Probe(Command):
    """Which dictionaries to probe, on which labelled sets."""

    out: Path
    """Folder to write (kind `scores`, with the chosen features in `probes.jsonl`)."""
    dictionary: tuple[Path, ...] = ()
    """Folders of kind `dictionary`, all of one hookpoint; none measures the baselines alone."""
    model: str = "smollm2"
    """The model that the dictionaries were trained on."""
    hookpoint: str | None = None
    """Where the activations are read; only needed when no dictionary says it."""
    task: tuple[str, ...] = DEFAULT_TASKS
    """Labelled sets, or `all`: those of this list and the four of a larger download."""
    per_task: bool = False
    """Print the figures of each task, not only their means."""
    settings: ProbeSettings = field(default_factory=ProbeSettings)
    """How much text is probed, and with how many features."""


def run(config: Probe) -> None:
    """Probe and print the means over tasks with their intervals, baselines and nulls included."""
    dictionaries, parents = load_named(config.dictionary)
    rows = probe(
        load_model(config.model),
        dictionaries,
        out=config.out,
        tasks=tuple(TASKS) if config.task == ("all",) else config.task,
        hookpoint=config.hookpoint,
        parents=parents,
        settings=config.settings,
    )
    show_scores(rows, as_json=config.json, is_shown=lambda row: config.per_task or row.metric.endswith("mean of tasks"))
