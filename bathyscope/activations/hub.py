"""Datasets of the Hugging Face Hub, streamed by the optional package `datasets`.

The revision is looked up first and pinned, so that the manifest says what was read.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from bathyscope.activations.document import Document, require_column
from bathyscope.activations.tables import as_document
from bathyscope.errors import ConfigError

SHUFFLE_ROWS = 10_000
"""Rows among which the order of a streamed dataset is drawn."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HubText:
    """A column of a split of a Hub dataset at one revision."""

    name: str
    """`org/name:split:column`."""
    dataset: Any
    """The streamed dataset."""
    column: str
    revision: str
    licence: str

    def record(self) -> dict[str, str]:
        """Provenance; the revision names the content."""
        origin = "Hugging Face Hub dataset"
        sums = {"version": self.revision, "sha256": ""}
        return {"name": self.name, **sums, "licence": self.licence, "origin": origin}

    def documents(self, rng: np.random.Generator | None) -> Iterator[Document]:
        """One document per row, shuffled within a window of rows."""
        rows = self.dataset
        if rng is not None:
            rows = rows.shuffle(seed=int(rng.integers(2**31)), buffer_size=SHUFFLE_ROWS)
        for i, row in enumerate(rows):
            yield as_document(row.get(self.column), where=f"{self.name} #{i + 1}")


def open_hub(spec: str) -> HubText:
    """The dataset `org/name[@revision][:split[:column]]`; split `train` and column `text` unless named.

    Raises ConfigError when `datasets` is not installed, or the dataset, split or column cannot be had.
    """
    address, _, rest = spec.partition(":")
    split, _, column = rest.partition(":")
    name, _, revision = address.partition("@")
    split, column = split or "train", column or "text"
    try:
        import datasets  # pyright: ignore[reportMissingImports]  (an extra)
        from huggingface_hub import HfApi
    except ImportError as error:
        raise ConfigError(f"hub:{spec} needs the package datasets: pip install 'bathyscope[hub]'") from error
    try:
        info = HfApi().dataset_info(name, revision=revision or None)
        dataset = datasets.load_dataset(name, split=split, revision=info.sha, streaming=True)
        first = next(iter(dataset), None)
    except Exception as error:  # the Hub's client raises many unrelated kinds, each with its reason in the first line
        reason = str(error).strip().split("\n")[0]
        raise ConfigError(f"hub:{spec} cannot be read: {reason}; check the name, the split and the network") from error
    require_column(column, first or {}, where=f"hub:{name}:{split}")
    licence = str((info.card_data or {}).get("license") or "not stated")
    return HubText(
        name=f"{name}:{split}:{column}", dataset=dataset, column=column, revision=str(info.sha), licence=licence
    )
