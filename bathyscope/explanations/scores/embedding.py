"""Embedding: is the passage nearer to the description than other passages are? The cheapest rung; needs no judge."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from bathyscope.explanations.passages import Passage
from bathyscope.explanations.scores.measured import Measured, Statistic, measured
from bathyscope.models.model import Model

Embed = Callable[[Sequence[str]], Float[Tensor, "N D"]]
"""Texts to vectors."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Embedding:
    """The value is the cosine of passage and description."""

    embed: Embed
    name: str = "embedding"
    statistics: tuple[Statistic, ...] = ("AUC",)
    reads_explanation: bool = True

    def measure(self, explanation: str, passages: Sequence[Passage]) -> list[Measured]:
        """Truth is 1 where the feature fires."""
        query_D, *rows = torch.nn.functional.normalize(
            self.embed([explanation, *(passage.text for passage in passages)]).double(), dim=-1
        )
        return [
            measured(passage, (float(passage.fires),), (float(row_D @ query_D),))
            for passage, row_D in zip(passages, rows, strict=True)
        ]


def mean_embedding(model: Model) -> Embed:
    """Texts as the mean of their tokens' input embeddings, less the mean over the vocabulary."""
    (weights_VD,) = model.network.get_input_embeddings().parameters()
    W_VD = weights_VD.detach().float().cpu()
    mean_D = W_VD.mean(0)

    def embed(texts: Sequence[str]) -> Float[Tensor, "N D"]:
        ids = [model.tokenizer(text, add_special_tokens=False)["input_ids"] for text in texts]
        return torch.stack([W_VD[torch.tensor(row, dtype=torch.long)].mean(0) - mean_D for row in ids])

    return embed
