"""Print the tables of docs/smollm2.md from a finished run folder: `python benchmarks/real_tables.py runs/real`.

Reads score rows only; measures nothing itself. The folder holds the comparisons of both sweeps, `probe`, and a folder
`stability-KIND` for each kind that was trained from two seeds.
"""

import sys
from collections.abc import Iterable
from pathlib import Path

from bathyscope.dictionaries.dictionary import load_dictionary
from bathyscope.evaluation.compare import read_comparison
from bathyscope.evaluation.scores import Score, read_scores

FIDELITY = ("L0", "variance explained", "CE loss recovered", "KL", "dead share", "dense share")
NULLED = ("variance explained", "CE loss recovered")
PROBES = ("k=1", "k=2", "k=5")
STABILITY = ("mean max cosine", "matched cosine", "share matched above 0.7", "share matched above 0.9")


def main(run: Path) -> None:
    """Print the fidelity table, the probing table and the stability table."""
    comparisons = sorted(run.glob("sweep*/comparison"))
    heads = [head for name in FIDELITY for head in ([name, f"{name}, random"] if name in NULLED else [name])]
    heads.append("silent on 200,000 training activations")
    print(f"| dictionary | training tokens | {' | '.join(heads)} |\n|{'---|' * (2 + len(heads))}")
    for place in comparisons:
        for row in read_comparison(place):
            found = {(score.subject, score.metric): score for score in row.scores}
            cells: list[str] = []
            for name in FIDELITY:
                cells.append(_cell(found.get(("dictionary", name))))
                cells += [_cell(found.get(("random dictionary", name)))] if name in NULLED else []
            training = load_dictionary(place.parent / row.name).training
            cells.append(f"{training['survey']['dead_share']:.4f}")
            print(f"| {row.name} | {training['tokens']:,} | {' | '.join(cells)} |")
    print(f"\n| subject | {' | '.join(PROBES)} | gain over channels, k=5 |\n|{'---|' * (2 + len(PROBES))}")
    _print_probes(read_scores(run / "probe"))
    print(f"\n| kind | subject | {' | '.join(STABILITY)} |\n|{'---|' * (2 + len(STABILITY))}")
    for place in sorted(run.glob("stability-*")):
        rows = read_scores(place)
        for subject in dict.fromkeys(row.subject for row in rows):
            cells = [_cell(_find(rows, subject, name)) for name in STABILITY]
            null = subject.partition(", ")[2] or "two seeds"
            print(f"| {place.name.removeprefix('stability-')} | {null} | {' | '.join(cells)} |")


def _print_probes(rows: list[Score]) -> None:
    """Mean accuracy over tasks: a line for each dictionary and null with its k, then the baselines without k."""
    subjects = dict.fromkeys(row.subject for row in rows if row.metric == "accuracy · mean of tasks")
    names = dict.fromkeys(subject.partition(" · k=")[0] for subject in subjects)
    for name in names:
        if name in subjects:
            print(f"| {name} | {_cell(_find(rows, name, 'accuracy · mean of tasks'))} | | | |")
            continue
        cells = [_cell(_find(rows, f"{name} · {k}", "accuracy · mean of tasks")) for k in PROBES]
        gain = _cell(_find(rows, f"{name} · {PROBES[-1]}", "accuracy gain over channels · mean of tasks"))
        print(f"| {name} | {' | '.join(cells)} | {gain} |")


def _find(rows: Iterable[Score], subject: str, metric: str) -> Score | None:
    return next((row for row in rows if (row.subject, row.metric) == (subject, metric)), None)


def _cell(row: Score | None) -> str:
    if row is None:
        return "–"
    digits = 1 if row.metric == "L0" else 3
    return f"{row.value:.{digits}f} [{row.low:.{digits}f}, {row.high:.{digits}f}]"


if __name__ == "__main__":
    main(Path(sys.argv[1]))
