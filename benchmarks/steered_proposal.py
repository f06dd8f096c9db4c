"""What steered proposals save when SmolLM2's sampled answers are searched for a word.

    python benchmarks/steered_proposal.py --answers 3000

Prints the share of plain answers with the word, estimates with steered proposals (two seeds), and how many times the
variance of plain sampling exceeds theirs at equal cost, counted in forwards and in tokens that the network reads or
writes (the prompt apart, which is read once a batch). Some minutes on two cores.
"""

import argparse
from contextlib import AbstractContextManager
from functools import partial
from typing import Any

import torch  # noqa: TID253 - a script of its own

import bathyscope as bs
from bathyscope.models.hooks import run
from bathyscope.models.model import Model
from bathyscope.models.prompts import text_tokens

PROMPT, HOOKPOINT, N_TOKENS = "Yesterday we went to the", "layers.15", 8
TEXTS = ("We went to the {}", "A day at the {}", "She works at the {}", "Everyone likes the {}")
OTHERS = ("bank", "lake", "office", "town")


def mean_activation(model: Model, texts: tuple[str, ...]) -> torch.Tensor:
    """Mean over the texts' last tokens, [D]."""
    last = [run(model, torch.tensor([text_tokens(model, text)]), HOOKPOINT)[HOOKPOINT][0, -1] for text in texts]
    return torch.stack(last).mean(0)


def steered(model: Model, direction_D: torch.Tensor, strength: bs.Strength) -> AbstractContextManager[Any]:
    """The block inside which the model leans towards the word."""
    return bs.steer(model, [bs.Add(direction_D, strength, HOOKPOINT)])


def relative_variance(estimate: bs.Estimate) -> float:
    """(Standard error / estimate)² from the effective number of hits, or of plain hits."""
    figures = estimate.figures
    return 1 / (figures.ess if figures.ess is not None else max(figures.n_hits, 1))


def main(place: str, n_answers: int, strengths: list[float]) -> None:
    """Print the estimates."""
    model = bs.load_model("smollm2")
    about = tuple(text.format(place) for text in TEXTS)
    others = tuple(text.format(other) for text, other in zip(TEXTS, OTHERS, strict=True))
    direction_D = mean_activation(model, about) - mean_activation(model, others)
    norm, rule = bs.typical_norm(model, HOOKPOINT, (*about, *others)), f"words:{place}*"
    law = bs.Language(model=model, prompts=bs.prompt_pool(model, [PROMPT], chat=False), n_tokens=N_TOKENS)
    problem = bs.WrittenProblem(texts=law, event=bs.TextMatches(matches=bs.text_matcher(rule), label=rule))
    proposals = tuple(
        law.inside(
            partial(steered, model, direction_D, bs.Strength.of_norm(value, norm, hookpoint=HOOKPOINT)),
            name=f"answers at {value:g} norms",
        )
        for value in strengths
    )
    plain = bs.estimate(problem, bs.Naive(), bs.Budget(forward=n_answers * N_TOKENS), batch_size=128)
    print(plain, flush=True)
    for seed in (0, 1):
        estimator = bs.Steered(proposals=proposals, n_pilot=n_answers // 20)
        found = bs.estimate(problem, estimator, bs.Budget(forward=n_answers * N_TOKENS // 4), seed=seed, batch_size=128)
        print(found)
        written = found.cost["generated_tokens"]
        costs = {"forwards": found.cost["spent"], "tokens": written * (1 + len(proposals))}
        for unit, spent in costs.items():
            ratio = relative_variance(plain) * plain.cost["spent"] / (relative_variance(found) * spent)
            print(f"  variance of plain sampling at as many {unit}: {ratio:.1f} times")
        print("  " + "; ".join(repr(model.tokenizer.decode(each.tokens)) for each in found.witnesses[:3]), flush=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--place", default="zoo", help="the word that is searched for")
    parser.add_argument("--answers", type=int, default=3000, help="plain ones; proposals get a quarter of the cost")
    parser.add_argument("--strengths", type=float, nargs="+", default=[0.5, 1.0], help="in typical norms of the layer")
    arguments = parser.parse_args()
    main(arguments.place, arguments.answers, arguments.strengths)
