"""`pair_set`: named pair sets, each a source of its own; the registry is one table.

The names in brackets are those of the SSAE paper (arXiv 2502.12179): varying concepts, and most that change at once.
All texts are the project's own or come from pinned materials; the paper's files are not used.
"""

import hashlib
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from difflib import get_close_matches
from importlib import resources
from pathlib import Path
from typing import Protocol, runtime_checkable

from bathyscope import __version__
from bathyscope.activations.pairs.analogies import Analogies
from bathyscope.activations.pairs.answers import Answers
from bathyscope.activations.pairs.draw import draw_pairs
from bathyscope.activations.pairs.pair import PairSet, by_transition, transition
from bathyscope.activations.pairs.parallel import ParallelVerses
from bathyscope.activations.pairs.template import Template, parse_template, read_template
from bathyscope.config import to_json
from bathyscope.errors import ConfigError
from bathyscope.files import sha256


@runtime_checkable
class PairSource(Protocol):
    """Whatever pairs can be drawn from."""

    def draw(self, *, n: int | None, seed: int) -> PairSet:
        """`n` different pairs (None: all), the same for the same seed."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class TemplatePairs:
    """Pairs from a template: one that comes with the library, or a file."""

    template: str
    """Name of a template of the library, or the path of a TOML file."""
    transitions: bool = False
    """Take each unordered pair of values of a factor as a factor of its own, see `by_transition`."""

    def draw(self, *, n: int | None, seed: int) -> PairSet:
        """See `draw_pairs`."""
        template, checksum = self._open()
        pairs = draw_pairs(template, n=n, seed=seed)
        if self.transitions:
            pairs = replace(by_transition(pairs, _transitions(template)), name=pairs.name)
        about = {"licence": template.licence, "origin": template.origin}
        record = {"name": f"template {template.name}", "version": __version__, "sha256": checksum, **about}
        source = replace(self, template=Path(self.template).name)  # a manifest names no folders
        return replace(pairs, materials=(record,), drawn={"source": to_json(source), "n": n, "seed": seed})

    def _open(self) -> tuple[Template, str]:
        own = resources.files("bathyscope.activations.pairs").joinpath("templates", f"{self.template}.toml")
        if "/" not in self.template and own.is_file():
            data = own.read_bytes()
            return parse_template(tomllib.loads(data.decode()), name=self.template), hashlib.sha256(data).hexdigest()
        return read_template(self.template), sha256(Path(self.template))


def _transitions(template: Template) -> list[str]:
    """Every transition that the template allows, sorted."""
    changing = {name for names, share in template.changes.items() if share > 0 for name in names}
    starts = {name: template.starts.get(name, template.factors[name]) for name in sorted(changing)}
    return sorted(
        {transition(f, a, b) for f, begins in starts.items() for a in begins for b in template.factors[f] if a != b}
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class NamedSet:
    """One entry of the table of sets."""

    source: PairSource
    """Where its pairs are drawn from."""
    n: int
    """Pairs that are drawn unless another number is asked."""
    about: str
    """One line for people."""


def pair_set(name: str, *, n: int | None = None, seed: int = 0) -> PairSet:
    """The named set with `n` pairs (its usual number for None), drawn with `seed`; materials are fetched.

    Raises ConfigError with the nearest names when there is no such set, and when it has fewer pairs.
    """
    if name not in SETS:
        near = get_close_matches(name, SETS, n=3, cutoff=0.4) or list(SETS)
        raise ConfigError(f"no pair set is named {name!r}; nearest: {', '.join(near)}")
    if n is not None and n < 1:
        raise ConfigError(f"n is {n}, expected at least 1 pair")
    return replace(SETS[name].source.draw(n=SETS[name].n if n is None else n, seed=seed), name=name)


SETS: Mapping[str, NamedSet] = {
    "lang": NamedSet(
        source=TemplatePairs(template="language"), n=1000, about="LANG(1,1): English sentences become French"
    ),
    "gender": NamedSet(source=TemplatePairs(template="gender"), n=1000, about="GENDER(1,1): a man becomes a woman"),
    "binary": NamedSet(
        source=TemplatePairs(template="binary"),
        n=1800,
        about="BINARY(2,2): language, gender, or both, N + N + 4N pairs",
    ),
    "quartet": NamedSet(
        source=TemplatePairs(template="quartet"),
        n=1600,
        about="QUARTET(4,2): two of language, gender, tense and quality, either way; each alone in a sixteenth",
    ),
    "corr": NamedSet(
        source=TemplatePairs(template="correlated", transitions=True),
        n=1500,
        about="CORR(2,1): English becomes French or German",
    ),
    "cat": NamedSet(
        source=TemplatePairs(template="categories", transitions=True),
        n=4000,
        about="CAT(135,3): up to three of colour, shape and thing change; 135 transitions",
    ),
    "truth": NamedSet(source=Answers(), n=1500, about="TRUTH(1,1): a wrong answer becomes the right one"),
    "verses": NamedSet(
        source=ParallelVerses(language=1.0, verse=1.0, both=4.0),
        n=3000,
        about="English verses become Portuguese, another verse, or both",
    ),
    "verses-lang": NamedSet(source=ParallelVerses(), n=2000, about="English verses become Portuguese"),
    "family-plural": NamedSet(
        source=Analogies(relations=("family", "gram8-plural"), n_pools=4),
        n=1200,
        about="two words; a family word changes sex, a noun becomes plural, or both",
    ),
    "capital-nationality": NamedSet(
        source=Analogies(relations=("capital-world", "gram6-nationality-adjective"), compose="chain"),
        n=150,
        about="a capital becomes its country, a country its adjective, or a capital the adjective",
    ),
}
"""Name → set."""
