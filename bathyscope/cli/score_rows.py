"""Score rows on the terminal, and names for several dictionaries that are given as folders."""

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from bathyscope.cli.terminal import result
from bathyscope.dictionaries.dictionary import Dictionary, load_dictionary
from bathyscope.errors import ConfigError
from bathyscope.evaluation.scores import Score


def show_scores(rows: Iterable[Score], *, as_json: bool, is_shown: Callable[[Score], bool] = lambda row: True) -> None:
    """One line per row: every row as JSON, as text those that `is_shown` picks."""
    for row in rows:
        fields = {"metric": row.metric, "subject": row.subject, "value": row.value, "low": row.low, "high": row.high}
        text = f"{row.value:.4f}  [{row.low:.4f}, {row.high:.4f}]  {row.n} {row.unit}"
        if as_json or is_shown(row):
            result(fields if as_json else {f"{row.metric} · {row.subject}": text}, as_json=as_json)


def load_named(folders: Sequence[Path]) -> tuple[dict[str, Dictionary], dict[str, Path]]:
    """Name → dictionary, and role → folder for the manifest; the name is the shortest end of the path that is unique.

    Raises ConfigError when a folder is given twice.
    """
    places = [folder.resolve() for folder in folders]
    if len(set(places)) < len(places):
        raise ConfigError("a dictionary was given twice; name each once")
    depth = 1
    while len({place.parts[-depth:] for place in places}) < len(places):
        depth += 1
    names = ["/".join(place.parts[-depth:]) for place in places]
    loaded = {name: load_dictionary(folder) for name, folder in zip(names, folders, strict=True)}
    return loaded, {f"dictionary {name}": folder for name, folder in zip(names, folders, strict=True)}
