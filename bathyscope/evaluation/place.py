"""Where several dictionaries read: the one hookpoint of the one model that a comparison is about."""

from collections.abc import Mapping

from bathyscope.activations.match import require_same_model, require_width
from bathyscope.dictionaries.dictionary import Dictionary
from bathyscope.errors import ConfigError
from bathyscope.models.hookpoints import resolve, width
from bathyscope.models.model import Model


def common_hookpoint(model: Model, dictionaries: Mapping[str, Dictionary], given: str | None, *, purpose: str) -> str:
    """The hookpoint that `given` and all dictionaries name; dictionaries that name none are taken at their width.

    Raises ConfigError when they name several or none, or when a dictionary is of another width or of several places,
    ModelError when one belongs to another model.
    """
    for each in dictionaries.values():
        each.require_one_place(purpose)
        require_same_model(model, each, None)
    named = {given, *(each.hookpoint for each in dictionaries.values())} - {None}
    found = sorted({name for pattern in named for name in resolve(model, str(pattern))})
    if len(found) != 1:
        what = f"{', '.join(found)} are named" if found else "no hookpoint is named"
        raise ConfigError(f"{what}: {purpose} takes dictionaries of one hookpoint at a time")
    for each in dictionaries.values():
        require_width(each, found[0], width(model, found[0]))
    return found[0]
