"""A file written for good, read again and summed, in the cache folder."""

import os
import tempfile
from pathlib import Path

from bathyscope import runtime
from bathyscope.files import sha256, sync
from bathyscope.planning.measure.clock import seconds_of

FILE_BYTES = 1 << 26


def disk_rates(*, rounds: int) -> dict[str, float]:
    """Bytes/s written, read (as far as the system has not kept them in memory) and summed."""
    folder = runtime.cache_folder()
    with runtime.disk_errors(folder, doing="write"):
        folder.mkdir(parents=True, exist_ok=True)
        runtime.require_disk(folder, FILE_BYTES)
        with tempfile.TemporaryDirectory(dir=folder) as place:
            file, data = Path(place) / "bytes", os.urandom(FILE_BYTES)

            def write() -> None:
                file.write_bytes(data)
                sync(file)

            spent = seconds_of({"write": write, "read": file.read_bytes, "hash": lambda: sha256(file)}, rounds=rounds)
    return {name: FILE_BYTES / seconds for name, seconds in spent.items()}
