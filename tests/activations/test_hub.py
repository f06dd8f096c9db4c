"""Hub datasets, with the client replaced: no network."""

import sys
import types

import numpy as np
import pytest

from bathyscope.activations.hub import open_hub
from bathyscope.errors import ConfigError

ROWS = [{"text": f"row {n}", "id": n} for n in range(5)]


class Streamed(list):
    """As much of a streamed dataset as is used."""

    def shuffle(self, *, seed: int, buffer_size: int) -> "Streamed":
        return Streamed([self[i] for i in np.random.default_rng(seed).permutation(len(self))])


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[tuple]:
    """Calls of the client, in order."""
    calls: list[tuple] = []

    def load_dataset(name: str, *, split: str, revision: str, streaming: bool) -> Streamed:
        calls.append((name, split, revision, streaming))
        if split == "missing":
            raise ValueError("Unknown split 'missing'.\nAvailable: train")
        return Streamed(ROWS)

    class Api:
        def dataset_info(self, name: str, revision: str | None) -> types.SimpleNamespace:
            return types.SimpleNamespace(sha=f"sha-of-{revision}", card_data={"license": "odc-by"})

    module = types.ModuleType("datasets")
    module.load_dataset = load_dataset  # pyright: ignore[reportAttributeAccessIssue]
    monkeypatch.setitem(sys.modules, "datasets", module)
    monkeypatch.setattr("huggingface_hub.HfApi", Api)
    return calls


def test_the_revision_is_pinned_and_recorded(asked: list[tuple]) -> None:
    source = open_hub("org/name@v2:validation:text")
    assert asked == [("org/name", "validation", "sha-of-v2", True)]
    record = source.record()
    assert record["version"] == "sha-of-v2" and record["licence"] == "odc-by"
    assert record["name"] == "org/name:validation:text"
    assert [document.text for document in source.documents(None)] == [row["text"] for row in ROWS]


@pytest.mark.usefixtures("asked")
def test_the_order_is_drawn_from_the_seed() -> None:
    orders = [[d.text for d in open_hub("org/name").documents(np.random.default_rng(s))] for s in (1, 1, 2)]
    assert orders[0] == orders[1] != orders[2]
    assert sorted(orders[0]) == [row["text"] for row in ROWS]


@pytest.mark.usefixtures("asked")
def test_a_missing_split_or_column_is_one_line() -> None:
    with pytest.raises(ConfigError, match="Unknown split 'missing'") as caught:
        open_hub("org/name:missing")
    assert "\n" not in str(caught.value)
    with pytest.raises(ConfigError, match="has no column 'texts'; nearest: text"):
        open_hub("org/name:train:texts")


def test_without_the_package_the_remedy_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(ConfigError, match=r"needs the package datasets: pip install 'bathyscope\[hub\]'"):
        open_hub("org/name")
