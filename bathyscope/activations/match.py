"""Whether a model, a dictionary and a store belong together: the same weights, hookpoint and width."""

from bathyscope.activations.store import ActivationStore
from bathyscope.dictionaries.dictionary import Dictionary
from bathyscope.errors import ConfigError, ModelError
from bathyscope.models.vision import ImageModel, Readable


def require_same_model(model: Readable, dictionary: Dictionary | None, store: ActivationStore | None) -> None:
    """Raise ModelError when dictionary or store say that they come from other weights or words than `model`'s."""
    claims = [("the dictionary", None if dictionary is None else dictionary.model_identity)]
    if store is not None:
        claims.append((f"{store.path}", store.model_identity))
        if ("words" in store.model_identity) != isinstance(model, ImageModel):
            held = "images" if "words" in store.model_identity else "text"
            raise ModelError(
                f"{store.path} holds activations of {held}, and {model.name} does not read {held}; load "
                f"{store.model_identity.get('name', 'the model that does')}"
            )
    for what, identity in claims:
        for key in ("sha256", "revision", "words"):
            if identity and identity.get(key) and model.identity.get(key) and identity[key] != model.identity[key]:
                raise ModelError(
                    f"{what} belongs to {identity.get('name', 'another model')} ({key} {identity[key][:12]}), "
                    f"not to {model.name} ({model.identity[key][:12]}); load that model"
                )


def shared_hookpoint(dictionary: Dictionary, store: ActivationStore) -> str:
    """Where the dictionary reads: its own hookpoint, or the store's only one. Raises ConfigError when they disagree."""
    name = store.hookpoint(dictionary.hookpoint)
    require_width(dictionary, name, store.d_model(name))
    return name


def require_width(dictionary: Dictionary, hookpoint: str, width: int) -> None:
    """Raise ConfigError when activations of `width` do not fit the dictionary."""
    if width != dictionary.d_model:
        raise ConfigError(
            f"{hookpoint} has width {width}, this dictionary takes activations of width {dictionary.d_model}"
        )
