"""How much memory a process holds at most from some point on (Linux)."""

from pathlib import Path

STATUS, FORGET = Path("/proc/self/status"), Path("/proc/self/clear_refs")


def forget_peak() -> int:
    """Bytes held now; from now on `peak_bytes` knows of nothing before."""
    FORGET.write_text("5")
    return _bytes("VmRSS")


def peak_bytes() -> int:
    """The most bytes held at once since the process began or `forget_peak` was called."""
    return _bytes("VmHWM")


def _bytes(name: str) -> int:
    line = next(line for line in STATUS.read_text().splitlines() if line.startswith(name))
    return int(line.split()[1]) * 1024
