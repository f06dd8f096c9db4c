"""`WrittenLook`: the only way by which estimators have texts written and judged. Counts what that costs.

Cost: a written token counts one forward, for it passes the network alone; a text that is read at once counts one.
Reading the prompt is not charged beside the first token, which it yields; the ledger counts its tokens.
"""

import torch
from jaxtyping import Float
from torch import Tensor

from bathyscope import progress
from bathyscope.errors import ModelError
from bathyscope.risk.budget import Budget, BudgetSpent, Ledger
from bathyscope.risk.estimate import Witness
from bathyscope.risk.inputs.law import draw, log_prob
from bathyscope.risk.inputs.writing import Writing, Written, joined
from bathyscope.risk.look import MOST_WITNESSES, Seen
from bathyscope.risk.problem import WrittenProblem


class WrittenLook:
    """Writes, rewrites, weighs and judges texts within a budget."""

    def __init__(self, problem: WrittenProblem, budget: Budget, *, batch_size: int = 256) -> None:
        self.problem, self.budget, self.batch_size = problem, budget, batch_size
        self.ledger = Ledger()
        self._shown: dict[tuple[int, ...], float] = {}

    def room(self, *, n_readings: int = 0, reserve: int = 0) -> int:
        """Texts of full length that can be paid for beside `reserve`, each judged, and read `n_readings` times."""
        each = self.problem.texts.n_tokens + self.problem.event.n_forwards + n_readings
        return max(0, self.ledger.left(self.budget) - reserve) // each

    def write(self, n: int, generator: torch.Generator, *, law: Writing | None = None) -> Written:
        """`n` texts of the problem's law, or of another one behind prompts of the problem's law.

        Raises BudgetSpent before a text that cannot be paid for at full length.
        """
        writer = law or self.problem.texts
        self._pay(n * writer.n_tokens)
        choices_NC = draw(self.problem.texts.prompts, n, generator=generator)
        parts: list[Written] = []
        for part_BC in choices_NC.split(self.batch_size):
            parts.append(writer.write(part_BC, generator))
            self._count_written(parts[-1], int(parts[-1].length_N.sum()))
        return joined(parts)

    def rewrite(self, written: Written, cut: int, generator: torch.Generator) -> Written:
        """The texts with all from token `cut` on written anew. Raises BudgetSpent like `write`."""
        moving_N = written.length_N > cut
        self._pay(int(moving_N.sum()) * (self.problem.texts.n_tokens - cut))
        parts: list[Written] = []
        for places in torch.arange(len(moving_N)).split(self.batch_size):
            parts.append(self.problem.texts.rewrite(written.at(places), cut, generator))
            n_kept = cut * int(moving_N[places].sum())
            n_tokens = int((parts[-1].length_N - cut).clamp(min=0).sum())
            self._count_written(parts[-1], n_tokens, n_kept)
        return joined(parts)

    def log_prob(self, law: Writing, written: Written) -> Float[Tensor, " N"]:
        """How likely each text is under a law, given its prompt. Each costs one forward."""
        n = len(written.tokens_NL)
        self._pay(n)
        found = [law.log_prob(written.at(places)) for places in torch.arange(n).split(self.batch_size)]
        self.ledger.forward += n
        self.ledger.prompt_tokens += int(written.length_N.sum())
        return torch.cat(found)

    def judge(self, written: Written, log_p_N: Float[Tensor, " N"]) -> Seen:
        """Scores and values of texts; hits are kept as witnesses with `log_p_N`, their probability given the prompt.

        Raises ModelError when the event gives NaN.
        """
        event, texts = self.problem.event, self.problem.texts
        answers = texts.answers(written)
        self._pay(len(answers) * event.n_forwards)
        batches = [answers[first : first + self.batch_size] for first in range(0, len(answers), self.batch_size)]
        outcomes = [event.of_answers(batch) for batch in batches]
        self.ledger.forward += len(answers) * event.n_forwards
        seen = Seen(
            torch.cat([outcome.score_B for outcome in outcomes]), torch.cat([outcome.value_B for outcome in outcomes])
        )
        if bool(seen.score_N.isnan().any()) or bool(seen.value_N.isnan().any()):
            raise ModelError(f"{event.name} gives NaN for a text of {texts.name}")
        hits_M = (seen.value_N > 0.5).nonzero()[:, 0]
        total_M = log_p_N[hits_M] + log_prob(texts.prompts, written.choices_NC[hits_M])
        for number, log_p in zip(hits_M.tolist(), total_M.tolist(), strict=True):
            self._shown.setdefault((*answers[number].prompt, *answers[number].tokens), log_p)
        return seen

    def witnesses(self) -> tuple[Witness, ...]:
        """Distinct texts that show the event, prompt included, likeliest first, at most 64."""
        best = sorted(self._shown.items(), key=lambda shown: -shown[1])[:MOST_WITNESSES]
        return tuple(Witness(tokens=tokens, log_p=log_p) for tokens, log_p in best)

    def _count_written(self, written: Written, n_tokens: int, n_kept: int = 0) -> None:
        prompts = self.problem.texts.prompts.rows(written.choices_NC)
        is_shared = len({tuple(prompt) for prompt in prompts}) == 1
        self.ledger.forward += n_tokens
        self.ledger.generated_tokens += n_tokens
        self.ledger.prompt_tokens += n_kept + sum(map(len, prompts[:1] if is_shared else prompts))
        progress.report("risk", self.ledger.spent, self.budget.forward, "forwards")

    def _pay(self, n: int) -> None:
        if n > self.ledger.left(self.budget):
            raise BudgetSpent
