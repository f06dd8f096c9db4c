"""What this process runs on: versions for manifests, memory, disk room and what the disk refuses, the allocator.

Records nothing that identifies a machine or a person.
"""

import contextlib
import ctypes
import errno
import importlib.metadata
import logging
import os
import platform
import re
import resource
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

from bathyscope.errors import ArtifactError, BathyscopeError, DeviceError

log = logging.getLogger(__name__)

DISK_FULL = "no disk space left; free some room and run the same command again, or choose another --out"
"""What every message about a full disk says, remedy included."""
_FULL_IN_WORDS = rf"{os.strerror(errno.ENOSPC)}|{os.strerror(errno.EDQUOT)}|\d+ requested and \d+ written"
RECORDED_PACKAGES = ("bathyscope", "torch", "transformers", "tokenizers", "safetensors", "numpy", "pyarrow")


def environment() -> dict[str, str]:
    """Versions of Python, the platform and the packages that decide results."""
    versions = {"python": platform.python_version(), "platform": f"{platform.system()} {platform.machine()}"}
    for name in RECORDED_PACKAGES:
        try:
            versions[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return versions


def peak_memory_bytes() -> int:
    """Largest resident memory of this process so far, in bytes."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def free_memory_bytes(device: str = "cpu") -> int | None:
    """Memory that can still be had on `device`, in bytes; None where the system does not say.

    On Linux what the kernel calls available, or less where the process's group has a limit of its own.
    """
    if device != "cpu":
        import torch

        return torch.cuda.mem_get_info(device)[0] if device.startswith("cuda") else None
    with contextlib.suppress(OSError, ValueError, StopIteration):
        lines = Path("/proc/meminfo").read_text().splitlines()
        free = int(next(line for line in lines if line.startswith("MemAvailable:")).split()[1]) * 1024
        return min(free, _free_in_group(free))
    return None


def _free_in_group(otherwise: int, group: Path = Path("/sys/fs/cgroup")) -> int:
    """What the limit of the control group leaves, file caches not counted as used; `otherwise` without a limit."""
    try:
        limit, used = (int((group / name).read_text()) for name in ("memory.max", "memory.current"))
        kept = dict(line.split() for line in (group / "memory.stat").read_text().splitlines())
        return max(0, limit - used + int(kept.get("inactive_file", 0)))
    except (OSError, ValueError):
        return otherwise


def require_memory(needed_bytes: int, *, what: str, made_of: str, remedy: str, device: str = "cpu") -> None:
    """Raise DeviceError when `device` says that fewer than `needed_bytes` can still be had.

    The line reads: `what` need … MB at once (`made_of`), … MB are free: `remedy`.
    """
    free = free_memory_bytes(device)
    if free is not None and needed_bytes > free:
        raise DeviceError(
            f"{what} need {needed_bytes / 1e6:,.1f} MB at once ({made_of}), {free / 1e6:,.1f} MB are free: {remedy}"
        )


def free_disk_bytes(path: Path) -> int:
    """Bytes that can still be written where `path` is or will be."""
    existing = path.absolute()
    while not existing.exists():
        existing = existing.parent
    return shutil.disk_usage(existing).free


def require_disk(path: Path, needed_bytes: int) -> None:
    """Raise DeviceError when fewer than `needed_bytes` (plus 2 %) are free where `path` will be written."""
    with disk_errors(path, doing="write"):
        free = free_disk_bytes(path)
    if free < needed_bytes * 1.02:
        raise DeviceError(
            f"no disk space for {path}: {needed_bytes / 1e6:,.0f} MB needed, {free / 1e6:,.0f} MB free; "
            "free some room or choose another --out"
        )


@contextlib.contextmanager
def disk_errors(path: Path, *, doing: str) -> Iterator[None]:
    """Turn the system's refusals inside the block into one line: `cannot {doing} {path}: reason`.

    A full disk or quota becomes DeviceError; no permission, a file where a folder is due and the like ArtifactError.
    """
    try:
        yield
    except BathyscopeError:
        raise
    except OSError as error:
        if is_disk_full(error):
            raise DeviceError(f"cannot {doing} {path}: {DISK_FULL}") from error
        reason = error.strerror or str(error)
        culprit = f" ({error.filename})" if error.filename and Path(os.fsdecode(error.filename)) != path else ""
        raise ArtifactError(f"cannot {doing} {path}: {reason}{culprit}; check the path and its permissions") from error


def is_disk_full(error: BaseException) -> bool:
    """Whether `error`, or an error that led to it, is the system saying that the disk or the quota is used up.

    Libraries that write from Rust or C++ wrap the system's error in their own, whose message keeps the words; NumPy
    only says how much it wrote.
    """
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, OSError) and cause.errno in (errno.ENOSPC, errno.EDQUOT):
            return True
        if re.search(_FULL_IN_WORDS, str(cause)):
            return True
        cause = cause.__cause__
    return False


def is_in_group() -> bool:
    """Whether this process is one of several that torchrun or `bathyscope launch` started to work together."""
    return int(os.environ.get("WORLD_SIZE", "1")) > 1 and "RANK" in os.environ


def is_first() -> bool:
    """Whether this process speaks for its group: the first of several, or one alone."""
    return not is_in_group() or os.environ["RANK"] == "0"


def cache_folder() -> Path:
    """The user's cache folder for materials and converted models (`BATHYSCOPE_CACHE` overrides it)."""
    override = os.environ.get("BATHYSCOPE_CACHE")
    if override:
        return Path(override).expanduser()
    root = Path(os.environ.get("XDG_CACHE_HOME", ""))
    return (root if root.is_absolute() else Path.home() / ".cache") / "bathyscope"


def keep_freed_memory() -> bool:
    """Tell glibc to keep freed arenas for reuse; True when it was done (Linux with glibc).

    Fresh large tensors otherwise cost a page fault per 4 kB, in every forward pass again. The price is that the
    process does not shrink after a peak. A libc that refuses is left as it is.
    """
    m_trim_threshold, m_mmap_threshold, limit = -1, -3, 1 << 30
    try:
        libc = ctypes.CDLL("libc.so.6")
        done = libc.mallopt(m_mmap_threshold, limit) == 1 and libc.mallopt(m_trim_threshold, limit) == 1
    except (OSError, AttributeError):
        return False
    log.debug("allocator thresholds raised: %s", done)
    return done
