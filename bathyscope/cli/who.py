"""Who answers prompts: a model on this machine or one behind an address. The options that several commands share."""

from dataclasses import dataclass
from typing import Annotated

import tyro

from bathyscope.models.load import DType, load_model
from bathyscope.models.writers.endpoint import EndpointWriter
from bathyscope.models.writers.local import LocalWriter


@dataclass(frozen=True, slots=True, kw_only=True)
class LocalSettings:
    """A model on this machine."""

    model: str = "smollm2"
    """Bundled name, local folder, .gguf file or Hub id."""
    max_new_tokens: int = 96
    """Longest answer."""
    temperature: float = 0.0
    """0 takes the likeliest token; above, tokens are drawn."""
    dtype: DType = "float32"
    """Type of its weights: bfloat16 takes half the memory, and on most CPUs more time."""
    device: str = "cpu"
    """Where it runs, such as cpu, cuda or mps."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EndpointSettings:
    """A model behind an OpenAI-compatible address."""

    url: str
    """Address up to the version, such as `http://localhost:8000/v1`."""
    name: str
    """Model name that the endpoint knows."""
    key_variable: str = ""
    """Environment variable that holds the key; empty sends none."""
    max_new_tokens: int = 256
    """Longest answer, in the endpoint's tokens."""
    temperature: float = 0.0
    """Temperature that is asked for."""
    timeout_seconds: float = 60.0
    """Longest wait for the endpoint."""


Who = (
    Annotated[LocalSettings, tyro.conf.subcommand("local", default=LocalSettings())]
    | Annotated[EndpointSettings, tyro.conf.subcommand("endpoint")]
)
"""Who answers."""
JUDGE = LocalSettings(model="qwen2.5-coder-1.5b-instruct")
"""The bundled model that describes and judges unless another is named."""


def answerer(who: LocalSettings | EndpointSettings, *, seed: int) -> LocalWriter | EndpointWriter:
    """The answerer that the options describe, loaded and ready."""
    match who:
        case LocalSettings(model=name, max_new_tokens=limit, temperature=temperature):
            model = load_model(name, dtype=who.dtype, device=who.device)
            return LocalWriter(model=model, max_new_tokens=limit, temperature=temperature, seed=seed)
        case EndpointSettings() as place:
            return EndpointWriter(
                url=place.url,
                name=place.name,
                key_variable=place.key_variable,
                max_new_tokens=place.max_new_tokens,
                temperature=place.temperature,
                timeout_seconds=place.timeout_seconds,
            )
