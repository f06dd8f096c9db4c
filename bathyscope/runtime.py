"""What this process runs on: versions for manifests, memory, disk room, threads and the allocator.

Imports torch only inside functions. Records nothing that identifies a machine or a person.
"""

import ctypes
import importlib.metadata
import logging
import os
import platform
import resource
import shutil
import sys
from pathlib import Path

from bathyscope.errors import DeviceError

log = logging.getLogger(__name__)

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


def free_disk_bytes(path: Path) -> int:
    """Bytes that can still be written where `path` is or will be."""
    existing = path.absolute()
    while not existing.exists():
        existing = existing.parent
    return shutil.disk_usage(existing).free


def require_disk(path: Path, needed_bytes: int) -> None:
    """Raise DeviceError when fewer than `needed_bytes` (plus 2 %) are free where `path` will be written."""
    free = free_disk_bytes(path)
    if free < needed_bytes * 1.02:
        raise DeviceError(
            f"no disk space for {path}: {needed_bytes / 1e6:,.0f} MB needed, {free / 1e6:,.0f} MB free; "
            "free some room or choose another --out"
        )


def cache_folder() -> Path:
    """The user's cache folder for materials and converted models (`BATHYSCOPE_CACHE` overrides it)."""
    override = os.environ.get("BATHYSCOPE_CACHE")
    if override:
        return Path(override)
    root = os.environ.get("XDG_CACHE_HOME")
    return (Path(root) if root else Path.home() / ".cache") / "bathyscope"


def keep_freed_memory() -> bool:
    """Tell glibc to keep freed arenas for reuse; True when it was done (Linux with glibc).

    Fresh large tensors otherwise cost a page fault per 4 kB: 20–30 % of a CPU forward (SPEED figures in benchmarks).
    The price is that the process does not shrink after a peak.
    """
    m_trim_threshold, m_mmap_threshold, limit = -1, -3, 1 << 30
    try:
        libc = ctypes.CDLL("libc.so.6")
        done = libc.mallopt(m_mmap_threshold, limit) == 1 and libc.mallopt(m_trim_threshold, limit) == 1
    except (OSError, AttributeError):
        return False
    log.debug("allocator thresholds raised: %s", done)
    return done
