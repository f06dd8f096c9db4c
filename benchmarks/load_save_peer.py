"""Runs where another tool is installed: times how it reads a folder that we wrote in its format, and writes it again.

python load_save_peer.py FORMAT FOLDER ROUNDS
"""

import json
import shutil
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any


def saelens(folder: Path, new: Path) -> tuple[Callable[[], Any], Callable[[], Any]]:
    """Reading and writing with SAELens."""
    from sae_lens import SAE

    held = SAE.load_from_disk(folder)
    return lambda: SAE.load_from_disk(folder), lambda: held.save_model(new)


def sparsify(folder: Path, new: Path) -> tuple[Callable[[], Any], Callable[[], Any]]:
    """Reading and writing with sparsify."""
    from sparsify import SparseCoder

    held = SparseCoder.load_from_disk(folder)
    return lambda: SparseCoder.load_from_disk(folder), lambda: held.save_to_disk(new)


def dictionary_learning(folder: Path, new: Path) -> tuple[Callable[[], Any], Callable[[], Any]]:
    """Reading with dictionary_learning, and what its training loop writes."""
    import torch
    from dictionary_learning.utils import load_dictionary

    held, config = load_dictionary(str(folder), "cpu")

    def write() -> None:
        new.mkdir()
        torch.save(held.state_dict(), new / "ae.pt")
        (new / "config.json").write_text(json.dumps(config))

    return lambda: load_dictionary(str(folder), "cpu"), write


def main(name: str, folder: Path, rounds: int) -> None:
    """Print the seconds of both as one JSON line; the first round warms up."""
    new = folder.with_name("new-by-peer")
    read, write = {"saelens": saelens, "sparsify": sparsify, "dictionary_learning": dictionary_learning}[name](
        folder, new
    )
    seconds: dict[str, list[float]] = {"written": [], "read": []}
    for number in range(rounds + 1):
        for what, do in (("written", lambda: (write(), shutil.rmtree(new))), ("read", read)):
            start = time.perf_counter()
            do()
            if number:
                seconds[what].append(time.perf_counter() - start)
    print(json.dumps(seconds))


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), int(sys.argv[3]))
