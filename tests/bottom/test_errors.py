"""Each error is both ours and the standard library's, and keeps its one line."""

import pytest

from bathyscope.errors import ArtifactError, BathyscopeError, ConfigError, DeviceError, ModelError

KINDS = [(ConfigError, ValueError), (ArtifactError, OSError), (ModelError, LookupError), (DeviceError, RuntimeError)]


@pytest.mark.parametrize(("ours", "standard"), KINDS)
def test_an_error_is_caught_as_ours_and_as_the_standard_one(ours: type[Exception], standard: type[Exception]) -> None:
    assert issubclass(ours, BathyscopeError)
    assert issubclass(ours, standard)


@pytest.mark.parametrize("ours", [kind for kind, _ in KINDS])
def test_the_message_is_printed_as_given(ours: type[Exception]) -> None:
    assert str(ours("k is 9, at most 4 features exist; lower --k")) == "k is 9, at most 4 features exist; lower --k"
