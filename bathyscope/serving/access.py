"""`Access`: who may ask. Loopback needs no token; any other address needs one, and the names it is called by.

Host and Origin are checked so that no page in a browser can reach a server on this machine under a name of its own.
"""

import hmac
import ipaddress
import os
from collections.abc import Sequence
from dataclasses import dataclass
from email.message import Message
from pathlib import Path
from urllib.parse import urlsplit

from bathyscope.errors import ConfigError
from bathyscope.serving.refusal import Refused

LOCAL_NAMES = ("localhost", "127.0.0.1", "::1")
LEAST_TOKEN_CHARACTERS = 16


@dataclass(frozen=True, slots=True, kw_only=True)
class AccessSettings:
    """Where the server listens and whom it answers."""

    host: str = "127.0.0.1"
    """Address to listen on; any but this machine's own needs a token."""
    port: int = 8000
    """Port; 0 takes a free one."""
    token_file: Path | None = None
    """File whose first line is the token that clients must send as `Authorization: Bearer …`."""
    token_variable: str = "BATHYSCOPE_TOKEN"
    """Environment variable that holds the token where no file is given."""
    allowed_hosts: tuple[str, ...] = ()
    """Further names by which clients call the server, as they stand in the Host header, without port."""

    def __post_init__(self) -> None:
        if not 0 <= self.port <= 65535:
            raise ConfigError(f"port is {self.port}, expected 0 to 65535")


class Access:
    """The settings with the token read. Raises ConfigError for an open door."""

    def __init__(self, settings: AccessSettings) -> None:
        self.settings = settings
        self._token = _token(settings)
        is_local = is_loopback(settings.host)
        if not is_local and self._token is None:
            raise ConfigError(
                f"{settings.host} can be reached from other machines: give a token in {settings.token_variable} "
                "or with --token-file, or listen on 127.0.0.1"
            )
        if not is_local and _is_any(settings.host) and not settings.allowed_hosts:
            raise ConfigError(f"{settings.host} is every address: name those that clients use with --allowed-hosts")
        own = LOCAL_NAMES if is_local else () if _is_any(settings.host) else (settings.host,)
        self._hosts = frozenset(name.lower() for name in (*own, *settings.allowed_hosts))

    def check(self, headers: Message, *, needs_token: bool) -> None:
        """Raises Refused (403 for Host or Origin, 401 for the token)."""
        hosts = headers.get_all("Host") or []
        host = hosts[0] if len(hosts) == 1 else ""
        if _name(f"//{host}") not in self._hosts:
            raise Refused(
                "the Host header names no host of this server; see --allowed-hosts", status=403, code="forbidden_host"
            )
        origin = headers.get("Origin")
        if origin is not None and origin.lower() not in (f"http://{host}".lower(), f"https://{host}".lower()):
            raise Refused("requests from pages of other sites are refused", status=403, code="forbidden_origin")
        if needs_token and self._token is not None and not _bears(headers, self._token):
            raise Refused("the Authorization header does not bear the token", status=401, code="invalid_api_key")


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches the address."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host.lower() == "localhost"


def _is_any(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_unspecified
    except ValueError:
        return host == ""


def _name(address: str) -> str:
    """The host of `//host:port`, lower case; empty when it cannot be read."""
    try:
        return urlsplit(address).hostname or ""
    except ValueError:
        return ""


def _bears(headers: Message, token: str) -> bool:
    given: Sequence[str] = headers.get_all("Authorization") or []
    if len(given) != 1:
        return False
    scheme, _, said = given[0].partition(" ")
    return scheme.lower() == "bearer" and hmac.compare_digest(said.strip().encode(), token.encode())


def _token(settings: AccessSettings) -> str | None:
    if settings.token_file is None:
        token, origin = os.environ.get(settings.token_variable), settings.token_variable
    else:
        origin = str(settings.token_file)
        try:
            token = settings.token_file.read_text().partition("\n")[0].strip()
        except OSError as error:
            raise ConfigError(f"the token file {origin} cannot be read: {error.strerror}") from error
    if token is None:
        return None
    if len(token) < LEAST_TOKEN_CHARACTERS or not token.isascii() or not token.isprintable():
        raise ConfigError(f"the token in {origin} needs at least {LEAST_TOKEN_CHARACTERS} printable ASCII characters")
    return token
