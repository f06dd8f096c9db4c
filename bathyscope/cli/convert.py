"""`bathyscope convert`: a dictionary of another tool into ours, or ours into another's, checked on activations."""

import dataclasses
import logging
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bathyscope.activations.store import ActivationStore
from bathyscope.cli.command import Command
from bathyscope.cli.terminal import result
from bathyscope.dictionaries.dictionary import Dictionary, SavedFormat
from bathyscope.dictionaries.formats.detect import open_place
from bathyscope.dictionaries.formats.self_check import SelfCheck, check_dictionary
from bathyscope.dictionaries.signs import split_signs
from bathyscope.errors import ConfigError
from bathyscope.models.hookpoints import names, resolve
from bathyscope.models.lens_names import lens_name, lens_names
from bathyscope.models.load import load_model

log = logging.getLogger(__name__)
CHUNK_ROWS = 2048


@dataclass(frozen=True, slots=True, kw_only=True)
class Convert(Command):
    """Which dictionary to read, and what to write."""

    dictionary: str
    """Folder or file of any known format, or a Hub id `organisation/name[@revision][/folder]`."""
    out: Path
    """Folder to write; for sparsify name it after the hookpoint."""
    format: SavedFormat = "bathyscope"
    """What to write."""
    activations: Path | None = None
    """Folder of kind `activations` to check the dictionary on before anything is written."""
    n_rows: int = 8192
    """Activations that are looked at for the check."""
    hookpoint: str | None = None
    """Where the dictionary belongs (module path or TransformerLens name), if its files do not say."""
    model: str | None = None
    """The model it belongs to, to translate its hook names into module paths."""
    split_signs: bool = False
    """Write a dictionary of signed codes with two features for each: f for positive codes, F + f for negative ones."""
    force: bool = False
    """Write although the check is red, or the files name another hookpoint than `--hookpoint`."""

    def __post_init__(self) -> None:
        if self.n_rows < 2:
            raise ConfigError(f"n_rows is {self.n_rows}, expected at least 2")


def run(config: Convert) -> None:
    """Read, say what was found and what was inferred, check, write."""
    dictionary, parts = open_place(config.dictionary)
    dictionary = _attached(dictionary, config)
    result(_found(dictionary), as_json=config.json)
    if config.activations is not None:
        store = ActivationStore(config.activations)
        check = check_dictionary(dictionary, _pairs(dictionary, store, config), n_rows=config.n_rows, parts=parts)
        _report(check, config)
    dictionary = split_signs(dictionary) if config.split_signs else dictionary
    dictionary.save(config.out, format=config.format)
    result({"written": str(config.out), "format": config.format}, as_json=config.json)


def _attached(dictionary: Dictionary, config: Convert) -> Dictionary:
    """The dictionary with its hookpoints as module paths, and the TransformerLens name of what it reads."""
    source = dict(dictionary.source or {})
    read = config.hookpoint or dictionary.hookpoint or source.get("hook_name")
    written = dictionary.output_hookpoint
    written = source.get("hook_name_out", written) if written == "output" else written
    if config.model is not None:
        model = load_model(config.model)
        _warn_of_another_model(source.get("model_name"), model.name)
        known = names(model)
        if config.hookpoint is not None:
            read = resolve(model, config.hookpoint)[0]
        read, written = (lens_names(known).get(str(name), name) for name in (read, written))
        lens = lens_name(str(read), known)
        source |= {} if lens is None else {"hook_name": lens}
    elif config.hookpoint is not None and not _is_path(config.hookpoint):
        raise ConfigError(f"{config.hookpoint} is a TransformerLens name; give --model, which knows its module path")
    if config.hookpoint and dictionary.hookpoint not in (None, read) and not config.force:
        raise ConfigError(f"the dictionary's files name {dictionary.hookpoint}, not {read}; --force attaches it there")
    return dataclasses.replace(
        dictionary,
        hookpoint=read if _is_path(read) else dictionary.hookpoint,
        output_hookpoint=written if _is_path(written) else dictionary.output_hookpoint,
        source=source or None,
    )


def _is_path(name: str | None) -> bool:
    """Whether a name is a module path (or `output`), not one of TransformerLens'."""
    return name is not None and not name.startswith(("blocks.", "hook_"))


def _warn_of_another_model(stated: object, given: str) -> None:
    """Names differ in spelling from tool to tool, so this warns and does not refuse."""
    spelt = [str(name).lower().rpartition("/")[2].replace("_", "-") for name in (stated, given)]
    if stated is not None and spelt[0] not in spelt[1] and spelt[1] not in spelt[0]:
        log.warning("the dictionary was trained on %s, the model given is %s", stated, given)


def _found(dictionary: Dictionary) -> dict[str, Any]:
    source = dictionary.source or {}
    told = {
        "format": source.get("format", "bathyscope"),
        "features": dictionary.n_features,
        "width": dictionary.d_model,
        "rule": f"{dictionary.rule}",
        "subtracts b_dec": dictionary.subtract_b_dec,
        "normalises tokens": dictionary.normalise,
        "hookpoint": dictionary.hookpoint,
        "writes to": dictionary.output_hookpoint,
        "model": source.get("model_name"),
        "inferred": "; ".join(source.get("inferred", [])) or None,
    }
    return {name: value for name, value in told.items() if value is not None}


def _pairs(dictionary: Dictionary, store: ActivationStore, config: Convert) -> Iterator[Any]:
    """Held-out activations (all where none are held out), with what a transcoder is to write."""
    read = dictionary.hookpoint
    if read is not None and read not in store.hookpoints and not config.force:
        held = ", ".join(store.hookpoints)
        raise ConfigError(
            f"the dictionary belongs to {read}, {config.activations} holds {held}; --force takes the only one"
        )
    read = read if read in store.hookpoints else store.hookpoint()
    rows = store.rows("held_out")
    rows = rows if len(rows) else store.rows("all")
    for i in range(0, min(len(rows), config.n_rows), CHUNK_ROWS):
        chunk = rows[i : i + CHUNK_ROWS]
        x_ND = store.read(chunk, read)
        written = dictionary.output_hookpoint
        yield x_ND if written is None else (x_ND, store.read(chunk, None if written == "output" else written))


def _report(check: SelfCheck, config: Convert) -> None:
    """Print the check. Raises ConfigError after red, with the convention that fits, unless forced."""
    figures = dataclasses.asdict(check.figures)
    if config.json:
        told = {"verdict": check.verdict, "stated": dict(check.stated), "fits": check.fits, **figures}
        result({"check": told}, as_json=True)
    else:
        tried = {
            f"  {trial.convention}": _words(trial.figures.l0, trial.figures.variance_explained)
            for trial in check.trials
        }
        more = {"dead share": figures["dead_share"], "length of x̂ over x": figures["length"]}
        result({"check": check.sentence, **more, **tried}, as_json=False)
    if check.verdict == "red" and not config.force:
        raise ConfigError(f"nothing was written, the check is {check.sentence}; --force writes it as it is")


def _words(l0: float, variance_explained: float) -> str:
    return f"L0 {l0:.1f}, variance explained {variance_explained:.3f}"
