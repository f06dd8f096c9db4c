"""`Refused`: why a request gets no answer, in the form that OpenAI's clients expect."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from bathyscope.errors import BathyscopeError, ConfigError


class Refused(ConfigError):
    """A request that gets an error in place of an answer."""

    def __init__(
        self,
        message: str,
        *,
        param: str | None = None,
        status: int = 400,
        code: str = "invalid_value",
        retry_after_seconds: int | None = None,
    ) -> None:
        super().__init__(message)
        self.message, self.param, self.status, self.code = message, param, status, code
        self.retry_after_seconds = retry_after_seconds

    def as_json(self) -> dict[str, Any]:
        """The body of the error response; `param` is the path of the field that is at fault."""
        kind = "invalid_request_error" if self.status < 500 and self.status != 429 else "server_error"
        return {"error": {"message": self.message, "type": kind, "param": self.param, "code": self.code}}


@contextmanager
def blamed_on(param: str) -> Iterator[None]:
    """Turn what the package refuses inside the block into a refusal of the field `param`."""
    try:
        yield
    except Refused:
        raise
    except BathyscopeError as error:
        raise Refused(f"{param}: {error}", param=param) from error
