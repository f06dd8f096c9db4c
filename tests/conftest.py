"""What every room's tests may use."""

import os
import signal
import socket
from typing import Any

os.environ.setdefault("TRITON_INTERPRET", "1")  # read when Triton is imported: kernels for a GPU run here on the CPU

import pytest
import torch
from tiny import tiny_model as build_tiny_model

from bathyscope.models.model import Model

WHOLE_RUNS = ("test_end_to_end.py", "test_recipes.py", "test_contract.py", "test_contract_training.py")
"""Files of minutes."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The longest first, so that no worker is left with it at the end: the real model, then whole runs."""

    def turn(item: pytest.Item) -> int:
        return 0 if item.get_closest_marker("real") else 1 if item.path.name in WHOLE_RUNS else 2

    items.sort(key=turn)


@pytest.fixture
def tiny_model() -> Model:
    """A fresh 3-layer random Llama of width 32 with a byte tokenizer and a chat template."""
    return build_tiny_model()


@pytest.fixture(scope="session", autouse=True)
def one_thread() -> None:
    """Tiny tensors are faster on one thread, and sums come out the same on every machine."""
    torch.set_num_threads(1)


@pytest.fixture(scope="session", autouse=True)
def interruptible() -> None:
    """A job in the background may have been told to ignore interruptions, and its children with it."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(autouse=True)
def no_network(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """A test that reaches beyond this machine fails, unless it is marked `real`."""
    if request.node.get_closest_marker("real"):
        return
    connect = socket.socket.connect

    def connect_here(self: socket.socket, address: Any) -> None:
        if self.family != socket.AF_UNIX and address[0] not in ("localhost", "127.0.0.1", "::1"):
            pytest.fail(f"the test connects to {address}; mark it `real` or do without the network")
        connect(self, address)

    monkeypatch.setattr(socket.socket, "connect", connect_here)
