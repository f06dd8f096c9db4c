"""Ratings of answers by several judges, and the score that AxBench makes of three of them.

    score = harmonic mean of the ratings of concept, instruction and fluency, each from 0 to 2; 0 where one of them is 0

(Wu et al. 2025, arXiv 2501.17148, section 3.) An answer with a rating missing has no score; it is counted.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from bathyscope.evaluation.steering.answers import SteeredAnswer
from bathyscope.evaluation.steering.judges.judge import ASPECTS, Aspect, SteeringJudge


@dataclass(frozen=True, slots=True, kw_only=True)
class Rated:
    """One answer with all its ratings."""

    answer: SteeredAnswer
    ratings: Mapping[tuple[Aspect, str], int | None]
    """Aspect and name of the judge → 0, 1, 2, or None where there was no answer."""


def gathered(
    answers: Sequence[SteeredAnswer], ratings: Mapping[tuple[Aspect, str], Sequence[int | None]]
) -> list[Rated]:
    """Every answer with its ratings, of each judge's one per answer."""
    return [
        Rated(answer=answer, ratings={judge: own[number] for judge, own in ratings.items()})
        for number, answer in enumerate(answers)
    ]


def panels(judges: Sequence[SteeringJudge]) -> list[dict[Aspect, str]]:
    """Which judges are read together: one panel for each judge of the concept, with judges of its name where there are
    such, else with the first of the aspect."""
    names: dict[Aspect, list[str]] = {aspect: [] for aspect in ASPECTS}
    for judge in judges:
        names[judge.aspect].append(judge.name)
    return [
        {aspect: own if own in names[aspect] else names[aspect][0] for aspect in ASPECTS} for own in names["concept"]
    ]


def harmonic(rated: Rated, panel: Mapping[Aspect, str]) -> float | None:
    """The score of one answer, 0 to 2; None where a rating is missing."""
    ratings = [rated.ratings[aspect, panel[aspect]] for aspect in ASPECTS]
    known = [rating for rating in ratings if rating is not None]
    if len(known) < len(ratings):
        return None
    return 0.0 if 0 in known else len(known) / sum(1 / rating for rating in known)
