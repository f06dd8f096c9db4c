"""What decides whether shifts of text show a concept: lengths, and how many pairs have it.

    .venv/bin/python benchmarks/shift_ablation.py runs/language/pairs-binary-mean

Reads a folder of pairs with two factors (`bathyscope bench language` leaves them) and prints the cosine of the best
column with the shift of single changes, chosen on one half and taken on the other, beside principal components.
"""

import argparse
from collections.abc import Iterator
from pathlib import Path

import torch
from torch import Tensor

from bathyscope.activations.pairs.store import PairStore
from bathyscope.dictionaries.shifts.learn import learn_shifts
from bathyscope.dictionaries.shifts.pairs import of_length_one
from bathyscope.dictionaries.shifts.settings import ShiftSettings
from bathyscope.evaluation.single_changes.candidates import Candidates, learnt, principal
from bathyscope.evaluation.single_changes.reach import reach
from bathyscope.evaluation.single_changes.turned import SingleChange, single_changes


def draws(store: PairStore, hookpoint: str, *, seed: int) -> Iterator[tuple[str, Tensor, bool]]:
    """What is learnt from: name, shifts of the choosing half, and whether each is brought to length 1."""
    half = torch.from_numpy(store.halves(seed).choose)
    shifts_PD, changes_PC = store.shifts(hookpoint)[half], torch.from_numpy(store.support)[half] == 1
    yield "all pairs, lengths as they are", shifts_PD, False
    yield "all pairs, alike", shifts_PD, True
    rare = (~changes_PC[:, 0]).nonzero()[:, 0]
    alone, both = ((changes_PC[:, 0] & (changes_PC[:, 1] == other)).nonzero()[:, 0] for other in (False, True))
    kept = torch.cat([rare, alone[: len(rare) // 2], both[: len(rare) // 2]])
    yield f"{store.factors[0]} in half of the pairs, alike", shifts_PD[kept], True


def cell(way: Candidates, changes: list[SingleChange]) -> str:
    """Mean cosine of each concept."""
    return " ".join(f"{change.concept} {float(reach(way, change).shift_P.mean()):.3f}" for change in changes)


def main() -> None:
    """Print one line for each draw."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("pairs", type=Path, help="folder of kind `pairs` with two factors")
    parser.add_argument("--hookpoint", default="layers.15", help="where the pairs were read")
    parser.add_argument("--columns", type=int, default=4, help="columns that are learnt")
    parser.add_argument("--seed", type=int, default=0, help="seed of halves and starts")
    given = parser.parse_args()
    store = PairStore(given.pairs)
    changes = single_changes(store, hookpoint=given.hookpoint, seed=given.seed)
    for name, shifts_PD, is_alike in draws(store, given.hookpoint, seed=given.seed):
        settings = ShiftSettings(n_features=given.columns, alike=is_alike, seed=given.seed)
        ssae = learnt("ssae", learn_shifts(shifts_PD, settings).W_dec)
        leading = principal(of_length_one(shifts_PD) if is_alike else shifts_PD, given.columns)
        print(f"{name} ({len(shifts_PD)}): ssae {cell(ssae, changes)}; principal {cell(leading, changes)}")


if __name__ == "__main__":
    main()
