"""Real clients of OpenAI's protocol against a server with SmolLM2, steered by a random direction.

.venv/bin/python benchmarks/interop/serve_clients.py   (or `make interop-clients`, which sets up the clients first)

Prints one line for each check and exits 1 when one fails. What lm-eval finds is compared with the model's own
log-probabilities, what the others hear with the answers of `generate`.
"""

import json
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file

from bathyscope.models.generate import generate
from bathyscope.models.load import load_model
from bathyscope.models.log_probs import log_probs
from bathyscope.models.model import Model
from bathyscope.models.prompts import text_tokens
from bathyscope.serving.access import AccessSettings
from bathyscope.serving.fields import parse
from bathyscope.serving.server import Server
from bathyscope.serving.shelf import Shelf, open_shelf
from bathyscope.serving.steers import read_steer
from bathyscope.steering.steer import steer

ROOT = Path(__file__).resolve().parents[2]
HERE, ENVIRONMENTS = ROOT / "benchmarks" / "interop" / "clients", ROOT / ".interop" / "clients"
PROMPT = "Tell me about the sea."
CLAUSES = [{"operation": "add", "direction": "random", "strength": {"value": 0.5, "unit": "typical norm"}}]
PAIRS = [("The capital of France is", " Paris"), ("The capital of France is", " a fish"), ("Two plus two is", " four")]
TOLERANCE = 1e-3
"""Largest difference of a log-likelihood that counts as equal, in nats: a padded batch sums in another order."""

Check = tuple[str, bool]


def main() -> int:
    """Serve, let every client that is installed ask, and judge what it heard."""
    exchange = ENVIRONMENTS / "exchange"
    shutil.rmtree(exchange, ignore_errors=True)
    exchange.mkdir(parents=True)
    model = load_model("smollm2")
    model.tokenizer.save_pretrained(exchange / "tokenizer")
    (exchange / "pairs.json").write_text(json.dumps(PAIRS))
    vector_D = torch.randn(model.d_model, generator=torch.Generator().manual_seed(0))
    save_file({"random": vector_D}, exchange / "random.safetensors", metadata={"hookpoint": "layers.15"})
    shelf = open_shelf(model, vectors=[exchange / "random.safetensors"])
    checks: list[Check] = []
    with Server(model, shelf, access=AccessSettings(port=0)) as server:
        heard = {name: _ask(name, server.url, model.name, exchange) for name in JUDGES}
    for name, said in heard.items():
        if said is None:
            print(f"skip {name}: not installed in .interop/clients/{name}")
            continue
        checks += [(f"{name}: {what}", is_right) for what, is_right in JUDGES[name](said, model, shelf)]
    for what, is_right in checks:
        print(f"{'ok  ' if is_right else 'FAIL'} {what}")
    return 0 if checks and all(is_right for _, is_right in checks) else 1


def _ask(name: str, url: str, model: str, exchange: Path) -> Any:
    """What a client's script prints last; None where the client is not installed."""
    python = ENVIRONMENTS / name / "bin" / "python"
    if not python.exists():
        return None
    script = HERE / f"client_{name.replace('-', '_')}.py"
    words = [python, script, url, model, json.dumps(CLAUSES), exchange]
    done = subprocess.run(words, check=False, capture_output=True, text=True, cwd=exchange)
    if done.returncode:
        sys.exit(f"error: {name} failed:\n{done.stderr[-2000:]}")
    return json.loads(done.stdout.splitlines()[-1])


def _answers(model: Model, shelf: Shelf) -> tuple[str, str]:
    """What `generate` answers, plain and steered."""
    clauses = read_steer(parse(json.dumps({"steer": CLAUSES}).encode()), model, shelf)
    (plain,) = generate(model, [PROMPT], max_new_tokens=16)
    with steer(model, clauses):
        (steered,) = generate(model, [PROMPT], max_new_tokens=16)
    return plain.text, steered.text


def _openai(said: Any, model: Model, shelf: Shelf) -> Iterator[Check]:
    yield from _inspect(said, model, shelf)
    yield "a stream says the same", said["streamed"] == said["steered"]
    yield "a strength without unit is refused by its path", said["refused"] == "steer[0].strength"
    yield "the model is listed", said["models"] == [model.name]


def _lm_eval(said: Any, model: Model, shelf: Shelf) -> Iterator[Check]:
    rows = [text_tokens(model, start + end) for start, end in PAIRS]
    n_new = [len(row) - len(text_tokens(model, start)) for row, (start, _) in zip(rows, PAIRS, strict=True)]
    expected = [float(log_p_S[-n:].sum()) for log_p_S, n in zip(log_probs(model, rows), n_new, strict=True)]
    largest = max(abs(one - other) for one, other in zip(said["log_p"], expected, strict=True))
    yield f"log-likelihoods are the model's own (largest difference {largest:.1e})", largest < TOLERANCE
    yield "Paris is likelier than a fish", said["log_p"][0] > said["log_p"][1]


def _inspect(said: Any, model: Model, shelf: Shelf) -> Iterator[Check]:
    plain, steered = _answers(model, shelf)
    yield "the plain answer is that of generate", said["plain"] == plain
    yield "the steered answer is that of generate", said["steered"] == steered
    yield "steering shows", said["plain"] != said["steered"]


def _garak(said: Any, model: Model, shelf: Shelf) -> Iterator[Check]:
    yield f"the probe has answers ({said['attempts']})", said["attempts"] > 0


JUDGES: dict[str, Callable[[Any, Model, Shelf], Iterator[Check]]] = {
    "openai": _openai,
    "lm-eval": _lm_eval,
    "inspect-ai": _inspect,
    "garak": _garak,
}
"""Client → the checks of what it heard; the environment of each is `.interop/clients/CLIENT`."""


if __name__ == "__main__":
    sys.exit(main())
