"""GGUF files: their quantised weights multiplied out once, then kept as safetensors in the cache.

Opening a GGUF takes ten times as long as opening the copy. A copy is found again by the file's sha256, written to a
`.partial` folder and renamed when whole, under a lock, so that two processes make it once.
"""

import contextlib
import fcntl
import importlib.metadata
import json
import logging
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from bathyscope import progress, runtime
from bathyscope.errors import BathyscopeError, ModelError
from bathyscope.files import read_json, sync, write_atomic
from bathyscope.models.model import PreTrainedModel, PreTrainedTokenizerBase
from bathyscope.models.quiet import without_bars

log = logging.getLogger(__name__)

RECORD = "converted.json"
DIGIT_BY_DIGIT = frozenset(("codeshell", "command-r", "exaone", "minerva-7b", "refact", "smollm", "starcoder"))
"""`tokenizer.ggml.pre` values of vocabularies that were learnt with every digit on its own (llama.cpp, llama-vocab)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Converted:
    """A GGUF's copy in the cache."""

    folder: Path
    """Holds safetensors, configuration and tokenizer."""
    quantisation: str
    """The GGUF's own name for it, such as `Q4_1`."""


def converted(file: Path, sha256: str) -> Converted:
    """The dequantised copy of `file` (float32), made now if the cache does not hold it whole.

    `sha256` is that of the file. Raises ModelError when the file is not a GGUF or cannot be read, DeviceError when
    the disk is full.
    """
    models = runtime.cache_folder() / "models"
    folder = next(models.glob(f"*-{sha256[:16]}"), models / f"{file.stem}-{sha256[:16]}")
    if not _is_whole(folder):
        _require_magic(file)
        with runtime.disk_errors(models, doing="write"), _locked(models, sha256):
            if not _is_whole(folder):
                log.info("converting %s to safetensors (once)", file.name)
                _convert(file, folder)
    return Converted(folder=folder, quantisation=str(read_json(folder / RECORD)["quantisation"]))


def _convert(file: Path, folder: Path) -> None:
    """Write the copy beside `folder` and rename it when whole. The caller holds the lock."""
    partial = folder.with_name(folder.name + ".partial")
    shutil.rmtree(partial, ignore_errors=True)
    try:
        quantisation = _write_copy(file, partial)
        sizes = {path.name: path.stat().st_size for path in sorted(partial.iterdir())}
        record = {
            "quantisation": quantisation,
            "bytes": sizes,
            "transformers": importlib.metadata.version("transformers"),
        }
        for path in partial.iterdir():
            sync(path)
        write_atomic(partial / RECORD, json.dumps(record, indent=1).encode())
        shutil.rmtree(folder, ignore_errors=True)
        partial.rename(folder)
        sync(folder.parent)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def _write_copy(file: Path, folder: Path) -> str:
    """Save the opened weights and tokenizer into `folder`; returns the quantisation's name."""
    try:
        with without_bars():
            quantisation, split = _metadata(file)
            network = _open_network(file)
            progress.report("convert model", 1, 3, "steps")
            tokenizer = _open_tokenizer(file, split)
            progress.report("convert model", 2, 3, "steps")
    except BathyscopeError:
        raise
    except Exception as error:  # the readers raise whatever the damaged bytes lead them into
        raise ModelError(
            f"{file} cannot be read as a GGUF model ({_first_line(error)}): it is damaged, cut short or of an "
            "architecture that transformers does not know; get the file again"
        ) from error
    runtime.require_disk(folder, sum(p.numel() * p.element_size() for p in network.parameters()))
    with without_bars():
        network.save_pretrained(folder)
        tokenizer.save_pretrained(folder)
    progress.report("convert model", 3, 3, "steps")
    return quantisation


def _open_network(file: Path) -> PreTrainedModel:
    from transformers import AutoModelForCausalLM, GgufConfig

    # without dequantize=True the weights may stay packed bytes, which can neither be read nor differentiated
    network: Any = AutoModelForCausalLM.from_pretrained(
        file.parent,
        gguf_file=file.name,
        quantization_config=GgufConfig(dequantize=True),
        dtype=torch.float32,
        local_files_only=True,
    )
    packed = [name for name, weight in network.named_parameters() if not weight.is_floating_point()]
    if packed:
        raise ModelError(f"{file}: transformers left {packed[0]} and {len(packed) - 1} other weights quantised")
    return network


def _open_tokenizer(file: Path, split: str) -> PreTrainedTokenizerBase:
    """The tokenizer in the file. transformers does not know the vocabularies that split every digit; we mend those."""
    from tokenizers import pre_tokenizers
    from transformers import AutoTokenizer

    tokenizer: Any = AutoTokenizer.from_pretrained(file.parent, gguf_file=file.name, local_files_only=True)
    if split in DIGIT_BY_DIGIT:
        digits = pre_tokenizers.Digits(individual_digits=True)
        words = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)
        tokenizer.backend_tokenizer.pre_tokenizer = pre_tokenizers.Sequence([digits, words])
    return tokenizer


def _metadata(file: Path) -> tuple[str, str]:
    """Names of the quantisation (`general.file_type`) and of the rule that splits text (`tokenizer.ggml.pre`)."""
    from gguf import GGUFReader, LlamaFileType

    reader = GGUFReader(file)
    number, split = reader.get_field("general.file_type"), reader.get_field("tokenizer.ggml.pre")
    quantisation = "unknown" if number is None else LlamaFileType(number.contents()).name
    return quantisation.removeprefix("MOSTLY_").removeprefix("ALL_"), "" if split is None else str(split.contents())


def _is_whole(folder: Path) -> bool:
    """Whether the copy has all its files in their right sizes; a damaged one is made again."""
    if not (folder / RECORD).exists():
        return False
    try:
        sizes = read_json(folder / RECORD)["bytes"]
        if all((folder / name).stat().st_size == size for name, size in sizes.items()):
            return True
    except (BathyscopeError, OSError, KeyError, AttributeError):
        pass
    log.warning("%s is damaged and will be made again", folder)
    return False


def _require_magic(file: Path) -> None:
    with runtime.disk_errors(file, doing="read"), file.open("rb") as stream:
        magic = stream.read(4)
    if magic != b"GGUF":
        raise ModelError(f"{file} is not a GGUF file: it begins with {magic!r}, expected b'GGUF'")


@contextlib.contextmanager
def _locked(models: Path, sha256: str) -> Iterator[None]:
    """Hold the copy's lock; a second process waits here until the first has made it."""
    models.mkdir(parents=True, exist_ok=True)
    with (models / f"{sha256[:16]}.lock").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            log.info("waiting for another process that converts the same file")
            fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _first_line(error: BaseException) -> str:
    lines = str(error).splitlines()
    return f"{type(error).__name__}: {lines[0][:120]}" if lines else type(error).__name__
