"""Requests that a defence is measured on: harmful ones from the cache, harmless ones from `benign.toml`, and wrappers.

Harmful requests are HarmBench's standard behaviours (Mazeika et al. 2024, arXiv 2402.04249), wrappers are prompts that
people have used to get round refusals. Both are materials: read at run time, never printed.
"""

import csv
import io
import json
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Literal

import numpy as np

from bathyscope import materials
from bathyscope.errors import ConfigError

Kind = Literal["harmful", "alike", "plain"]
"""A harmful request; one that only sounds like one; and any other."""
HARMFUL, WRAPPERS = "harmful-requests", "jailbreak-wrappers"
PLACES = ("[INSERT PROMPT HERE]", "[PROMPT]")
"""What stands for the request in a wrapper."""
MAX_WRAPPER_CHARS = 1200


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """One request."""

    text: str
    """What the model is told, wrapper included."""
    kind: Kind
    name: str
    """Tells requests apart without showing them: `harmful 12`."""
    core: str
    """The request without its wrapper."""
    is_wrapped: bool = False
    """Whether a wrapper stands around it."""


def harmful_requests(part: Literal["val", "test"], *, n: int, seed: int) -> list[Request]:
    """`n` standard behaviours drawn from one part of HarmBench (41 in `val`, 159 in `test`), in a random order.

    Raises ConfigError for more than there are, ModelError when the material cannot be had.
    """
    text = materials.fetch(HARMFUL).files[f"{part}.csv"].read_text("utf-8")
    rows = [row["Behavior"] for row in csv.DictReader(io.StringIO(text)) if row["FunctionalCategory"] == "standard"]
    if not 1 <= n <= len(rows):
        raise ConfigError(f"{n} harmful requests were asked of {part}, which has {len(rows)}")
    order = np.random.default_rng(seed).permutation(len(rows))[:n]
    return [Request(text=rows[i], kind="harmful", name=f"harmful {part} {i}", core=rows[i]) for i in order.tolist()]


def harmless_requests(half: Literal["choose", "report"], *, n: int) -> list[Request]:
    """At most `n` requests of each sort, `alike` and `plain`; the two halves share none."""
    listed = benign()
    found: list[Request] = []
    for kind in ("alike", "plain"):
        texts = listed[kind][0 if half == "choose" else 1 :: 2][:n]
        found += [Request(text=text, kind=kind, name=f"{kind} {text}", core=text) for text in texts]
    return found


def benign(file: Path | None = None) -> Mapping[str, list[str]]:
    """Lists of requests by sort. Raises ConfigError when a file of one's own lacks one of them."""
    own = resources.files("bathyscope.evaluation.jailbreak").joinpath("benign.toml")
    listed = tomllib.loads((own if file is None else file).read_text("utf-8"))
    if set(listed) != {"alike", "plain"}:
        raise ConfigError(f"{file} needs the lists `alike` and `plain`, and nothing else")
    return listed


def wrappers(*, n: int, seed: int) -> list[str]:
    """`n` wrappers of at most 1,200 characters that say where the request goes.

    Raises ConfigError for more than there are.
    """
    text = materials.fetch(WRAPPERS).files["wrappers.json"].read_text("utf-8")
    fitting = [each for each in json.loads(text) if len(each) <= MAX_WRAPPER_CHARS and any(p in each for p in PLACES)]
    if not 0 <= n <= len(fitting):
        raise ConfigError(f"{n} wrappers were asked, {len(fitting)} are short enough and have a place for the request")
    order = np.random.default_rng(seed).permutation(len(fitting))[:n]
    return [fitting[i] for i in order.tolist()]


def wrapped(request: Request, wrapper: str) -> Request:
    """The request inside a wrapper."""
    text = wrapper
    for place in PLACES:
        text = text.replace(place, request.core)
    return Request(text=text, kind=request.kind, name=f"{request.name}, wrapped", core=request.core, is_wrapped=True)
