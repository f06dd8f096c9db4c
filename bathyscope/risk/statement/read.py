"""`read_problem`: a problem from a TOML file.

model = "smollm2"

[inputs]
kind = "slots"
text = "My {relative} is {age} years old and"
fillings.relative = ["mother", "father", "aunt"]
fillings.age = { "30" = 0.9, "95" = 0.1 }

[event]
kind = "argmax"
token = " died"
"""

import tomllib
from pathlib import Path

from bathyscope.errors import ConfigError
from bathyscope.models.load import load_model
from bathyscope.risk.problem import Problem
from bathyscope.risk.statement.events import read_event
from bathyscope.risk.statement.inputs import read_inputs
from bathyscope.risk.statement.table import Table


def read_problem(file: Path) -> Problem:
    """The problem that the file states; paths in it are relative to its folder. Raises ConfigError, naming the key."""
    if not file.is_file():
        raise ConfigError(f"there is no file {file}; state model, inputs and event in a TOML file")
    try:
        data = tomllib.loads(file.read_text(encoding="utf-8-sig"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{file} is no TOML: {error}") from error
    for part in ("inputs", "event"):
        if part not in data:
            raise ConfigError(f"{file} has no table [{part}]; write one, as docs/risk.md shows")
    whole = Table(file.name, data)
    inputs = Table(f"{file.name}, [inputs]", whole.get("inputs", dict))
    event = Table(f"{file.name}, [event]", whole.get("event", dict))
    model = load_model(whole.get("model", str, "smollm2"))
    whole.done()
    return Problem(
        model=model,
        inputs=read_inputs(inputs, model, beside=file.parent),
        event=read_event(event, model, beside=file.parent),
    )
