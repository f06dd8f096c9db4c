"""`Template`: a small language for texts with named factors, read from TOML.

    text = "{A colour} {shape} {object} {place}"        what is written
    [factors]                                           what may differ between the two sides of a pair
    colour = ["red", "blue"]
    [context]                                           what both sides share
    place = ["on the table", "by the door"]
    [changes]                                           which factors change together, and how often
    "colour" = 1
    "colour + shape" = 4                                or `at_most = 2`: all sets of one or two factors, equally often

`{name}` is the value of a factor or context, or a form; `{Name}` begins with a capital, `{a name}` and `{A name}` put
`a` or `an` before it (by the first letter: write the article into the value where that is wrong); `{{` is a brace.
A form depends on others (agreement): a table with `by`, the names it depends on, and `values`, nested in that order; a
list in place of a table follows the order of the values. A factor or context with `by` and `values` is written so, too.
"""

import itertools
import re
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches
from pathlib import Path
from typing import Any, cast

from bathyscope.errors import ConfigError
from bathyscope.runtime import disk_errors

DEPTH = 8
"""Forms that may stand inside each other."""
SLOT = re.compile(r"\{\{|\}\}|\{(?:([aA]) )?(\w+)\}|[{}]")
ABOUT = ("name", "description", "licence", "origin")
KEYS = (*ABOUT, "prefix", "text", "factors", "context", "forms", "starts", "changes", "at_most", "weights", "group_by")
"""What a template file may hold."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Form:
    """How something is written, given the values that it depends on."""

    by: tuple[str, ...]
    """Factors and contexts that it depends on; none is a fixed text."""
    values: Any
    """A text, or tables (by value) and lists (by number of the value) nested as deep as `by` is long."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Weight:
    """How much likelier (or rarer) a first side with certain values is."""

    when: Mapping[str, str]
    """Factor or context → value; all of them must hold."""
    weight: float
    """Factor of the chance; combinations that no rule names have 1."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Template:
    """Everything that a template file says, checked."""

    name: str
    """Short name."""
    text: Form
    """What is written."""
    factors: Mapping[str, tuple[str, ...]]
    """Factor → its values, in order."""
    context: Mapping[str, tuple[str, ...]] = field(default_factory=dict[str, tuple[str, ...]])
    """What both sides of a pair share → its values."""
    forms: Mapping[str, Form] = field(default_factory=dict[str, Form])
    """How names are written where a value is not written as it is."""
    prefix: Form = Form(by=(), values="")
    """What both sides begin with; may depend on the context only."""
    starts: Mapping[str, tuple[str, ...]] = field(default_factory=dict[str, tuple[str, ...]])
    """Factor → values of the first side; all where not given. Fixes the direction of a change."""
    changes: Mapping[tuple[str, ...], float] = field(default_factory=dict[tuple[str, ...], float])
    """Factors that change together → share of the pairs; by default each factor alone, equally often."""
    weights: tuple[Weight, ...] = ()
    """Likelier and rarer first sides: correlated factors."""
    group_by: tuple[str, ...] = ()
    """Contexts that make up a pair's group; by default all of them."""
    description: str = ""
    """One line on what differs."""
    licence: str = "not stated"
    """Licence of the word lists."""
    origin: str = "local file"
    """Where the word lists come from."""

    @property
    def variables(self) -> dict[str, tuple[str, ...]]:
        """Contexts and factors with their values."""
        return {**self.context, **self.factors}

    def write(self, values: Mapping[str, str]) -> str:
        """The text for one value of each factor and context."""
        return self._write_form(self.text, values, 0)

    def write_prefix(self, values: Mapping[str, str]) -> str:
        """The shared beginning for one value of each context."""
        return self._write_form(self.prefix, values, 0)

    def _write_form(self, form: Form, values: Mapping[str, str], depth: int) -> str:
        if depth > DEPTH:
            raise ConfigError(f"template {self.name}: forms stand inside each other more than {DEPTH} deep (a circle?)")
        leaf = form.values
        for name in form.by:
            leaf = _step(leaf, values[name], self.variables[name])
        return SLOT.sub(lambda found: self._fill(found, values, depth), str(leaf))

    def _fill(self, found: re.Match[str], values: Mapping[str, str], depth: int) -> str:
        article, name = found.groups()
        if name is None:
            return found[0][0]
        key = name[0].lower() + name[1:] if name not in self.forms and name not in values else name
        form = self.forms.get(key)
        said = values[key] if form is None else self._write_form(form, values, depth + 1)
        if article:
            vowel = said[:1].lower() in {"a", "e", "i", "o", "u"}
            return f"{article}{'n' if vowel else ''} {said}"
        return said[:1].upper() + said[1:] if key != name else said


def read_template(path: str | Path) -> Template:
    """The template in a TOML file. Raises ConfigError that names the file and what is wrong."""
    path = Path(path)
    if not path.is_file():
        raise ConfigError(f"no template at {path}; expected a TOML file with text, [factors] and [context]")
    with disk_errors(path, doing="read"):
        data = path.read_bytes()
    try:
        table = tomllib.loads(data.decode())
    except ValueError as error:
        raise ConfigError(f"{path} is not TOML: {error}") from error
    return parse_template(table, name=path.stem)


def parse_template(table: Mapping[str, Any], *, name: str) -> Template:
    """The template that a parsed TOML table describes; `name` unless it has its own. Raises ConfigError."""
    name = str(table.get("name", name))
    unknown = sorted(set(table) - set(KEYS))
    if unknown:
        near = get_close_matches(unknown[0], KEYS, n=1)
        remedy = f"did you mean {near[0]}?" if near else f"expected some of: {', '.join(KEYS)}"
        raise ConfigError(f"template {name}: no entry is named {unknown[0]!r}; {remedy}")
    if "text" not in table or not table.get("factors"):
        raise ConfigError(f"template {name} needs an entry text and at least one factor under [factors]")
    factors, factor_forms = _variables(name, table["factors"])
    context, context_forms = _variables(name, table.get("context", {}))
    both = sorted(set(factors) & set(context))
    if both:
        raise ConfigError(f"template {name}: {both[0]!r} is a factor and a context; give one of them another name")
    own = {key: _form(name, key, value) for key, value in table.get("forms", {}).items()}
    template = Template(
        name=name,
        text=_form(name, "text", table["text"]),
        prefix=_form(name, "prefix", table.get("prefix", "")),
        factors=factors,
        context=context,
        forms={**factor_forms, **context_forms, **own},
        starts={key: tuple(values) for key, values in table.get("starts", {}).items()},
        changes=_changes(name, table, tuple(factors)),
        weights=tuple(Weight(when=row["when"], weight=float(row["weight"])) for row in table.get("weights", ())),
        group_by=tuple(table.get("group_by", context)),
        **{key: str(table[key]) for key in ABOUT[1:] if key in table},
    )
    _check(template)
    return template


def _variables(template: str, table: Mapping[str, Any]) -> tuple[dict[str, tuple[str, ...]], dict[str, Form]]:
    """Values of each factor or context, and the forms of those that are not written as they are."""
    values: dict[str, tuple[str, ...]] = {}
    forms: dict[str, Form] = {}
    for name, entry in table.items():
        if isinstance(entry, list):
            values[name] = tuple(map(str, cast(list[object], entry)))
        else:
            form = _form(template, name, entry)
            keys = tuple(form.values) if isinstance(form.values, dict) else ()
            values[name], forms[name] = keys, Form(by=(name, *form.by), values=form.values)
        if not values[name] or len(set(values[name])) < len(values[name]):
            raise ConfigError(f"template {template}: {name!r} needs a list of values, each once; found {entry!r:.80}")
    return values, forms


def _form(template: str, name: str, entry: Any) -> Form:
    if isinstance(entry, str):
        return Form(by=(), values=entry)
    if not isinstance(entry, dict) or set(cast(dict[str, Any], entry)) - {"by"} != {"values"}:
        raise ConfigError(f"template {template}: {name!r} needs a text, or a table of `by` and `values`")
    fields = cast(dict[str, Any], entry)
    return Form(by=tuple(fields.get("by", ())), values=fields["values"])


def _changes(template: str, table: Mapping[str, Any], factors: tuple[str, ...]) -> dict[tuple[str, ...], float]:
    """Sets of factors that change together, with their shares."""
    most, given = table.get("at_most"), table.get("changes", {})
    if most is None:
        shares = {tuple(part.strip() for part in key.split("+")): float(share) for key, share in given.items()}
        return shares or {(factor,): 1.0 for factor in factors}
    if given or not isinstance(most, int) or not 1 <= most <= len(factors):
        raise ConfigError(f"template {template}: at_most is 1 … {len(factors)} and stands in place of [changes]")
    sizes = range(1, most + 1)
    return dict.fromkeys((names for size in sizes for names in itertools.combinations(factors, size)), 1.0)


def _step(leaf: Any, value: str, values: Sequence[str]) -> Any:
    """One level down in nested tables and lists; KeyError or IndexError where there is nothing."""
    return leaf[values.index(value)] if isinstance(leaf, list) else leaf[value]


def _check(template: Template) -> None:
    """Raise ConfigError for names that mean nothing, forms with gaps, and shares that are no shares."""
    variables, where = template.variables, f"template {template.name}"
    places = [("text", template.text), ("prefix", template.prefix), *template.forms.items()]
    for place, form in places:
        for name in form.by:
            _require(name, variables, f"{where}, {place}")
        _check_leaves(template, place, form, form.values, form.by)
    for names in template.changes:
        for name in names:
            _require(name, template.factors, f"{where}, [changes]")
    for name, values in [
        *template.starts.items(),
        *[(k, (v,)) for rule in template.weights for k, v in rule.when.items()],
    ]:
        _require(name, variables, where)
        for value in values:
            _require(value, variables[name], f"{where}, {name}")
    for name in template.group_by:
        _require(name, template.context, f"{where}, group_by")
    shares = [*template.changes.values(), *(rule.weight for rule in template.weights)]
    if not all(0 <= share < float("inf") for share in shares) or not any(template.changes.values()):
        raise ConfigError(f"{where}: shares and weights must be 0 or more, and some change must have a share above 0")


def _check_leaves(template: Template, place: str, form: Form, leaf: Any, by: Sequence[str]) -> None:
    """Every combination of values has a text, and every slot in it a meaning."""
    where = f"template {template.name}, {place}"
    if by:
        for value in template.variables[by[0]]:
            try:
                below = _step(leaf, value, template.variables[by[0]])
            except (KeyError, IndexError, TypeError) as error:
                raise ConfigError(f"{where} says nothing for {by[0]} {value!r}; add it") from error
            _check_leaves(template, place, form, below, by[1:])
        return
    if not isinstance(leaf, str):
        raise ConfigError(f"{where}: expected a text behind {' and '.join(form.by) or 'it'}, found {leaf!r:.60}")
    known = [*template.variables, *template.forms]
    for found in SLOT.finditer(leaf):
        if found[2] is None and found[0] not in ("{{", "}}"):
            raise ConfigError(f"{where}: a lonely brace in {leaf!r}; write {{{{ for a brace")
        if found[2] is not None and found[2] not in known:
            _require(found[2][0].lower() + found[2][1:], known, where)


def _require(name: str, known: Sequence[str] | Mapping[str, Any], where: str) -> None:
    if name not in known:
        near = get_close_matches(name, list(known), n=3, cutoff=0.4) or list(known)[:6]
        raise ConfigError(f"{where}: nothing is named {name!r}; nearest: {', '.join(near) or 'none'}")
