"""Bytes and seconds in the unit that reads best."""


def duration(seconds: int | float) -> str:
    """Such as `3.5 days`, `7.2 h`, `40.0 min` or `1.5 s`."""
    for unit, size in (("days", 86_400.0), ("h", 3600.0), ("min", 60.0)):
        if seconds >= 2 * size:
            return f"{seconds / size:,.1f} {unit}"
    return f"{seconds:,.1f} s"


def bytes_text(n_bytes: int | float) -> str:
    """Such as `65.7 TB`, `3.2 GB` or `12.0 kB`, in powers of ten."""
    for unit, size in (("TB", 1e12), ("GB", 1e9), ("MB", 1e6)):
        if n_bytes >= size:
            return f"{n_bytes / size:,.1f} {unit}"
    return f"{n_bytes / 1e3:,.1f} kB"
