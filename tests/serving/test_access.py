"""Who may ask."""

import pytest
from serving.asking import serving
from tiny import tiny_model

from bathyscope.errors import ConfigError
from bathyscope.serving.access import Access, AccessSettings, is_loopback

TOKEN = "a-token-of-some-length"


def test_another_address_needs_a_token(monkeypatch):
    monkeypatch.delenv("BATHYSCOPE_TOKEN", raising=False)
    with pytest.raises(ConfigError, match=r"other machines.*BATHYSCOPE_TOKEN"):
        Access(AccessSettings(host="192.0.2.1"))
    monkeypatch.setenv("BATHYSCOPE_TOKEN", TOKEN)
    Access(AccessSettings(host="192.0.2.1"))
    with pytest.raises(ConfigError, match="--allowed-hosts"):
        Access(AccessSettings(host="0.0.0.0"))
    Access(AccessSettings(host="0.0.0.0", allowed_hosts=("box",)))


@pytest.mark.parametrize("token", ["short", "", "long enough, but é is not ASCII", "long enough but\x07 it rings"])
def test_a_token_that_is_none_is_refused(tmp_path, token):
    (tmp_path / "token").write_text(f"{token}\n")
    with pytest.raises(ConfigError, match="at least 16 printable ASCII"):
        Access(AccessSettings(token_file=tmp_path / "token"))
    with pytest.raises(ConfigError, match="cannot be read"):
        Access(AccessSettings(token_file=tmp_path / "missing"))


def test_loopback_is_what_only_this_machine_reaches():
    assert [is_loopback(host) for host in ("localhost", "127.0.0.1", "127.9.9.9", "::1")] == [True] * 4
    assert [is_loopback(host) for host in ("0.0.0.0", "::", "10.0.0.1", "localhost.example", "")] == [False] * 5


def test_a_token_is_asked_of_everything_but_health(tmp_path):
    (tmp_path / "token").write_text(TOKEN)
    with serving(tiny_model(), access=AccessSettings(port=0, token_file=tmp_path / "token")) as client:
        assert client.send("GET", "/health").status == 200
        refused = client.send("GET", "/v1/models")
        assert (refused.status, refused.headers["www-authenticate"]) == (401, "Bearer")
        for wrong in ("Bearer wrong", f"Basic {TOKEN}", "Bearer", f"Bearer {TOKEN} {TOKEN}"):
            assert client.send("GET", "/v1/models", headers={"Authorization": wrong}).status == 401
        assert client.send("GET", "/v1/models", headers={"Authorization": f"Bearer {TOKEN}"}).status == 200


def test_a_port_that_is_taken_is_named():
    model = tiny_model()
    with serving(model) as client:
        port = int(client.url.rpartition(":")[2].partition("/")[0])
        with pytest.raises(ConfigError, match=f"port {port}"), serving(model, access=AccessSettings(port=port)):
            pass
