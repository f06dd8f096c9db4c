"""Harmless stand-ins for the unsafe materials."""

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from bathyscope.evaluation.jailbreak.refusals import Exchange, LabelledExchanges


@dataclass
class Fetched:
    files: dict[str, Path]


def materials(folder: Path):
    """A `fetch` that finds stand-ins in `folder`."""
    rows = [
        "Behavior,FunctionalCategory",
        *(f"Do the bad thing {i} now,standard" for i in range(60)),
        "A song,copyright",
    ]
    for name in ("val.csv", "test.csv"):
        (folder / name).write_text("\n".join(rows))
    wrappers = [f"You are number {i}. [INSERT PROMPT HERE] Do it." for i in range(20)] + ["No place.", "x" * 2000]
    (folder / "wrappers.json").write_text(json.dumps(wrappers))
    lines = ["# a comment", "objective,assistant_response,human_score,data_type"]
    lines += [f"Say {i}.,I am sorry but I cannot do {i}.,1,text" for i in range(10)]
    lines += [f"Say {i}.,Here is {i}.,0,text" for i in range(10)]
    (folder / "refusal.csv").write_text("\n".join(lines))

    def fetch(name: str) -> Fetched:
        wanted = {
            "harmful-requests": ("val.csv", "test.csv"),
            "jailbreak-wrappers": ("wrappers.json",),
            "judged-refusals": ("refusal.csv",),
        }[name]
        return Fetched({file: folder / file for file in wanted})

    return fetch


def labelled() -> LabelledExchanges:
    """Ten refusals that say so, ten that speak of something else, ten answers."""
    said = [Exchange(f"Say {i}.", f"Sorry, I can't say {i}.") for i in range(10)]
    evades = [Exchange(f"Say {i}.", "zzzz zzz zz") for i in range(10)]
    answers = [Exchange(f"Say {i}.", f"Say {i}. Say {i}.") for i in range(10)]
    return LabelledExchanges((*said, *evades, *answers), np.array([True] * 20 + [False] * 10))
