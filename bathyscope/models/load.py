"""`load_model`: a bundled name, a GGUF file, a local folder or a Hub id, as a `Model` ready to be read.

Local things are opened offline. Pickled weights and code that comes with a model are refused: opening either runs
what its author wrote.
"""

import hashlib
import logging
import re
from dataclasses import replace
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Literal, get_args

import torch

from bathyscope import materials
from bathyscope.errors import BathyscopeError, ConfigError, DeviceError, ModelError
from bathyscope.files import sha256
from bathyscope.models.gguf import converted
from bathyscope.models.model import Model, PreTrainedModel
from bathyscope.models.quiet import quiet

__all__ = ["DType", "Model", "load_model"]

log = logging.getLogger(__name__)

DType = Literal["float32", "bfloat16", "float16"]
_DTYPES: dict[str, torch.dtype] = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}
_PICKLES = ("*.bin", "*.pt", "*.pth", "*.ckpt")


def load_model(name: str | Path, *, dtype: DType = "float32", device: str = "cpu") -> Model:
    """The model called `name`, in evaluation mode, its weights without gradients.

    `name` is a bundled name (`smollm2`), a `.gguf` file, a folder in the Hugging Face layout with safetensors, or a
    Hub id, tried in this order. GGUF weights are dequantised once and kept in the cache. Raises ModelError with the
    remedy when there is no such model or it cannot be opened, ConfigError for an unknown dtype, DeviceError for a
    device that is not there.
    """
    if dtype not in get_args(DType):
        raise ConfigError(f"dtype must be one of {', '.join(get_args(DType))}, found {dtype!r}")
    place = _device(device)
    if isinstance(name, str) and name in bundled():
        return _from_material(name, dtype, place)
    path = Path(name).expanduser()
    if path.is_dir():
        return _from_folder(path, dtype, place)
    if path.is_file():
        return _from_file(path, dtype, place)
    _refuse_missing(name, path)
    return _from_hub(str(name), dtype, place)


def bundled() -> list[str]:
    """Names of the models that come as a material."""
    return [item.name for item in materials.known() if [file.format for file in item.files] == ["gguf"]]


def _from_material(name: str, dtype: DType, device: torch.device) -> Model:
    (listed,) = materials.entry(name).files
    material = materials.fetch(name)
    model = _from_gguf(material.files[listed.name], listed.sha256, name, dtype, device)
    return replace(model, materials=(material.record(),))


def _from_file(path: Path, dtype: DType, device: torch.device) -> Model:
    if path.suffix != ".gguf":
        raise ModelError(f"{path} is not a model: expected a .gguf file or a folder in the Hugging Face layout")
    return _from_gguf(path.resolve(), sha256(path), path.stem, dtype, device)


def _from_gguf(path: Path, digest: str, name: str, dtype: DType, device: torch.device) -> Model:
    copy = converted(path, digest)
    identity = {"sha256": digest, "description": f"{path.stem}, GGUF {copy.quantisation}, dequantised"}
    return _open(copy.folder, name, identity, dtype, device)


def _from_folder(folder: Path, dtype: DType, device: torch.device) -> Model:
    weights = sorted(folder.glob("*.safetensors"))
    ggufs = sorted(folder.glob("*.gguf"))
    if not weights and len(ggufs) == 1:
        return _from_file(ggufs[0], dtype, device)
    if not weights and ggufs:
        raise ModelError(f"{folder} holds {len(ggufs)} GGUF files; name one, such as {ggufs[0]}")
    if not weights:
        _refuse_pickles(folder)
    if not weights or not (folder / "config.json").exists():
        lacking = "config.json" if weights else "safetensors weights"
        raise ModelError(f"{folder} is not a model: it lacks {lacking}; expected the Hugging Face layout")
    sums = {path.name: sha256(path) for path in weights}
    listing = "".join(f"{digest}  {name}\n" for name, digest in sums.items())
    digest = next(iter(sums.values())) if len(sums) == 1 else hashlib.sha256(listing.encode()).hexdigest()
    return _open(folder, folder.resolve().name, {"sha256": digest, "description": "local folder"}, dtype, device)


def _from_hub(name: str, dtype: DType, device: torch.device) -> Model:
    """A Hub model at the commit that is newest now; without a network, the copy in the Hub's own cache."""
    revision = _newest_revision(name)
    identity = {"description": "Hugging Face Hub"} | ({} if revision is None else {"revision": revision})
    return _open(name, name, identity, dtype, device)


def _newest_revision(name: str) -> str | None:
    """The commit to load, or None when the Hub cannot be reached (one try: transformers itself retries for 20 s)."""
    from huggingface_hub import HfApi, errors

    try:
        found = HfApi().model_info(name, timeout=10)
    except errors.RepositoryNotFoundError as error:  # gated ones, too
        raise _opening_failed(name, error) from error
    except Exception as error:  # noqa: BLE001  (the HTTP client's own; which one changes with huggingface_hub)
        log.warning("the Hugging Face Hub does not answer (%s); looking for %s in its cache", error, name)
        return None
    files = [file.rfilename for file in found.siblings or ()]
    if not any(file.endswith(".safetensors") for file in files):
        raise ModelError(f"{name} on the Hugging Face Hub has no safetensors weights; pickled ones are never opened")
    return found.sha


def _open(source: Path | str, name: str, identity: dict[str, str], dtype: DType, device: torch.device) -> Model:
    """Open weights and tokenizer of a folder (offline) or a Hub id, and check them."""
    from transformers import AutoModelForCausalLM, AutoTokenizer

    # Refusing remote code by name also keeps transformers from asking for it on the terminal.
    revision = identity.get("revision")
    options: dict[str, Any] = {"local_files_only": revision is None, "trust_remote_code": False}
    options |= {} if revision is None else {"revision": revision}
    try:
        with quiet():
            loaded: Any = AutoModelForCausalLM.from_pretrained(
                source, dtype=_DTYPES[dtype], use_safetensors=True, output_loading_info=True, **options
            )
            network, report = loaded
            tokenizer = AutoTokenizer.from_pretrained(source, **options)
    except Exception as error:  # transformers and huggingface_hub raise a dozen kinds
        raise _opening_failed(source, error) from error
    _require_usable(name, network, report)
    if isinstance(source, str) and revision is None:
        identity = {**identity, "revision": str(network.config._commit_hash)}  # noqa: SLF001  (no public name)
    try:
        network.to(device)
    except RuntimeError as error:
        raise DeviceError(f"{name} does not fit on {device}: {str(error).splitlines()[0]}") from error
    network.eval().requires_grad_(False)
    identity = {"name": name, **identity, "dtype": dtype, "architecture": type(network).__name__}
    return Model(network=network, tokenizer=tokenizer, name=name, identity=identity)


def _require_usable(name: str, network: PreTrainedModel, report: dict[str, Any]) -> None:
    """Raise ModelError when weights were missing (they would be random numbers) or stayed quantised."""
    for problem in ("missing_keys", "mismatched_keys"):
        found = sorted(str(key) for key in report[problem])
        if found:
            raise ModelError(f"{name} is not a whole causal language model: {problem.replace('_', ' ')} {found[:3]}")
    packed = [key for key, weight in network.named_parameters() if not weight.is_floating_point()]
    if packed:
        raise ModelError(f"{name} holds quantised weights ({packed[0]}, …); load an unquantised model or a GGUF file")


def _opening_failed(source: Path | str, error: Exception) -> BathyscopeError:
    """One line that says what to do about it."""
    from huggingface_hub import errors

    said = (str(error).splitlines() or [""])[0][:200]
    if isinstance(source, Path):
        return ModelError(f"{source} cannot be opened as a causal language model: {type(error).__name__}: {said}")
    chain = [error, *_causes(error)]
    if any(isinstance(e, errors.GatedRepoError) for e in chain):
        return ModelError(f"{source} is gated on the Hugging Face Hub: accept its terms there, then `hf auth login`")
    if any(isinstance(e, errors.RepositoryNotFoundError) for e in chain):
        return ModelError(f"the Hugging Face Hub has no model {source!r} (or it is private: `hf auth login`)")
    if any(isinstance(e, errors.LocalEntryNotFoundError) for e in chain):
        return ModelError(
            f"{source!r} is neither bundled ({', '.join(bundled())}) nor a local path, and the Hugging Face Hub cannot "
            "be reached; check the name and the network, or give a local folder or .gguf file"
        )
    return ModelError(f"{source} cannot be loaded from the Hugging Face Hub: {type(error).__name__}: {said}")


def _causes(error: BaseException) -> list[BaseException]:
    found: list[BaseException] = []
    cause = error.__cause__ or error.__context__
    while cause is not None and cause not in found:
        found.append(cause)
        cause = cause.__cause__ or cause.__context__
    return found


def _refuse_pickles(folder: Path) -> None:
    pickled = [path for pattern in _PICKLES for path in sorted(folder.glob(pattern))]
    if pickled:
        raise ModelError(
            f"{folder} holds only pickled weights ({pickled[0].name}), which can run code when opened; where you trust "
            "them, save them as safetensors: AutoModelForCausalLM.from_pretrained(folder).save_pretrained(folder)"
        )


def _refuse_missing(name: str | Path, path: Path) -> None:
    """Raise ModelError for what is plainly a path, a misspelt bundled name, or no possible Hub id."""
    text = str(name)
    if isinstance(name, Path) or text.startswith((".", "/", "~")) or text.endswith(".gguf"):
        siblings = [p.name for p in path.parent.iterdir()] if path.parent.is_dir() else []
        near = get_close_matches(path.name, siblings, n=3)
        raise ModelError(f"{path} does not exist" + (f"; nearest there: {', '.join(near)}" if near else ""))
    near = get_close_matches(text.lower(), bundled(), n=3, cutoff=0.7)
    if "/" not in text and near:
        raise ModelError(f"no model is named {text!r}; nearest: {', '.join(near)}")
    if not re.fullmatch(r"[\w.-]+(/[\w.-]+)?", text):
        raise ModelError(f"{text!r} is no model: expected {' or '.join(bundled())}, a folder, a .gguf file or a Hub id")


def _device(name: str) -> torch.device:
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise DeviceError(f"no device is called {name!r}; expected cpu, cuda, cuda:1, mps, …") from error
    if device.type == "cuda" and not torch.cuda.is_available():
        raise DeviceError(f"device {name!r} was asked for, but this torch sees no CUDA device; use cpu")
    if device.type == "mps" and not torch.backends.mps.is_available():
        raise DeviceError(f"device {name!r} was asked for, but this torch sees no MPS device; use cpu")
    return device
