"""`Projection`: from the slope of a score at an embedding to its slope in each token that could stand there.

∂score / ∂onehot_{i,v} = ∂score / ∂embedding_i · embedding(v): needed for tokens of the position's support alone, so
that no array is as wide as the vocabulary (Wu and Hilton, arXiv 2410.13211, differentiate one-hot inputs instead).
"""

import torch
from jaxtyping import Float, Int
from torch import Tensor

from bathyscope.risk.inputs.product import ProductTokens
from bathyscope.risk.problem import Problem


class Projection:
    """Embeddings of what can stand at each position. Positions that share a support share its table."""

    def __init__(self, problem: Problem) -> None:
        law = problem.inputs
        if not isinstance(law, ProductTokens):  # `estimate` refuses it before, by the need `tokens`
            raise TypeError(f"{law.name} is a {type(law).__name__}, expected ProductTokens")
        embed = problem.model.network.get_input_embeddings()
        tables: dict[int, Float[Tensor, "K D"]] = {}
        with torch.no_grad():
            for ids_K in law.support:
                if id(ids_K) not in tables:
                    tables[id(ids_K)] = embed(ids_K.to(problem.model.device)).float().cpu()
        self._tables = tuple(tables[id(ids_K)] for ids_K in law.support)

    def at(self, position: int, slope_ND: Float[Tensor, "N D"]) -> Float[Tensor, "N K"]:
        """Slope in each option of one position, for each row, float64."""
        return (slope_ND @ self._tables[position].T).double()

    def each(self, slope_SD: Float[Tensor, "S D"]) -> tuple[Float[Tensor, " _"], ...]:
        """Slope in each option of every position, for one row or for a mean of rows, float64."""
        return tuple((table_KD @ slope_D).double() for table_KD, slope_D in zip(self._tables, slope_SD, strict=True))

    def chosen(
        self, position_N: Int[Tensor, " N"], slope_NSD: Float[Tensor, "N S D"]
    ) -> list[tuple[int, Int[Tensor, " M"], Float[Tensor, "M K"]]]:
        """For each position that occurs in `position_N`: itself, its rows, and their slopes in its options."""
        found: list[tuple[int, Tensor, Tensor]] = []
        for position in position_N.unique().tolist():
            here_M = (position_N == position).nonzero()[:, 0]
            found.append((position, here_M, self.at(position, slope_NSD[here_M, position])))
        return found
