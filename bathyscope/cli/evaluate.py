"""`bathyscope evaluate`: a dictionary's fidelity on held-out documents, beside its nulls."""

from dataclasses import dataclass, field
from pathlib import Path

from bathyscope.activations.store import ActivationStore
from bathyscope.cli.command import Command
from bathyscope.cli.terminal import result
from bathyscope.dictionaries.dictionary import load_dictionary
from bathyscope.evaluation.fidelity import FidelitySettings, fidelity
from bathyscope.models.load import load_model


@dataclass(frozen=True, slots=True, kw_only=True)
class Evaluate(Command):
    """Which dictionary to measure, on which activations."""

    dictionary: Path
    """Folder of kind `dictionary`."""
    activations: Path
    """Folder of kind `activations` with held-out documents."""
    out: Path
    """Folder to write (kind `scores`)."""
    model: str = "smollm2"
    """The model the activations came from."""
    settings: FidelitySettings = field(default_factory=FidelitySettings)
    """How much is measured."""


def run(config: Evaluate) -> None:
    """Measure and print every figure with its interval, nulls included."""
    scores = fidelity(
        load_model(config.model),
        load_dictionary(config.dictionary),
        ActivationStore(config.activations),
        out=config.out,
        parents={"dictionary": config.dictionary, "activations": config.activations},
        settings=config.settings,
    )
    for row in scores:
        name = f"{row.metric} · {row.subject}"
        text = f"{row.value:.4f}  [{row.low:.4f}, {row.high:.4f}]  {row.n} {row.unit}"
        fields = {"metric": row.metric, "subject": row.subject, "value": row.value, "low": row.low, "high": row.high}
        result(fields if config.json else {name: text}, as_json=config.json)
