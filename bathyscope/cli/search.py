"""`bathyscope search`: features by their words, by what fires on prompts, by a token, or by their part in an answer."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Literal

import tyro

from bathyscope.circuits.attribution import AttributionSettings, attribute
from bathyscope.cli.command import Command
from bathyscope.cli.terminal import result, say
from bathyscope.dictionaries.dictionary import load_dictionary
from bathyscope.errors import ConfigError
from bathyscope.explanations.reader import Explanations
from bathyscope.explanations.search import search_words
from bathyscope.features.index import FeatureIndex
from bathyscope.features.search import Found, Pool, search_activation, search_prompts, search_token
from bathyscope.features.tokens import TokenTable
from bathyscope.models.load import load_model

SHOWN_WORDS = 5
MARK = 0.2
"""A token is shown with its value when that is at least this share of the feature's highest on the prompt."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Words:
    """By the words that explain them."""

    query: str
    """Words to look for, any of which may match; `"two words"` is a phrase, `harb*` a beginning."""
    method: str | None = None
    """Which words (docs/explanations.md); None takes those that name the features."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Activation:
    """By what fires on one prompt, all features at once."""

    dictionary: Path
    """Folder of kind `dictionary`."""
    prompt: str
    """The prompt."""
    pool: Pool = "max"
    """What ranks a feature: its highest value, its mean over the tokens, or its value at the last one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Prompts:
    """By prompts on all of which they fire, and prompts on none of which they do."""

    dictionary: Path
    """Folder of kind `dictionary`."""
    having: tuple[str, ...]
    """Prompts on every one of which the feature fires."""
    without: tuple[str, ...] = ()
    """Prompts on none of which it fires."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Token:
    """By the token that they peak on."""

    token: str
    """How the token reads; spaces around it and case do not matter."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Neighbours:
    """By the features next to a known one."""

    feature: int
    """Its number."""
    by: Literal["decoder", "cofiring"] = "decoder"
    """Nearest in what they write (`decoder`, cosine), or in when they fire (`cofiring`, phi)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """By their part in one answer against another."""

    dictionary: Path
    """Folder of kind `dictionary`."""
    prompt: str
    """Text whose next token is asked for."""
    answer: str
    """One token, usually with a space before it."""
    other: str
    """The token that it is compared with."""
    settings: AttributionSettings = field(default_factory=AttributionSettings)
    """How features are ranked and checked."""


By = (
    Annotated[Words, tyro.conf.subcommand("words")]
    | Annotated[Activation, tyro.conf.subcommand("activation")]
    | Annotated[Prompts, tyro.conf.subcommand("prompts")]
    | Annotated[Token, tyro.conf.subcommand("token")]
    | Annotated[Neighbours, tyro.conf.subcommand("neighbours")]
    | Annotated[Answer, tyro.conf.subcommand("answer")]
)
"""Every way to search."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Search(Command):
    """Where to look, and by what."""

    by: By
    """What is known of the features."""
    index: Path | None = None
    """Folder of kind `features`: `prompts`, `token` and `neighbours` need it; `activation` then shows shares."""
    explanations: Path | None = None
    """Folder of kind `explanations`; needed by `words`, elsewhere it names the features that are found."""
    model: str = "smollm2"
    """The model that the dictionary belongs to."""
    n: int = 20
    """Features to show."""


def run(config: Search) -> None:
    """Search and print the features, best first."""
    match config.by:
        case Words(query=query, method=method):
            explanations = Explanations(_needed(config.explanations, "words", "explanations"))
            _show(config, search_words(explanations, query, method=method, n=config.n))
        case Token(token=token):
            _show(config, search_token(_index(config, "token"), token, n=config.n))
        case Neighbours():
            _show(config, _neighbours(_index(config, "neighbours"), config.by)[: config.n])
        case Prompts(dictionary=folder, having=having, without=without):
            index = _index(config, "prompts")
            dictionary, model = load_dictionary(folder), load_model(config.model)
            _show(config, search_prompts(model, dictionary, index, having, without=without, n=config.n))
        case Activation():
            _activation(config, config.by)
        case Answer():
            _answer(config, config.by)


def _needed(folder: Path | None, by: str, option: str) -> Path:
    if folder is None:
        raise ConfigError(f"a search by {by} needs --{option}")
    return folder


def _index(config: Search, by: str) -> FeatureIndex:
    return FeatureIndex(_needed(config.index, by, "index"))


def _neighbours(index: FeatureIndex, by: Neighbours) -> list[Found]:
    row = index.feature(by.feature)
    lists = {"decoder": (row.neighbours, row.neighbour_cosines), "cofiring": (row.cofiring, row.cofiring_scores)}
    return [Found(feature=feature, score=score) for feature, score in zip(*lists[by.by], strict=True)]


def _show(config: Search, found: list[Found]) -> None:
    say("feature     score  words it fires on", as_json=config.json)
    explanations = _explanations(config)
    for one in found:
        _line(config, explanations, one.feature, {"score": one.score}, f"{one.score:9.4f}")
    if not found:
        say("nothing found", as_json=config.json)


def _activation(config: Search, by: Activation) -> None:
    model, dictionary = load_model(config.model), load_dictionary(by.dictionary)
    index = None if config.index is None else FeatureIndex(config.index)
    firings = search_activation(model, dictionary, by.prompt, index=index, pool=by.pool, n=config.n)
    pieces = TokenTable.of(model.tokenizer).render(firings.tokens)
    say(f"{firings.n_firing} features fire on {len(pieces)} tokens", as_json=config.json)
    explanations = _explanations(config)
    for one in firings.found:
        limit = MARK * one.values.max()
        shown = " ".join(
            f"{piece.strip() or piece!r}:{v:.2g}" for piece, v in zip(pieces, one.values, strict=True) if v > limit
        )
        values = {"score": one.score, "tokens": pieces, "values": one.values.round(6).tolist()}
        _line(config, explanations, one.feature, values, f"{one.score:9.4f}", f"[{shown}]")


def _answer(config: Search, by: Answer) -> None:
    model, dictionary = load_model(config.model), load_dictionary(by.dictionary)
    found = attribute(model, dictionary, by.prompt, answer=by.answer, other=by.other, settings=by.settings)
    pieces = TokenTable.of(model.tokenizer).render(found.tokens)
    figures = {
        "logit difference": found.difference,
        "with every feature off": found.features_off,
        "attributed to features": found.attributed,
        "residual": found.residual,
        "error term, first order": found.error,
        "active features": found.n_active,
        "attribution agrees with cuts": found.cut_agreement,
        "activation agrees with cuts": found.activation_agreement,
    }
    result(figures, as_json=config.json)
    say("feature  attribution  cut      rank by activation, token", as_json=config.json)
    explanations = _explanations(config)
    for one in found.found:
        figures = {"attribution": one.attribution, "cut": one.cut, "activation_rank": one.activation_rank}
        place = f"{one.activation_rank:4d} {pieces[one.token].strip() or pieces[one.token]!r}"
        _line(config, explanations, one.feature, figures, f"{one.attribution:+9.4f} {one.cut:+9.4f}", place)


def _explanations(config: Search) -> Explanations | None:
    return None if config.explanations is None else Explanations(config.explanations)


def _line(
    config: Search, explanations: Explanations | None, feature: int, values: dict[str, object], *columns: str
) -> None:
    """One feature, with the words that it fires on where explanations are given."""
    words = ""
    if explanations is not None:
        words = ", ".join(word.word for word in explanations.words(feature)[:SHOWN_WORDS])
    if config.json:
        result({"feature": feature, **values, "words": words}, as_json=True)
    else:
        say("  ".join([f"{feature:7d}", *columns, words]).rstrip(), as_json=False)
