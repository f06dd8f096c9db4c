"""Numbers as the page carries them: short, and only such as JSON can hold."""

import json
import math
from collections.abc import Iterable
from typing import Any


def short(values: Iterable[float | None]) -> list[float | None]:
    """Numbers with four significant digits; what is missing or not finite is None."""
    return [None if v is None or not math.isfinite(v) else float(f"{v:.4g}") for v in values]


def finite(value: Any) -> Any:
    """JSON data with every number that JSON cannot hold (infinite, not a number) as None."""
    match value:
        case float() if not math.isfinite(value):
            return None
        case dict():
            return {name: finite(item) for name, item in value.items()}
        case list() | tuple():
            return [finite(item) for item in value]
        case _:
            return value


def to_bytes(value: Any) -> bytes:
    """Finite JSON data as UTF-8; a lone surrogate becomes a question mark."""
    text = json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    return text.encode("utf-8", errors="replace")
