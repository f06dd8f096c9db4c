"""Which code takes a tensor, and what is said where Triton is missed."""

import pytest
import torch

from bathyscope.dictionaries.kernels import engine


@pytest.fixture(autouse=True)
def asked_anew():
    engine.has_triton.cache_clear()
    yield
    engine.has_triton.cache_clear()


@pytest.mark.parametrize(
    ("dtype", "wanted"), [(torch.float32, "compiled"), (torch.float64, "compiled"), (torch.bfloat16, "plain")]
)
def test_tensors_of_a_cpu_go_to_compiled_kernels_or_to_plain_torch(dtype, wanted):
    assert engine.engine(torch.zeros(2, dtype=dtype)) == wanted


@pytest.mark.parametrize(
    ("dtype", "wanted"), [(torch.float32, "triton"), (torch.bfloat16, "triton"), (torch.float64, "plain")]
)
def test_tensors_of_a_gpu_go_to_triton_where_it_is(dtype, wanted, monkeypatch):
    monkeypatch.setattr(engine, "TRITON_DEVICES", ("meta",))
    monkeypatch.setattr(engine.importlib.util, "find_spec", lambda name: object())
    assert engine.engine(torch.zeros(2, dtype=dtype, device="meta")) == wanted


def test_a_missing_triton_is_said_once(monkeypatch, caplog):
    monkeypatch.setattr(engine, "TRITON_DEVICES", ("meta",))
    monkeypatch.setattr(engine.importlib.util, "find_spec", lambda name: None)
    assert [engine.engine(torch.zeros(2, device="meta")) for _ in range(3)] == ["plain"] * 3
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    assert "Triton is not installed" in caplog.text
