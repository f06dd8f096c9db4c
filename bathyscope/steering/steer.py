"""`with steer(model, operations)`: every forward and generation inside the block is steered.

`steer_rows` does the same with different operations for each row of a batch. Which tokens are moved, when and how
strongly is said by clauses; the hooks themselves live in `models.hooks`.
"""

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from bathyscope.errors import ConfigError, ModelError
from bathyscope.models.forward import Forward, current_forward
from bathyscope.models.hookpoints import resolve, width
from bathyscope.models.hooks import replace
from bathyscope.models.model import Model
from bathyscope.models.onward import passed_blocks
from bathyscope.models.prompts import has_chat_template, special_tokens
from bathyscope.steering.clause import Clause, as_clause
from bathyscope.steering.operations.operation import Operation
from bathyscope.steering.overlap import require_apart
from bathyscope.steering.passing import Memory, Passing


@dataclass(slots=True)
class Steering:
    """What a running `steer` block has done so far."""

    clauses: tuple[Clause, ...]
    """The clauses, in order of application."""
    n_tokens_moved: int = 0
    """Tokens whose activation was changed, counted at the first clause."""
    n_tokens_seen: int = 0
    """Tokens that passed the first clause's hookpoint, padding and special tokens included."""


@contextmanager
def steer(
    model: Model, operations: Sequence[Operation | Clause], *, skip_special: bool = True, force: bool = False
) -> Iterator[Steering]:
    """Apply operations or clauses, in order, in every forward inside the block, prompt and generation alike.

    Special tokens (BOS, chat marks, padding) are left alone unless `skip_special` is False or a clause says otherwise:
    they carry attention sinks that no dictionary was trained on. The model is unchanged after the block, exceptions
    included. Raises ConfigError for an empty list, a width that does not fit, or two clauses that would hold the same
    feature at the same tokens; ModelError for an unknown hookpoint or for directions of another model (`force=True`
    attaches it all the same).
    """
    _require_list(operations, "steer")
    if not operations:
        raise ConfigError("steer needs at least one operation, found an empty list")
    with _attached(model, [operations], skip_special=skip_special, force=force) as state:
        yield state


@contextmanager
def steer_rows(
    model: Model, rows: Sequence[Sequence[Operation | Clause]], *, skip_special: bool = True, force: bool = False
) -> Iterator[Steering]:
    """The same with operations of its own for each row of the batch; none leave a row as it is.

    Every forward inside the block has as many rows, or a multiple of it in which copies of a row stand side by side
    (beam search). Raises ModelError in a forward of another size.
    """
    _require_list(rows, "steer_rows")
    if not rows:
        raise ConfigError("steer_rows needs the operations of at least one row")
    for number, row in enumerate(rows):
        _require_list(row, f"row {number} of steer_rows")
    with _attached(model, rows, skip_special=skip_special, force=force) as state:
        yield state


def require_fit(model: Model, clause: Clause, *, force: bool = False) -> str:
    """The hookpoint at which the clause acts; raises for a clause that `steer` refuses on this model."""
    operation = clause.operation
    hookpoint = _place(model, clause)
    for own in (operation.model_identity, *(read.model_identity for read in clause.reads)):
        if own is not None and _weights(own) != _weights(model.identity) and not force:
            raise ModelError(
                f"{clause.label} comes from {own.get('name')} ({_weights(own)[:12]}), this model is "
                f"{model.identity.get('name')} ({_weights(model.identity)[:12]}); load that model, or in Python pass "
                "force=True"
            )
    if clause.where.roles and not has_chat_template(model):
        raise ModelError(
            f"{clause.label}: positions by role: the tokenizer of {model.name} has no chat template; say where by "
            "prompt, generation or token ids"
        )
    probe_ND = torch.zeros(1, width(model, hookpoint))
    try:
        operation.delta(probe_ND)
        if clause.gate is not None:
            clause.gate.opens(probe_ND)
        for read in clause.reads:
            read.encode(probe_ND)
    except (RuntimeError, ConfigError) as error:
        line = " ".join(str(error).split())
        raise ConfigError(
            f"{clause.label} does not fit {hookpoint}, which has width {probe_ND.shape[1]}; give vectors and "
            f"dictionaries of that width ({line})"
        ) from error
    return hookpoint


def first_place(model: Model, rows: Sequence[Sequence[Operation | Clause]]) -> str | None:
    """The hookpoint of these operations with the fewest blocks before it; None where there are none."""
    places = {_place(model, as_clause(given)) for row in rows for given in row}
    return min(sorted(places), key=lambda place: len(passed_blocks(model, place).blocks), default=None)


def _place(model: Model, clause: Clause) -> str:
    """The one hookpoint of a clause; raises for several, for none, and for positions that the model cannot tell."""
    at: object = clause.operation.hookpoint
    if not isinstance(at, str):
        raise ConfigError(f"{clause.label} acts at {at!r}, expected the name of one hookpoint")
    try:
        found = resolve(model, at)
        clause.where.require_known(model)
    except (ConfigError, ModelError) as error:
        raise type(error)(f"{clause.label}: {error}") from error
    if len(found) > 1:
        raise ModelError(f"{clause.label} acts at {at!r}, which are {len(found)} hookpoints; give a clause for each")
    return found[0]


@contextmanager
def _attached(
    model: Model, rows: Sequence[Sequence[Operation | Clause]], *, skip_special: bool, force: bool
) -> Iterator[Steering]:
    """Clauses of all rows on their hookpoints, in the order of every row; what rows share at one place in it, once."""
    everyone = len(rows) == 1
    of_clause: dict[tuple[int, int], tuple[Clause, list[int]]] = {}
    for number, row in enumerate(rows):
        clauses = [as_clause(given) for given in row]
        require_apart(clauses)
        for place, (given, clause) in enumerate(zip(row, clauses, strict=True)):
            of_clause.setdefault((place, id(given)), (clause, []))[1].append(number)
    in_order = [of_clause[key] for key in sorted(of_clause, key=lambda key: key[0])]
    steering = Steering(tuple(clause for clause, _ in in_order))
    special = torch.tensor(sorted(special_tokens(model)))
    context = _Context(model, None if everyone else len(rows), special)
    with ExitStack() as stack:
        for rank, (clause, numbers) in enumerate(in_order):
            hookpoint = require_fit(model, clause, force=force)
            own = None if everyone else tuple(numbers)
            mover = _Mover(clause if skip_special else _with_special(clause), rank, own, context, steering)
            stack.enter_context(replace(model, {hookpoint: mover}))
        yield steering


@dataclass(slots=True, eq=False)
class _Context:
    """What the clauses of one block share."""

    model: Model
    n_rows: int | None
    """Rows that every forward has; None for any number."""
    special: Tensor
    """Ids of special tokens."""
    passing: Passing | None = None
    """Of the forward that is running."""

    def of(self, forward: Forward, x_BSD: Tensor) -> Passing:
        if self.passing is None or self.passing.forward is not forward:
            shape = (x_BSD.shape[0], x_BSD.shape[1])
            if self.n_rows is not None and shape[0] % self.n_rows:
                raise ModelError(
                    f"this forward has {shape[0]} rows, but operations were given for {self.n_rows}; give generate a "
                    f"batch_size of {self.n_rows} or more"
                )
            memory = forward.notes.setdefault(self, Memory())
            self.passing = Passing(self.model, forward, shape, x_BSD.device, self.special, memory)
        return self.passing

    def is_own_B(self, rows: tuple[int, ...], passing: Passing) -> Bool[Tensor, " B"]:
        """Rows of the forward that belong to the given ones."""
        assert self.n_rows is not None
        copies = passing.shape[0] // self.n_rows
        numbers_B = torch.arange(passing.shape[0], device=passing.device) // copies
        return torch.isin(numbers_B, torch.tensor(rows, device=passing.device))


@dataclass(slots=True)
class _Mover:
    """The replacement function of one clause."""

    clause: Clause
    rank: int
    rows: tuple[int, ...] | None
    context: _Context
    steering: Steering

    def __call__(self, x_BSD: Float[Tensor, "B S D"]) -> Float[Tensor, "B S D"] | None:
        passing = self.context.of(current_forward(), x_BSD)
        moved_BS = self.clause.where.mask(passing)
        if self.rows is not None:
            moved_BS = moved_BS & self.context.is_own_B(self.rows, passing)[:, None]
        if self.clause.gate is not None:
            moved_BS = moved_BS & self._opened(x_BSD, passing)
        factor_BS = self._factors(x_BSD, passing)
        x_ND, moved_N = x_BSD.flatten(0, 1), moved_BS.flatten()
        is_all = bool(moved_N.all())
        before_MD = x_ND if is_all else x_ND[moved_N]
        delta_MD = self.clause.operation.delta(before_MD.float()) if len(before_MD) else before_MD.float()
        if factor_BS is not None:
            factor_N = factor_BS.flatten()
            delta_MD = delta_MD * (factor_N if is_all else factor_N[moved_N])[:, None]
        if self.rank == 0:
            self.steering.n_tokens_seen += len(x_ND)
            self.steering.n_tokens_moved += int((delta_MD != 0).any(1).sum())
        if not len(before_MD):
            return None
        after_MD = before_MD + delta_MD.to(x_BSD.dtype)
        if is_all:
            return after_MD.view_as(x_BSD)
        after_ND = x_ND.clone()
        after_ND[moved_N] = after_MD
        return after_ND.view_as(x_BSD)

    def _opened(self, x_BSD: Tensor, passing: Passing) -> Bool[Tensor, "B S"]:
        gate = self.clause.gate
        assert gate is not None
        open_BS = gate.opens(x_BSD.flatten(0, 1).float()).view(passing.shape)
        if not self.clause.latched:
            return open_BS
        open_BS = (open_BS & passing.is_real_BS & ~passing.is_special_BS).long().cummax(1).values.bool()
        carried, number = passing.memory.carried, 2 * self.rank
        if number in carried:
            open_BS = open_BS | carried[number][:, None]
        carried[number] = open_BS[:, -1]
        return open_BS

    def _factors(self, x_BSD: Tensor, passing: Passing) -> Float[Tensor, "B S"] | None:
        if self.clause.schedule is None:
            return None
        carried, number = passing.memory.carried, 2 * self.rank + 1
        factor_BS, left_B = self.clause.schedule.factors(passing, x_BSD, carried.get(number))
        if left_B is not None:
            carried[number] = left_B
        return factor_BS


def _require_list(given: object, who: str) -> None:
    """Raise ConfigError for an operation where a list of them is meant, and for anything else that is none."""
    if not isinstance(given, list | tuple):
        raise ConfigError(f"{who} takes a list of operations, found {type(given).__name__}; write […]")


def _with_special(clause: Clause) -> Clause:
    return dataclasses.replace(clause, where=dataclasses.replace(clause.where, special=True))


def _weights(identity: Mapping[str, str]) -> str:
    """What tells one set of weights from another: a sum of the files, or a Hub revision."""
    return identity.get("sha256") or identity.get("revision") or identity.get("name", "unknown")
