"""`bathyscope risk`: the probability of an event that a file states, by one estimator or several."""

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from bathyscope import artifacts
from bathyscope.activations.share import ALL, Share
from bathyscope.artifacts import Draft, Recipe
from bathyscope.cli.command import Command
from bathyscope.cli.terminal import result, say
from bathyscope.errors import ConfigError
from bathyscope.files import sha256, write_atomic
from bathyscope.launch.group import joined
from bathyscope.launch.together import together
from bathyscope.risk.bench.methods import EACH, ONE_PASS
from bathyscope.risk.budget import Budget
from bathyscope.risk.estimate import Estimate
from bathyscope.risk.estimates import KIND, estimate_of, read_estimates, write_estimates
from bathyscope.risk.estimators.auto import Auto
from bathyscope.risk.estimators.estimator import Estimator
from bathyscope.risk.problem import Problem
from bathyscope.risk.run import estimate, require_draws, require_level, require_round
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
    """Estimate, print a line for each estimator as it ends, write the folder; goes on behind the last that ended."""
    strange = [name for name in config.methods if name not in ESTIMATORS]
    if strange or not config.methods or len(set(config.methods)) < len(config.methods):
        given, known = (", ".join(map(repr, names)) for names in (config.methods, ESTIMATORS))
        raise ConfigError(f"methods are {given or 'none'}: name each once, of {known}")
    require_level(config.level)
    require_draws(config.seed, config.batch_size)
    budget = Budget(forward=config.forward, seconds=config.seconds)
    problem = read_problem(config.problem)
    for name in config.methods:
        require_round(problem, ESTIMATORS[name], budget)
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
    if artifacts.is_finished(config.out, recipe):
        for one in read_estimates(config.out):
            _show(one, problem, as_json=config.json)
        return
    job = _Job(config, problem, budget, recipe)
    with joined() as mesh:
        if mesh.is_alone:
            _estimate(job, config.out, ALL)
        else:
            together(mesh, config.out, partial(_estimate, job), partial(_join, job))


@dataclass(frozen=True, slots=True)
class _Job:
    """What one call was asked for."""

    config: Risk
    problem: Problem
    budget: Budget
    recipe: Recipe


def _estimate(job: _Job, out: Path, share: Share) -> None:
    """Write the estimates of a share of the estimators, one after the other; each that is done is kept."""
    config = job.config
    recipe = (
        job.recipe if share == ALL else dataclasses.replace(job.recipe, config={**job.recipe.config, "share": share})
    )
    if artifacts.is_finished(out, recipe):
        return
    names = [name for number, name in enumerate(config.methods) if share.has(number)]
    with artifacts.draft(out, recipe) as work:
        found = [estimate_of(row) for row in (work.state() or {"rows": []})["rows"]]
        for one in found:
            _show(one, job.problem, as_json=config.json)
        for name in names[len(found) :]:
            found.append(_estimated(name, job.problem, job.budget, config))
            work.checkpoint({"rows": [one.row() for one in found]})
        _write(work, found)


def _join(job: _Job, parts: Sequence[Path]) -> None:
    """Write the estimates of all shares in the order asked, and show those of other processes."""
    shares = [read_estimates(part) for part in parts]
    found = [shares[number % len(parts)][number // len(parts)] for number in range(len(job.config.methods))]
    with artifacts.draft(job.config.out, job.recipe) as work:
        _write(work, found)
    for number, one in enumerate(found):
        if not Share(number=0, of=len(parts)).has(number):
            _show(one, job.problem, as_json=job.config.json)


def _write(work: Draft, found: Sequence[Estimate]) -> None:
    """The rows, and where there are some a picture of them."""
    write_estimates(work.path, found)
    if found:
        write_atomic(work.path / PICTURE, ladder(found, title=found[0].problem).encode())


def _estimated(name: str, problem: Problem, budget: Budget, config: Risk) -> Estimate:
    """What one estimator finds, shown as well. After Ctrl-C it is shown and nothing more: KeyboardInterrupt goes on."""
    one = estimate(
        problem, ESTIMATORS[name], budget, seed=config.seed, level=config.level, batch_size=config.batch_size
    )
    _show(one, problem, as_json=config.json)
    if "by_hand" in one.flags:
        raise KeyboardInterrupt
    return one


def _show(one: Estimate, problem: Problem, *, as_json: bool) -> None:
    """A line for the estimate and the likeliest inputs that show the event; with `--json` one object."""
    say(str(one), as_json=as_json)
    for witness in one.witnesses[:3]:
        say(f"    {problem.model.tokenizer.decode(list(witness.tokens))!r}", as_json=as_json)
    if as_json:
        result({"estimate": one.row()}, as_json=True)
