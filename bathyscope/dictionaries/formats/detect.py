"""Which tool wrote what lies at a place, told by the names of files, and the dictionary in it."""

from collections.abc import Callable
from pathlib import Path

from bathyscope.artifacts import MANIFEST
from bathyscope.dictionaries.dictionary import Dictionary, load_dictionary
from bathyscope.dictionaries.formats import (
    dictionary_learning,
    gemma_scope,
    llama_scope,
    openai_gpt2,
    qwen_scope,
    saelens,
    sparsify,
)
from bathyscope.dictionaries.formats.parts import Parts, assemble
from bathyscope.dictionaries.place import Place, find

_READERS: tuple[tuple[Callable[[Path], bool], Callable[[Place], Parts]], ...] = (
    (saelens.claims, saelens.read),
    (sparsify.claims, sparsify.read),
    (llama_scope.claims, llama_scope.read),
    (dictionary_learning.claims, dictionary_learning.read),
    (gemma_scope.claims, gemma_scope.read),
    (qwen_scope.claims, qwen_scope.read),
    (openai_gpt2.claims, openai_gpt2.read),
)


def read_parts(place: Place) -> Parts | None:
    """What the file of another tool holds, before folding; None where no format is recognised."""
    reader = next((read for claims, read in _READERS if claims(place.path)), None)
    return None if reader is None else reader(place)


def read_foreign(place: Place) -> Dictionary | None:
    """The dictionary of another tool at `place`; None where no format is recognised."""
    parts = read_parts(place)
    return None if parts is None else assemble(parts, place)


def open_place(place: str | Path) -> tuple[Dictionary, Parts | None]:
    """The dictionary that `load_dictionary` gives, and the unfolded file where it is another tool's."""
    found = find(place)
    parts = None if (found.path / MANIFEST).exists() else read_parts(found)
    return (load_dictionary(place), None) if parts is None else (assemble(parts, found), parts)
