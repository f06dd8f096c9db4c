"""`bathyscope vector-steer`: answers with a steering vector added, beside the plain answer and a random direction."""

from dataclasses import dataclass
from pathlib import Path

from bathyscope.cli.command import Command
from bathyscope.cli.terminal import result, say
from bathyscope.errors import ConfigError
from bathyscope.models.load import load_model
from bathyscope.steering.arm import Arm
from bathyscope.steering.numbers import is_number
from bathyscope.steering.operations.random_direction import RandomDirection
from bathyscope.steering.trials import TrialSettings, run_trials
from bathyscope.vectors.exchange import load_vector
from bathyscope.vectors.vector import SteeringVector, Unit

PLAIN, VECTOR, RANDOM = "plain", "vector", "random direction"


@dataclass(frozen=True, slots=True, kw_only=True)
class VectorSteer(Command):
    """Which vector, how much of it, and what to ask."""

    vector: Path
    """Folder of kind `vector`, or a .gguf, .safetensors or .pt file."""
    out: Path
    """Folder to write (kind `trials`)."""
    prompts: tuple[str, ...]
    """What the model is told."""
    strengths: tuple[float, ...] = (0.2, 0.4)
    """Multiples of the unit; below 0 turns the vector round."""
    unit: Unit = "norm"
    """What a strength is a multiple of; imported vectors have their own length alone."""
    model: str = "smollm2"
    """The model that the vector belongs to."""
    max_new_tokens: int = 40
    """Longest answer, in tokens."""
    temperature: float = 0.0
    """0 answers greedily; above, tokens are sampled at this temperature."""
    seed: int = 0
    """Seed of sampling and of the random direction."""


def run(config: VectorSteer) -> None:
    """Answer every prompt plainly, with the vector, and with the control; print the answers."""
    are_numbers = bool(config.strengths) and all(map(is_number, config.strengths))
    if not are_numbers or 0 in config.strengths or len(set(config.strengths)) < len(config.strengths):
        raise ConfigError(
            f"strengths are {config.strengths}, expected one or more finite numbers other than 0, none of them twice"
        )
    settings = TrialSettings(
        instructions=config.prompts,
        max_new_tokens=config.max_new_tokens,
        temperature=config.temperature,
        seed=config.seed,
    )
    vector = load_vector(config.vector)
    parents = {"vector": config.vector} if config.vector.is_dir() else {}
    rows = run_trials(
        load_model(config.model), arms(vector, config), out=config.out, parents=parents, settings=settings
    )
    order = sorted(rows, key=lambda row: row.instruction)
    for row in order:
        head = PLAIN if row.method == PLAIN else f"{row.method} at {row.factor:g} {config.unit}"
        say(f"\n{row.prompt}\n  [{head}]\n  {row.text.strip()}", as_json=config.json)
    result({"trials": str(config.out), "answers": len(rows)}, as_json=config.json)


def arms(vector: SteeringVector, config: VectorSteer) -> list[Arm]:
    """The plain model, the vector at all its hookpoints, and random directions as long at the same hookpoints."""
    added = {value: vector.add_all(value, config.unit) for value in config.strengths}
    identity = {"digest": vector.digest, "unit": config.unit}
    subject = str(config.vector)
    random = {value: [RandomDirection(each, config.seed) for each in moves] for value, moves in added.items()}
    return [
        Arm.unsteered(subject, PLAIN),
        Arm(concept=subject, method=VECTOR, operations=added, identity=identity),
        Arm(concept=subject, method=RANDOM, operations=random, identity=identity),
    ]
