"""Two tenants on the gateway route, each with a token of its own: one's token is no use for the other's functions."""

from __future__ import annotations

import secrets
import subprocess
from collections.abc import Iterator

import pytest
import requests

from testbed.model import addressing
from testbed.model.cluster import Route
from testbed.model.stack import stack_file
from testbed.network.lab import Lab
from testbed.platform.client.platform import Platform
from tests.lab.calls import of_apiserver
from tests.lab.conftest import CHECKOUT
from tests.lab.traffic import in_host

GATEWAY = f"http://{addressing.vip(addressing.GATEWAY_ID)}:{addressing.FUNCTION_PORT}"
TOKEN_FILE = "/var/openfaas/secrets/gateway-token"
TOKENS = {tenant: secrets.token_urlsafe(16) for tenant in ("guarded", "curious")}
CALLEE = "/function/chain-2.guarded"


@pytest.fixture(scope="module")
def platform(lab: Lab) -> Iterator[Platform]:
    with lab.inside():
        platform = Platform(lab)
        chain, _ = stack_file.select(stack_file.load(CHECKOUT / "functions/chain/stack.yaml", {}), "^chain-[12]$")
        for tenant, token in TOKENS.items():
            platform.deploy(chain, tenant, Route.GATEWAY, "spread", token=token)
        yield platform
        for tenant in TOKENS:
            platform.remove(tenant)


def ask(lab: Lab, host: str, path: str, **headers: str) -> requests.Response:
    """A request to the gateway by a program in `host`."""
    return in_host(lab, host, lambda: requests.get(GATEWAY + path, headers=headers, timeout=20))


def bearer(tenant: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {TOKENS[tenant]}"}


def test_a_tenants_own_chain_works_with_its_token(lab: Lab, platform: Platform) -> None:
    """The call between its functions goes by the gateway too, with the token that they read from a file."""
    answer = ask(lab, "client", "/function/chain-1.guarded", **bearer("guarded"))
    assert answer.status_code == 200
    assert answer.json()["functions"] == ["chain-1", "chain-2"]


@pytest.mark.parametrize(
    "headers",
    [
        {},
        bearer("curious"),
        {"Authorization": f"Basic {TOKENS['guarded']}"},
        {"X-Forwarded-For": "127.0.0.1", "X-Forwarded-Host": "gateway.openfaas"},
        {"Authorization": f"Bearer {TOKENS['guarded'][:-1]}"},
    ],
    ids=["none", "the other's own", "another scheme", "a forged address", "nearly"],
)
def test_another_tenant_is_refused(lab: Lab, platform: Platform, headers: dict[str, str]) -> None:
    answer = ask(lab, "chain-1.curious.1", CALLEE, **headers)
    assert answer.status_code == 401
    assert answer.headers["WWW-Authenticate"].startswith("Bearer")
    assert not any(token in answer.text + str(answer.headers) for token in TOKENS.values())


def test_who_has_the_token_gets_in(lab: Lab, platform: Platform) -> None:
    """So that the refusals before are the token's doing."""
    assert ask(lab, "chain-1.curious.1", CALLEE, **bearer("guarded")).status_code == 200


def read_as(lab: Lab, instance: str, path: str) -> bytes:
    """What the instance finds at a path, in its place."""
    (pid_file,) = (lab.state_folder / "agents").glob(f"node*/{instance}.pid")
    enter = ["nsenter", f"--target={pid_file.read_text().strip()}", "--mount", "--root", "--wd=/"]
    return subprocess.run(lab.command("root", [*enter, "cat", path]), capture_output=True, check=True).stdout


def test_an_instance_reads_its_own_tenants_token_only(lab: Lab, platform: Platform) -> None:
    for tenant, token in TOKENS.items():
        assert read_as(lab, f"chain-1.{tenant}.1", TOKEN_FILE).decode().strip() == token


def test_tokens_stand_in_no_log_no_state_and_no_environment(lab: Lab, platform: Platform) -> None:
    texts = {
        str(file): file.read_bytes()
        for folder in ("logs", "functions")
        for file in (lab.state_folder / folder).rglob("*")
        if file.is_file()
    }
    texts["/state"] = of_apiserver(platform, "/state").content
    texts["/system/functions"] = of_apiserver(platform, "/system/functions?namespace=guarded").content
    for tenant in TOKENS:
        texts[f"environment of {tenant}"] = read_as(lab, f"chain-1.{tenant}.1", "/proc/2/environ")
    found = [where for where, text in texts.items() for token in TOKENS.values() if token.encode() in text]
    assert found == []
