"""The `[event]` table of a statement."""

from pathlib import Path
from typing import Any

from bathyscope.dictionaries.dictionary import load_dictionary
from bathyscope.errors import ConfigError
from bathyscope.models.model import Model
from bathyscope.risk.events.activation import FeatureAbove
from bathyscope.risk.events.event import Event
from bathyscope.risk.events.logit import ArgmaxIn, ArgmaxToken, TokenProbability
from bathyscope.risk.events.sequence import GreedySequence, SampledSequence
from bathyscope.risk.events.text import TextMatches, text_matcher
from bathyscope.risk.statement.table import Table

KINDS = ("argmax", "draw", "greedy", "sampled", "feature", "text")


def read_event(table: Table, model: Model, *, beside: Path) -> Event:
    """The event that a table states; paths are relative to `beside`. Raises ConfigError for what it cannot read."""
    kind = table.get("kind", str)
    match kind:
        case "argmax":
            ids = _choices(table, model)
            event: Event = ArgmaxToken(ids[0]) if len(ids) == 1 else ArgmaxIn(ids)
        case "draw":
            event = TokenProbability(
                _token(table, model, table.get("token", object)), table.get("temperature", float, 1.0)
            )
        case "greedy":
            event = GreedySequence(_tokens(model, table.get("text", str)))
        case "sampled":
            event = SampledSequence(_tokens(model, table.get("text", str)), table.get("temperature", float, 1.0))
        case "feature":
            event = FeatureAbove(
                load_dictionary(beside / table.get("dictionary", str)),
                table.get("feature", int),
                table.get("above", float),
            )
        case "text":
            rule = table.get("rule", str)
            event = TextMatches(matches=text_matcher(rule), label=rule, n_generated=table.get("n_tokens", int, 16))
        case _:
            raise ConfigError(f"{table.where}: kind is {kind!r}, expected one of {', '.join(KINDS)}")
    table.done()
    return event


def _choices(table: Table, model: Model) -> tuple[int, ...]:
    """The ids of `token`, or of each of `tokens`."""
    if not table.has("tokens"):
        return (_token(table, model, table.get("token", object)),)
    tokens: list[Any] = table.get("tokens", list)
    if not tokens:
        raise ConfigError(f"{table.where}: tokens is empty; name at least one")
    return tuple(_token(table, model, token) for token in tokens)


def _token(table: Table, model: Model, given: object) -> int:
    """A token by its id or by its text, which must be one token."""
    if isinstance(given, int) and not isinstance(given, bool):
        if not 0 <= given < model.n_vocabulary:
            last = model.n_vocabulary - 1
            raise ConfigError(f"{table.where}: token {given} is not in the vocabulary of {model.name}: 0 to {last}")
        return given
    if not isinstance(given, str):
        raise ConfigError(f"{table.where}: a token is {given!r}, expected its number or its text in quotes")
    ids = _tokens(model, given)
    if len(ids) != 1:
        raise ConfigError(
            f"{table.where}: {given!r} is {len(ids)} tokens of {model.name}, expected one; for several, write "
            f"kind = 'greedy' and text = {given!r}"
        )
    return ids[0]


def _tokens(model: Model, text: str) -> tuple[int, ...]:
    return tuple(model.tokenizer(text, add_special_tokens=False)["input_ids"])
