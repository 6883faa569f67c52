"""What commands ask of the apiserver: tokens, metadata that stays, logs, counts; against a real process."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest

from testbed.commands import logs_verb, secret_verb
from testbed.model.errors import PlatformError, UsageError
from testbed.platform.client.platform import Platform
from testbed.platform.client.tenant import ProviderClient, count_invocations
from tests.unit.platform.apiserver.apiserver_rig import ApiserverProcess, deployment


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ApiserverProcess]:
    server = ApiserverProcess(tmp_path_factory.mktemp("apiserver"))
    try:
        yield server
    finally:
        server.end()


@pytest.fixture
def provider(server: ApiserverProcess) -> ProviderClient:
    return Platform(SimpleNamespace(state_folder=server.folder), apiserver_url=server.url).provider


def test_secrets_go_their_way(provider: ProviderClient) -> None:
    provider.create_secret("db", "t", b"\0value")
    assert provider.secrets("t") == ["db"]
    provider.update_secret("db", "t", b"other")
    with pytest.raises(PlatformError, match="secret db of namespace t exists already; update it"):
        provider.create_secret("db", "t", b"")
    provider.remove_secret("db", "t")
    with pytest.raises(PlatformError, match="there is no secret db in namespace t"):
        provider.update_secret("db", "t", b"")


def test_a_token_is_set_and_set_again(provider: ProviderClient, server: ApiserverProcess) -> None:
    for token in ("one", "two"):
        provider.set_token("u", token)
        assert server.call("GET", "/tokens").json() == {"u": hashlib.sha256(token.encode()).hexdigest()}
    with pytest.raises(UsageError, match="the token must consist of letters, digits") as caught:
        provider.set_token("u", "with space")
    assert "with" not in str(caught.value)


def test_a_route_is_changed_and_the_rest_stays(provider: ProviderClient, server: ApiserverProcess) -> None:
    server.call("POST", "/system/namespace/v", {"name": "v", "labels": {"a": "b"}}).raise_for_status()
    provider.set_route("v", "direct")
    assert provider.namespace("v") == {
        "name": "v",
        "labels": {"a": "b"},
        "annotations": {"directfaas/route": "direct"},
    }
    provider.set_route("w", "gateway")
    assert {"v", "w"} <= set(provider.namespaces())


def test_status_instance_and_logs_are_read(provider: ProviderClient, server: ApiserverProcess) -> None:
    server.call("POST", "/system/functions", deployment("echo", "t")).raise_for_status()
    server.log("echo.t.1", "one\ntwo\n")
    assert provider.function("echo", "t")["replicas"] == 1
    assert provider.instance("echo.t.1")["timings"].keys() == {"decided_ns"}
    assert provider.instance("echo.t.9") == {}
    assert [message["text"] for message in provider.logs("echo", "t", tail="1")] == ["two"]
    with pytest.raises(PlatformError, match=r"function nobody\.t has written no log; it is not deployed here"):
        next(provider.logs("nobody", "t"))


def test_invocations_of_all_codes_are_one_number() -> None:
    text = "".join(
        f'gateway_function_invocation_total{{code="{code}",function_name="{name}"}} {count}\n'
        for code, name, count in (("200", "a.t", 5), ("500", "a.t", 2), ("200", "aa.t", 9))
    )
    assert count_invocations(f"# HELP x\n{text}", "a.t") == 7
    assert count_invocations("", "a.t") == 0


@pytest.mark.parametrize(
    ("since", "time"),
    [("2026-05-01T12:00:00Z", "2026-05-01T12:00:00Z"), ("2026-05-01T14:00:00+02:00", "2026-05-01T12:00:00Z")],
)
def test_since_is_a_time(since: str, time: str) -> None:
    assert logs_verb.moment(since) == time


def test_since_is_an_age(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("time.time", lambda: 1_767_225_600.0)
    assert logs_verb.moment("1h30m") == "2025-12-31T22:30:00Z"
    with pytest.raises(UsageError, match='--since "1d" is neither an age such as 90s or 1h30m nor a time'):
        logs_verb.moment("1d")


def test_a_secrets_value_comes_from_one_place(tmp_path: Path) -> None:
    file = tmp_path / "value"
    file.write_bytes(b" hunter2\n")
    assert secret_verb.read_value(" x ", None, True) == b" x "
    assert secret_verb.read_value(None, str(file), True) == b"hunter2"
    assert secret_verb.read_value(None, str(file), False) == b" hunter2\n"
    for literal, source in ((None, None), ("x", str(file))):
        with pytest.raises(UsageError, match="give the value by --from-literal or by --from-file"):
            secret_verb.read_value(literal, source, True)
    with pytest.raises(UsageError, match="cannot be read"):
        secret_verb.read_value(None, str(tmp_path / "none"), True)
