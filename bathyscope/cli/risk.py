"""`bathyscope risk`: the probability of an event that a file states, by one estimator or several."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from bathyscope import artifacts
from bathyscope.artifacts import Recipe
from bathyscope.cli.command import Command
from bathyscope.cli.terminal import result, say
from bathyscope.errors import ConfigError
from bathyscope.files import sha256, write_atomic
from bathyscope.risk.bench.methods import EACH, ONE_PASS
from bathyscope.risk.budget import Budget
from bathyscope.risk.estimates import KIND, read_estimates, write_estimates
from bathyscope.risk.estimators.auto import Auto
from bathyscope.risk.estimators.estimator import Estimator
from bathyscope.risk.run import estimate, require
from bathyscope.risk.scoring.ladder import ladder
from bathyscope.risk.statement.read import read_problem

AUTO = "auto"
ESTIMATORS: Mapping[str, Estimator] = {AUTO: Auto(), **ONE_PASS, **EACH}
PICTURE = "ladder.svg"


@dataclass(frozen=True, slots=True, kw_only=True)
class Risk(Command):
    """Which problem, what it may cost, and how."""

    problem: Path
    """TOML file that states model, inputs and event (docs/risk.md)."""
    out: Path
    """Folder to write (kind `estimates`): one row for each estimator, and a picture of them."""
    methods: tuple[str, ...] = (AUTO,)
    """Estimators, by the names of docs/risk.md (auto, naive, splitting, MHIS, and others)."""
    forward: int = 16_384
    """Rows that each estimator may send through the network; a row whose gradient is taken counts three."""
    seconds: float | None = None
    """Time limit of each estimator; None: none."""
    level: float = 0.95
    """Nominal coverage of the intervals."""
    batch_size: int = 64
    """Rows of a forward."""
    seed: int = 0
    """Of every draw."""


def run(config: Risk) -> None:
    """Estimate, write the folder, print a line for each estimator and the likeliest inputs that show the event."""
    strange = [name for name in config.methods if name not in ESTIMATORS]
    if strange or not config.methods or len(set(config.methods)) < len(config.methods):
        known = ", ".join(ESTIMATORS)
        raise ConfigError(f"methods are {', '.join(config.methods) or 'none'}: name each once, of {known}")
    problem, budget = read_problem(config.problem), Budget(forward=config.forward, seconds=config.seconds)
    for name in config.methods:
        require(problem, ESTIMATORS[name])
    recipe = Recipe(
        kind=KIND,
        config={
            "problem": sha256(config.problem),
            "model": dict(problem.model.identity),
            "methods": config.methods,
            "forward": config.forward,
            "seconds": config.seconds,
            "level": config.level,
        },
        seed=config.seed,
        materials=problem.model.materials,
    )
    if not artifacts.is_finished(config.out, recipe):
        with artifacts.draft(config.out, recipe) as work:
            found = [
                estimate(
                    problem,
                    ESTIMATORS[name],
                    budget,
                    seed=config.seed,
                    level=config.level,
                    batch_size=config.batch_size,
                )
                for name in config.methods
            ]
            write_estimates(work.path, found)
            write_atomic(work.path / PICTURE, ladder(found, title=found[0].problem).encode())
    for one in read_estimates(config.out):
        say(str(one), as_json=config.json)
        for witness in one.witnesses[:3]:
            say(f"    {problem.model.tokenizer.decode(list(witness.tokens))!r}", as_json=config.json)
        result({"estimate": one.row()}, as_json=config.json)
