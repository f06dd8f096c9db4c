"""`bathyscope serve --openai`: a model for clients of OpenAI's protocol, steered as each request says."""

import threading
from dataclasses import dataclass, field
from pathlib import Path

from bathyscope.cli.command import Command
from bathyscope.cli.terminal import result, say
from bathyscope.errors import ConfigError
from bathyscope.models.load import DType, load_model
from bathyscope.models.model import Model
from bathyscope.serving.access import Access, AccessSettings
from bathyscope.serving.fields import parse
from bathyscope.serving.limits import LimitSettings
from bathyscope.serving.refusal import Refused
from bathyscope.serving.server import Server
from bathyscope.serving.shelf import Shelf, open_shelf
from bathyscope.serving.steers import read_steer
from bathyscope.steering.clause import Clause


@dataclass(frozen=True, slots=True, kw_only=True)
class Serve(Command):
    """What to serve, to whom, and how much of it."""

    openai: bool = False
    """Speak OpenAI's protocol: the only one so far, so it has to be given."""
    model: str = "smollm2"
    """Bundled name, GGUF file, folder or Hub id."""
    dtype: DType = "float32"
    """Type of weights and activations."""
    device: str = "cpu"
    """Where the model runs, such as `cpu` or `cuda`."""
    dictionary: tuple[str, ...] = ()
    """Dictionaries whose features requests may name; each is called as its folder is."""
    vectors: tuple[Path, ...] = ()
    """Folders of kind `vector`, or safetensors files of directions with their `hookpoint` in the metadata."""
    steer: Path | None = None
    """JSON file with the `steer` list of requests that carry none (many harnesses cannot send one)."""
    access: AccessSettings = field(default_factory=AccessSettings)
    """Where to listen, and who may ask."""
    limits: LimitSettings = field(default_factory=LimitSettings)
    """How much may be asked."""


def run(config: Serve) -> None:
    """Answer requests until Ctrl-C or SIGTERM; then running ones finish first."""
    if not config.openai:
        raise ConfigError("serve speaks one protocol so far: add --openai")
    Access(config.access)  # refused before a model is loaded
    model = load_model(config.model, dtype=config.dtype, device=config.device)
    shelf = open_shelf(model, dictionaries=config.dictionary, vectors=config.vectors)
    standing = () if config.steer is None else _clauses(config.steer, model, shelf)
    with Server(model, shelf, standing=standing, access=config.access, limits=config.limits) as server:
        try:
            result({"url": server.url, "model": model.name}, as_json=config.json)
            threading.Event().wait()
        except KeyboardInterrupt:
            say("closing: running requests finish first; interrupt again to end at once", as_json=config.json)


def _clauses(file: Path, model: Model, shelf: Shelf) -> tuple[Clause, ...]:
    """The clauses of a file. Raises ConfigError for one that holds none, with the path of the field at fault."""
    try:
        body = parse(b'{"steer": %s}' % file.read_bytes())
        clauses = read_steer(body, model, shelf)
        body.finish()
    except OSError as error:
        raise ConfigError(f"{file} cannot be read: {error.strerror}") from error
    except Refused as error:
        raise ConfigError(f"{file}: {error}") from error
    return clauses
