"""The language bench as Markdown: every way at the clearest place of each set, the main ways at all places."""

from collections.abc import Iterator, Mapping, Sequence

from bathyscope.evaluation.scores import Score
from bathyscope.evaluation.single_changes.candidates import DICTIONARY, LEARNT, MEAN, PRINCIPAL, RANDOM
from bathyscope.evaluation.single_changes.scores import LEAD, SHIFT, TARGET, UNTOUCHED

AGREEMENT, EXPLAINED, COLUMNS = "agreement of two seeds", "mean square explained", "columns"
CLEARNESS = "cosine with their mean"
"""How alike single changes are on the choosing half: mean cosine with their mean."""
ABOUT = (CLEARNESS, COLUMNS, AGREEMENT, EXPLAINED)
NOTE = (
    "95 % intervals over groups of pairs in the reporting half; random ways are means over their draws. The place is "
    "the one where shifts of the choosing half are most alike, and that of a dictionary."
)

Cells = Mapping[tuple[str, str], Mapping[tuple[str, str], Score]]
"""(set and place, concept) → (way, metric) → row."""
About = Mapping[str, Mapping[str, Score]]
"""Set and place → metric → row."""


def table(rows: Sequence[Score]) -> str:
    """Three tables: ways at the clearest places, main ways at all places, and what is known of each set there."""
    cells: dict[tuple[str, str], dict[tuple[str, str], Score]] = {}
    about: dict[str, dict[str, Score]] = {}
    verdicts: dict[str, str] = {}
    for row in rows:
        name, _, rest = row.subject.partition(": ")
        if row.metric in ABOUT:
            about.setdefault(name, {})[row.metric] = row
            verdicts |= {name: rest.removeprefix("supports ")} if row.metric == COLUMNS else {}
        else:
            way, _, concept = rest.rpartition(", ")
            cells.setdefault((name, concept), {})[way, row.metric] = row
    shown = _shown_places(cells, about)
    parts = [
        "| set, place | concept | way | cosine with the shift | cosine with the target | lead of ssae |",
        "|" + "---|" * 6,
        *(line for (name, concept), found in cells.items() if name in shown for line in _ways(name, concept, found)),
        "",
        NOTE,
        "",
        f"| set, place | concept | {LEARNT} | {PRINCIPAL} | {MEAN} | {RANDOM} |",
        "|" + "---|" * 6,
        *(_line(name, concept, found) for (name, concept), found in cells.items()),
        "",
        f"| set, place | supports | {' | '.join(ABOUT)} |",
        "|" + "---|" * (2 + len(ABOUT)),
        *(_known(name, verdicts.get(name, "–"), found) for name, found in about.items()),
    ]
    return "\n".join(parts) + "\n"


def _shown_places(cells: Cells, about: About) -> set[str]:
    """Each set at its clearest place, and wherever a dictionary takes part."""
    best: dict[str, str] = {}
    for name, found in about.items():
        sets = name.partition(", ")[0]
        if sets not in best or found[CLEARNESS].value > about[best[sets]][CLEARNESS].value:
            best[sets] = name
    with_dictionary = {name for (name, _), found in cells.items() if (DICTIONARY, SHIFT) in found}
    return {*best.values(), *with_dictionary}


def _ways(name: str, concept: str, found: Mapping[tuple[str, str], Score]) -> Iterator[str]:
    nothing = next(row for (_, metric), row in found.items() if metric == UNTOUCHED)
    yield f"| {name} | {concept} | nothing added | – | {_cell(nothing)} | – |"
    for way in dict.fromkeys(way for way, metric in found if metric == SHIFT):
        lead = found.get((f"{LEARNT} over {way}", LEAD))
        yield f"| | | {way} | {_cell(found[way, SHIFT])} | {_cell(found[way, TARGET])} | {_cell(lead)} |"


def _line(name: str, concept: str, found: Mapping[tuple[str, str], Score]) -> str:
    ways = (LEARNT, PRINCIPAL, MEAN, RANDOM)
    return f"| {name} | {concept} | " + " | ".join(f"{found[way, SHIFT].value:.3f}" for way in ways) + " |"


def _known(name: str, verdict: str, found: Mapping[str, Score]) -> str:
    figures = [f"{found[metric].value:.3f}" if metric in found else "–" for metric in ABOUT]
    return f"| {name} | {verdict} | {' | '.join(figures)} |"


def _cell(row: Score | None) -> str:
    return "–" if row is None else f"{row.value:.3f} [{row.low:.3f}, {row.high:.3f}]"
