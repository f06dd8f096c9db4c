"""What steering costs: tokens a second with one feature held, and with 64, beside the plain model, in one run.

.venv/bin/python benchmarks/steering_speed.py --dictionary runs/demo/dictionary

Rounds are taken in turn (plain, one, many, plain, ...), so that whatever else the machine does falls on all alike. The
overhead is the median over rounds of the seconds of a round beside those of the plain round before it, minus one.
"""

import sys
import time
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any

import numpy as np
import tyro

from bathyscope.dictionaries.dictionary import load_dictionary
from bathyscope.models.generate import generate
from bathyscope.models.load import load_model
from bathyscope.steering.operations.add import Add
from bathyscope.steering.operations.clamp import Clamp
from bathyscope.steering.operations.operation import Operation
from bathyscope.steering.operations.strength import Strength
from bathyscope.steering.steer import steer


@dataclass(frozen=True, kw_only=True)
class Speed:
    """What is timed."""

    dictionary: str = "runs/demo/dictionary"
    """Dictionary whose features are held."""
    model: str = "smollm2"
    """Model that it belongs to."""
    batch: int = 1
    """Answers made at once; one is what a chat does, and where a fixed cost shows most."""
    tokens: int = 32
    """Tokens of each answer."""
    rounds: int = 15
    """Rounds of each way."""
    seed: int = 0
    """Seed of the features."""


def main(speed: Speed) -> int:
    """Time, and print a table."""
    model, dictionary = load_model(speed.model), load_dictionary(speed.dictionary)
    assert dictionary.max_activation is not None
    fired = np.flatnonzero(dictionary.max_activation.numpy() > 0)
    drawn = np.random.default_rng(speed.seed).permutation(fired)[:64].tolist()
    vector = Add(dictionary.direction(drawn[0]), Strength.of_maximum(0.1, dictionary, drawn[0]), dictionary.hookpoint)
    ways: dict[str, Operation | None] = {
        "plain": None,
        "plain again (the null)": None,
        "a direction added": vector,
        "one feature held": Clamp(dictionary, (drawn[0],), 0.1),
        "64 features held": Clamp(dictionary, tuple(drawn), 0.1),
    }
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    prompts = [f"Tell me a long story about the number {number}." for number in range(speed.batch)]
    for number in range(speed.rounds + 1):
        for name, operation in ways.items():
            block: Any = nullcontext() if operation is None else steer(model, [operation])
            with block:
                began = time.perf_counter()
                answers = generate(model, prompts, max_new_tokens=speed.tokens, batch_size=speed.batch)
                spent = time.perf_counter() - began
            if any(len(answer.tokens) < speed.tokens for answer in answers):
                sys.exit(f"error: an answer ({name}) ended before {speed.tokens} tokens; ask for fewer")
            if number:  # the first round warms up
                seconds[name].append(spent / (speed.batch * speed.tokens))
    print(f"{speed.batch} answers at once, {speed.tokens} tokens each, {speed.rounds} rounds\n")
    print("| way | ms per token, median | overhead | 95 % |\n|---|---|---|---|")
    plain_R = np.array(seconds["plain"])
    for name, spent in seconds.items():
        ratio_R = np.array(spent) / plain_R
        found = np.quantile(_medians(ratio_R, speed.seed), [0.025, 0.975]) - 1
        told = f"{np.median(ratio_R) - 1:+.1%} | {found[0]:+.1%} to {found[1]:+.1%}"
        print(f"| {name} | {1000 * np.median(spent):.1f} | {told} |")
    return 0


def _medians(ratio_R: np.ndarray, seed: int, n: int = 2000) -> np.ndarray:
    """Medians of draws with replacement."""
    drawn = np.random.default_rng(seed).integers(len(ratio_R), size=(n, len(ratio_R)))
    return np.median(ratio_R[drawn], axis=1)


if __name__ == "__main__":
    sys.exit(main(tyro.cli(Speed)))
