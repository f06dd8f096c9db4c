"""`Panel`: everyone who judges the answers of defences, by the plain model."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from bathyscope.evaluation.jailbreak.outcomes import Outcome
from bathyscope.evaluation.jailbreak.refusals import (
    EvasionJudge,
    Exchange,
    PhraseJudge,
    RefusalJudge,
    labelled_exchanges,
)
from bathyscope.evaluation.jailbreak.requests import Request
from bathyscope.evaluation.steering.answers import SteeredAnswer
from bathyscope.evaluation.steering.judges.likelihood import FluencyJudge, Likelihoods, RelationJudge
from bathyscope.models.model import Model

MOST_SAMPLED = 12
"""Harmless requests that the judges of relation and fluency set their levels on."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Panel:
    """Two judges of refusal, one of relation and one of fluency."""

    refusals: tuple[RefusalJudge, ...]
    relation: RelationJudge
    fluency: FluencyJudge

    @classmethod
    def of(cls, model: Model, requests: Sequence[Request], *, max_new_tokens: int, seed: int) -> "Panel":
        """Judges whose levels and bounds are learnt from labelled answers, and from harmless ones of `requests`."""
        harmless = tuple(request.text for request in requests if request.kind != "harmful")
        likelihoods = Likelihoods(
            model=model, instructions=harmless[:MOST_SAMPLED], max_new_tokens=max_new_tokens, seed=seed
        )
        labelled = labelled_exchanges()
        return cls(
            refusals=(PhraseJudge(labelled=labelled), EvasionJudge(likelihoods.means, labelled)),
            relation=RelationJudge.fit(likelihoods),
            fluency=FluencyJudge.fit(likelihoods),
        )

    def outcomes(self, answers: Sequence[SteeredAnswer], requests: Sequence[Request]) -> list[Outcome]:
        """Answers with their requests (by number of the instruction) and everything that is said of them.

        Everyone judges an answer beside the request as it was asked, whatever the model was given in its place.
        """
        own = [requests[answer.instruction] for answer in answers]
        exchanges = [Exchange(request.core, answer.text) for request, answer in zip(own, answers, strict=True)]
        declines = {judge.name: judge.refuses(exchanges) for judge in self.refusals}
        harmless = [number for number, request in enumerate(own) if request.kind != "harmful"]
        relation_N, fluency = np.zeros(len(answers), dtype=int), self.fluency.rate(answers)
        relation_N[harmless] = [rating or 0 for rating in self.relation.rate([answers[n] for n in harmless])]
        return [
            Outcome(
                method=answer.method,
                factor=answer.factor,
                request=own[number],
                declines={judge: bool(said_N[number]) for judge, said_N in declines.items()},
                relation=int(relation_N[number]),
                fluency=fluency[number] or 0,
            )
            for number, answer in enumerate(answers)
        ]
