"""`Mesh`: which part of a job is this process's, and the few exchanges that put the parts together.

Processes (ranks) stand in a grid: the tokens of a batch are split over its rows, the features over its columns.

    rank = data_rank · n_feature_ranks + feature_rank

A mesh of one process exchanges nothing, so the same code runs alone. Sums come out with the same bits on every rank,
and again in every run of the same grid. Knows nothing of dictionaries.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
import torch.distributed
from jaxtyping import Float
from torch import Tensor

from bathyscope.errors import ConfigError

FIRST = 0
"""The rank that reads and writes folders, and speaks for all."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Mesh:
    """This process's place in the grid. `ALONE` is the grid of one; `joined_mesh` makes the others."""

    rank: int = FIRST
    """Number of this process."""
    n_data_ranks: int = 1
    """Rows of the grid: shares of a batch's tokens."""
    n_feature_ranks: int = 1
    """Columns of the grid: shares of the features."""
    data_group: Any = None
    """The ranks with the same features, which see other tokens."""
    feature_group: Any = None
    """The ranks with the same tokens, which hold other features."""

    @property
    def n_ranks(self) -> int:
        """All processes."""
        return self.n_data_ranks * self.n_feature_ranks

    @property
    def is_alone(self) -> bool:
        """Whether there is nobody to exchange anything with."""
        return self.n_ranks == 1

    @property
    def is_first(self) -> bool:
        """Whether this process reads and writes folders."""
        return self.rank == FIRST

    @property
    def data_rank(self) -> int:
        """Row of the grid."""
        return self.rank // self.n_feature_ranks

    @property
    def feature_rank(self) -> int:
        """Column of the grid."""
        return self.rank % self.n_feature_ranks

    def own_tokens(self, batch: Float[Tensor, "N W"]) -> Float[Tensor, "M W"]:
        """This row's share of a batch, the first ranks one more. Raises ConfigError when not everyone gets a token."""
        if len(batch) < self.n_data_ranks:
            raise ConfigError(
                f"a batch of {len(batch)} tokens cannot be split over {self.n_data_ranks} processes: "
                "set another batch_size or n_tokens"
            )
        return batch.tensor_split(self.n_data_ranks)[self.data_rank]

    def first_token(self, n_tokens: int) -> int:
        """Where this row's share of a batch of `n_tokens` begins."""
        each, more = divmod(n_tokens, self.n_data_ranks)
        return self.data_rank * each + min(self.data_rank, more)

    def own_features(self, n_features: int) -> slice:
        """This column's share of the features: equally many each, in order."""
        each = n_features // self.n_feature_ranks
        return slice(self.feature_rank * each, (self.feature_rank + 1) * each)

    def sum_over_data(self, tensor: Tensor) -> Tensor:
        """The sum over the ranks with the same features; a new tensor unless this rank is the only one."""
        return _summed(tensor, self.data_group) if self.n_data_ranks > 1 else tensor

    def sum_over_features(self, tensor: Tensor) -> Tensor:
        """The sum over the ranks with the same tokens; a new tensor unless this rank is the only one."""
        return _summed(tensor, self.feature_group) if self.n_feature_ranks > 1 else tensor

    def sum_over_all(self, tensor: Tensor) -> Tensor:
        """The sum over all ranks."""
        return self.sum_over_data(self.sum_over_features(tensor))

    def least_of_all(self, tensor: Tensor) -> Tensor:
        """The least over all ranks, entry by entry."""
        if self.is_alone:
            return tensor
        found = tensor.clone()
        torch.distributed.all_reduce(found, torch.distributed.ReduceOp.MIN)
        return found

    def gather_from_features(self, tensor: Tensor) -> list[Tensor]:
        """The tensors, of one shape, of the ranks with the same tokens, in order of their features."""
        if self.n_feature_ranks == 1:
            return [tensor]
        found = [torch.empty_like(tensor) for _ in range(self.n_feature_ranks)]
        torch.distributed.all_gather(found, tensor.contiguous(), group=self.feature_group)
        return found

    def gather_from_all(self, tensor_M: Tensor, *, padding: float | int) -> Tensor:
        """The vectors of all ranks one after the other; shorter ones are filled up with `padding`."""
        if self.is_alone:
            return tensor_M
        sizes = [torch.zeros(1, dtype=torch.int64, device=tensor_M.device) for _ in range(self.n_ranks)]
        torch.distributed.all_gather(sizes, torch.full_like(sizes[0], len(tensor_M)))
        longest = max(int(size) for size in sizes)
        filled = torch.nn.functional.pad(tensor_M, (0, longest - len(tensor_M)), value=padding)
        found = [torch.empty_like(filled) for _ in range(self.n_ranks)]
        torch.distributed.all_gather(found, filled)
        return torch.cat(found)

    def whole(self, tensor: Tensor) -> Tensor | None:
        """The rows of all columns on the first rank's CPU, in order; None elsewhere. Called by every rank."""
        own = tensor.detach().cpu().contiguous()
        if self.n_feature_ranks == 1 or self.data_rank > 0:
            return own if self.is_first else None
        parts = [torch.empty_like(own) for _ in range(self.n_feature_ranks)] if self.is_first else None
        torch.distributed.gather(own, parts, dst=FIRST, group=self.feature_group)
        return None if parts is None else torch.cat(parts)

    def told(self, ask: Callable[[], Any]) -> Any:
        """What the first rank finds, plain JSON data; the others do not ask. Called by every rank."""
        if self.is_alone:
            return ask()
        data = json.dumps(ask()).encode() if self.is_first else b""
        size = torch.tensor([len(data)])
        torch.distributed.broadcast(size, FIRST)
        text = torch.frombuffer(bytearray(data), dtype=torch.uint8) if data else torch.empty(int(size)).byte()
        torch.distributed.broadcast(text, FIRST)
        return json.loads(bytes(text.tolist()))

    def wait(self) -> None:
        """Go on when every rank has come here."""
        self.told(lambda: None)


ALONE = Mesh()
"""One process."""


def joined_mesh(*, n_feature_ranks: int = 1) -> Mesh:
    """The grid of a process group that has been initialised, with so many columns.

    Raises ConfigError when the number of processes is no multiple of it. Called by every rank.
    """
    n_ranks, rank = torch.distributed.get_world_size(), torch.distributed.get_rank()
    if n_feature_ranks < 1 or n_ranks % n_feature_ranks:
        raise ConfigError(
            f"{n_ranks} processes cannot be split into {n_feature_ranks} shares of the features: "
            f"set feature_ranks to a divisor of {n_ranks}"
        )
    columns, rows = n_feature_ranks, n_ranks // n_feature_ranks
    place: dict[str, Any] = {"rank": rank, "n_data_ranks": rows, "n_feature_ranks": columns}
    for row in range(rows):
        group = torch.distributed.new_group(list(range(row * columns, (row + 1) * columns)))
        place |= {"feature_group": group} if row == rank // columns else {}
    for column in range(columns):
        group = torch.distributed.new_group(list(range(column, n_ranks, columns)))
        place |= {"data_group": group} if column == rank % columns else {}
    return Mesh(**place)


def _summed(tensor: Tensor, group: Any) -> Tensor:
    found = tensor.detach().clone(memory_format=torch.contiguous_format)
    torch.distributed.all_reduce(found, group=group)
    return found
