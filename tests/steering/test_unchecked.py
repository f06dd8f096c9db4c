"""In a notebook nothing checks types: what is no number, list or operation is still refused in one line."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = """
import json
import torch
from steering.worlds import random_dictionary
from tiny import D_MODEL, tiny_model
import bathyscope as bs
from bathyscope.errors import BathyscopeError

model = tiny_model()
dictionary, up, at = random_dictionary(model), torch.ones(D_MODEL), "layers.1"
one = bs.Strength(1.0, 1.0, "activation")
push = bs.Add(up, one, at)
for line in CASES:
    try:
        said = f"accepted: {eval(line)}"
    except BathyscopeError as error:
        said = str(error)
    except Exception as error:
        said = f"{type(error).__name__} escaped: {error}"
    print(json.dumps(said))
"""

CASES = {
    "bs.Add(up, 2.0, at)": "Add needs a strength with its unit, found 2.0; give Strength.of_norm",
    "bs.Cap(up, 2.0, at)": "Cap needs a strength with its unit",
    "bs.Affine(up, 1.0, 2.0, at)": "Affine needs a strength with its unit",
    "bs.Affine(up, '1', None, at)": "scale is '1', expected a finite number",
    "bs.Calibrate(dictionary, [5], 2.0)": "Calibrate needs a strength with its unit",
    "bs.Enforce(dictionary, [5], 2.0)": "Enforce needs a strength with its unit",
    "bs.Amplify(dictionary, [5], '1')": "alpha is '1', expected a finite number",
    "bs.Amplify(dictionary, [5], 1.0, read='decoder')": "read is 'decoder', expected directions or encoder",
    "bs.Clamp(dictionary, [5], one)": "expected a finite number of observed maxima",
    "bs.Clamp(dictionary, ['5'], 1.0)": "features ['5']: give whole numbers from 0 to 47",
    "bs.Clamp(dictionary, [1.5], 1.0)": "features [1.5]: give whole numbers",
    "bs.Clamp(dictionary, [True], 1.0)": "features [True]: give whole numbers",
    "bs.Clamp(dictionary, 5, 1.0)": "features 5: give a list of whole numbers",
    "bs.Clamp(dictionary, '12', 1.0)": "features '12': give a list of whole numbers",
    "bs.Clamp('runs/dictionary', [5], 1.0)": "open a folder with load_dictionary",
    "bs.Strength.of_maximum(1.0, dictionary, 1.5)": "feature is 1.5, expected a whole number",
    "bs.Strength.of_norm('1', 2.0, hookpoint=at)": "is no length",
    "bs.typical_norm(model, at, 'a text')": "write [text]",
    "bs.Add([1.0], one, at)": "found a list",
    "bs.ProjectOut([up], at)": "found a list",
    "bs.Positions(start=1.5)": "give whole numbers, or None",
    "bs.Positions(stop=float('nan'))": "give whole numbers, or None",
    "bs.Positions(tokens=('e',))": "give token ids",
    "bs.Positions(tokens=13)": "tokens is 13, expected a list; write [13]",
    "bs.Positions(roles='user')": "roles is 'user', expected a list; write ['user']",
    "bs.Positions(exclude=bs.Positions())": "expected a list",
    "bs.Positions(exclude=('prompt',))": "expected Positions",
    "bs.Clause(operation=None, name='x')": "operation of clause 'x' is None, expected an operation such as Clamp",
    "bs.Clause(operation=push, where='prompt')": "where of the Add clause is 'prompt', expected Positions",
    "bs.Clause(operation=push, gate='open')": "gate of the Add clause is 'open', expected a gate",
    "bs.Clause(operation=push, schedule='ramp')": "schedule of the Add clause is 'ramp', expected a schedule",
    "bs.FeatureGate(dictionary=dictionary, features=[5], least='x')": "least is 'x', expected a finite number",
    "bs.Ramp(n_tokens='x')": "is no ramp",
    "bs.steer(model, push).__enter__()": "steer takes a list of operations, found Add",
    "bs.steer(model, ['clamp']).__enter__()": "is 'clamp', expected an operation such as Clamp",
    "bs.steer(model, [up]).__enter__()": "expected an operation such as Clamp",
    "bs.steer(model, [bs.Add(up, one, 1)]).__enter__()": "the Add clause acts at 1, expected the name of one hookpoint",
    "bs.steer_rows(model, [push]).__enter__()": "row 0 of steer_rows takes a list of operations, found Add",
}


@pytest.fixture(scope="module")
def said() -> dict[str, str]:
    """What each call says, in a process of its own in which no checker of types is at work."""
    code = SCRIPT.replace("CASES", repr(list(CASES)))
    paths = [str(Path(__file__).parents[1]), str(Path(__file__).parents[2])]
    code = f"import sys; sys.path[:0] = {paths!r}\n{code}"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return dict(zip(CASES, map(json.loads, done.stdout.splitlines()), strict=True))


@pytest.mark.parametrize("call", CASES)
def test_a_wrong_kind_is_refused_in_one_clear_line(said, call):
    assert CASES[call] in said[call]
    assert "escaped" not in said[call] and "\n" not in said[call]
