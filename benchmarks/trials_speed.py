"""What it saves that one prompt under many ways of steering passes the blocks before them once.

.venv/bin/python benchmarks/trials_speed.py

One prompt in `--arms` rows, each moved along a direction of its own at `--hookpoint`: answered with every row by
itself, and with the rows as one before the hookpoint. The tokens answered are compared first; exits with 1 where they
differ.
"""

import sys
from dataclasses import dataclass

import torch
import tyro
from interleaved import interleaved, table

from bathyscope.models.alike import alike_before
from bathyscope.models.generate import generate
from bathyscope.models.hookpoints import width
from bathyscope.models.load import load_model
from bathyscope.steering.operations.add import Add
from bathyscope.steering.operations.strength import Strength
from bathyscope.steering.steer import steer_rows

SENTENCE = "The boat went down slowly, and those inside looked out. "


@dataclass(frozen=True, kw_only=True)
class Trials:
    """What is answered."""

    model: str = "smollm2"
    """Model that answers."""
    hookpoint: str = "layers.15"
    """Where it is moved."""
    arms: int = 16
    """Ways of steering, rows of the batch."""
    sentences: int = 30
    """Length of the prompt; a sentence has about a dozen tokens."""
    tokens: int = 8
    """Tokens of each answer."""
    length: float = 2.0
    """How far a row is moved, in the units of the activations."""
    rounds: int = 3
    """Rounds of each way."""
    seed: int = 0
    """Seed of the directions."""


def main(trials: Trials) -> int:
    """Compare, time, and print a table."""
    model = load_model(trials.model)
    at, draws = trials.hookpoint, torch.Generator().manual_seed(trials.seed)
    move = Strength.of_norm(1.0, trials.length, hookpoint=at)
    rows = [[Add(torch.randn(width(model, at), generator=draws), move, at)] for _ in range(trials.arms)]
    prompt = SENTENCE * trials.sentences

    def answers(hookpoint: str | None) -> list[tuple[int, ...]]:
        with steer_rows(model, rows), alike_before(hookpoint):
            found = generate(model, [prompt] * trials.arms, max_new_tokens=trials.tokens, batch_size=trials.arms)
        return [answer.tokens for answer in found]

    is_same = answers(at) == answers(None)
    ways = {"every row by itself": lambda: answers(None), f"one row before {at}": lambda: answers(at)}
    times = interleaved(ways, rounds=trials.rounds, warm_up=0)
    print(f"{trials.arms} arms, a prompt of {trials.sentences} sentences, {trials.tokens} tokens each\n")
    print(table(times, beside="every row by itself"))
    print(f"\nthe answers are {'the same' if is_same else 'DIFFERENT'}")
    return 0 if is_same else 1


if __name__ == "__main__":
    sys.exit(main(tyro.cli(Trials)))
