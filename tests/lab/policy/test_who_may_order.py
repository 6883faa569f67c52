"""Who may order what in a running lab, asked from its own network and from the gateway's host: the whole table."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import pytest
import requests

from testbed.model import addressing, audiences
from testbed.model.audiences import Audience, Own, Server
from testbed.model.cluster import Route
from testbed.model.credentials import bearer, file_of
from testbed.network.lab import Lab
from testbed.platform.client.platform import Platform
from tests.lab.conftest import CHECKOUT, command_line
from tests.lab.traffic import in_host
from tests.waiting import until

OWN, OTHER = "orders-own", "orders-other"
MANAGEMENT = f"http://{addressing.GATEWAY_MANAGEMENT_IP}"
URLS = {
    Server.APISERVER: addressing.APISERVER_URL,
    Server.SCALER: addressing.SCALER_URL,
    Server.CONTROLLER: addressing.CONTROLLER_URL,
    Server.GATEWAY: f"{MANAGEMENT}:{addressing.FUNCTION_PORT}",
    Server.GATEWAY_METRICS: f"{MANAGEMENT}:{addressing.GATEWAY_METRICS_PORT}",
}
COMPONENTS = ("agent2", "gateway", "provider", "scaler", "controller", "metrics-reader")


@dataclass(frozen=True)
class Asker:
    """Who asks; `name` is a component's, "operator", a namespace's, or "" for nobody who is known."""

    name: str
    headers: Mapping[str, str]

    def may(self, audience: Audience) -> bool:
        if audience.anybody:
            return True
        if self.name == "operator":
            return audience.operator
        if self.name in (OWN, OTHER):
            return audience.own is not None and (self.name == OWN or audience.own in (Own.ANSWER, Own.BODY))
        return self.name.rstrip("2") in audience.components


@pytest.fixture(scope="module")
def platform(lab: Lab) -> Iterator[Platform]:
    with lab.inside():
        platform = Platform(lab)
        for name in (OWN, OTHER):
            platform.provider.set_route(name, Route.DIRECT.value)
        yield platform
        for name in (OWN, OTHER):
            platform.remove(name)


@pytest.fixture(scope="module")
def askers(lab: Lab, platform: Platform) -> list[Asker]:
    texts = {name: file_of(lab.state_folder, name).read_text() for name in (*COMPONENTS, "operator")}
    texts |= {name: platform.provider.credential(name) for name in (OWN, OTHER)}
    known = [Asker(name, {"Authorization": bearer(text)}) for name, text in texts.items()]
    forged = texts["operator"][:-1] + ("0" if texts["operator"][-1] != "0" else "1")
    return [Asker("", {}), Asker("", {"Authorization": bearer(forged)}), *known]


def target(path: str) -> str:
    """About the namespace OWN, which has no function: what is admitted finds nothing, or a body that is no JSON."""
    name = OWN if path.startswith(("/system/namespace/", "/credentials/")) else "f"
    for hole, value in {"{name}": name, "{id}": f"f.{OWN}.1", "{function}": f"f.{OWN}", "{metric}": "m"}.items():
        path = path.replace(hole, value)
    return f"{path.replace('{node}', '2')}?name=f&namespace={OWN}&function=f.{OWN}"


@pytest.mark.parametrize("host", ["root", "gateway"])
@pytest.mark.parametrize("server", [Server.APISERVER, Server.SCALER, Server.CONTROLLER])
def test_the_whole_table(lab: Lab, platform: Platform, askers: list[Asker], server: Server, host: str) -> None:
    def ask() -> list[str]:
        wrong = []
        for asker in askers:
            for (method, path), audience in audiences.of(server).items():
                if asker.may(audience) and method == "DELETE" and "{name}" in path and path.startswith("/system"):
                    continue  # it would be done
                with requests.request(
                    method, f"{URLS[server]}{target(path)}", headers=dict(asker.headers), timeout=20, stream=True,
                    data=b"{" if method != "GET" else None,
                ) as answer:  # fmt: skip
                    known = asker.name or audience.anybody
                    refused = answer.status_code == (403 if known else 401)
                    if refused == asker.may(audience):
                        wrong.append(f"{asker.name or 'nobody'}: {method} {path}: {answer.status_code}")
        return wrong

    assert (ask() if host == "root" else in_host(lab, host, ask)) == []


def test_the_gateway_knows_the_operators_password_and_who_reads_its_metrics(
    lab: Lab, platform: Platform, askers: list[Asker]
) -> None:
    operator = {"auth": lab.credentials}
    for server in (Server.GATEWAY, Server.GATEWAY_METRICS):
        for (method, path), audience in audiences.of(server).items():
            url = f"{URLS[server]}{target(path)}"
            if audience.anybody or method != "GET":
                continue
            assert requests.get(url, timeout=20, **operator).status_code not in (401, 403), path
            admitted = [
                one.name for one in askers if requests.get(url, timeout=20, headers=one.headers).status_code != 401
            ]
            assert admitted == (["metrics-reader"] if server is Server.GATEWAY_METRICS else []), path


def test_a_namespaces_token_orders_for_itself_by_the_verb(lab: Lab, platform: Platform) -> None:
    token = command_line("namespace", "token", OWN, "--name", lab.name).stdout.strip()
    file = lab.state_folder / "own.token"
    file.write_text(token)
    use = {"TESTBED_TOKEN_FILE": str(file)}
    add = ("policy", "add", "--name", lab.name)
    try:
        assert command_line(*add, "own-rule", "deny", "a", "b", "--token-file", str(file)).returncode == 0
        listed = json.loads(command_line("policy", "list", "--json", "--name", lab.name, **use).stdout)
        assert [(one["name"], one["namespace"], one["operator"]) for one in listed] == [("own-rule", OWN, False)]
        for wider in (("a", f"b.{OTHER}"), ("gateway", "b"), ("a", "b", "--operator"), ("a", "b", "-n", OTHER)):
            refused = command_line(*add, "wide", "deny", *wider, **use)
            assert refused.returncode == 5
            assert "is for the lab's operator" in refused.stderr
        platform.add_policy({"name": "above", "kind": "deny", "namespace": OWN, "operator": True})
        gone = command_line("policy", "remove", "above", "--name", lab.name, **use)
        assert (gone.returncode, "there is no policy above" in gone.stderr) == (5, True)
        assert command_line("policy", "remove", "own-rule", "--name", lab.name, **use).returncode == 0
    finally:
        file.unlink()
        for one in platform.policies():
            platform.remove_policy(one["name"])


def test_a_later_namespace_of_the_same_name_is_somebody_else(lab: Lab, platform: Platform) -> None:
    platform.provider.set_route("short-lived", "direct")
    earlier = Platform(lab, credential=platform.provider.credential("short-lived"))
    assert list(earlier.state().deployments) == ["short-lived"]
    platform.remove("short-lived")
    platform.provider.set_route("short-lived", "direct")
    try:
        until(lambda: platform.applied() >= platform.state().version, "the controller knows the new one")
        for asked in (earlier.state, earlier.policies):
            with pytest.raises(Exception, match="only to a credential"):
                asked()
    finally:
        platform.remove("short-lived")


@pytest.mark.parametrize("host", ["root", "gateway"])
def test_openflow_is_spoken_with_switches_only(lab: Lab, platform: Platform, host: str) -> None:
    def ask() -> bytes:
        address = (addressing.CONTROL_PLANE_IP, addressing.OPENFLOW_PORT)
        with socket.create_connection(address, timeout=10) as connection:
            return connection.recv(8)  # a switch would be greeted

    assert (ask() if host == "root" else in_host(lab, host, ask)) == b""
    assert platform.rows_agree()
    assert "is none of the lab's switches" in (lab.state_folder / "logs" / "controller.out").read_text()


def test_the_labs_folder_is_roots_alone(lab: Lab) -> None:
    """As another user: nothing of it can be read or connected to, and the command line says so in a sentence."""
    program = f"""
import os, socket, sys
os.setgroups([]); os.setgid(65534); os.setuid(65534)
sys.path.insert(0, {str(CHECKOUT)!r})
try:
    socket.socket(socket.AF_UNIX).connect({str(lab.state_folder / "lab.sock")!r})
except PermissionError:
    print("no way in")
try:
    os.listdir({str(lab.state_folder)!r})
except PermissionError:
    print("nothing to see")
from testbed.commands import main
sys.exit(main.run(["status", "--name", {lab.name!r}]))
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=False)
    assert done.stdout.split("\n")[:2] == ["no way in", "nothing to see"]
    assert (done.returncode, done.stderr) == (3, f"testbed: lab {lab.name!r} belongs to root; use sudo\n")


def test_no_credential_stands_in_a_command_line_an_environment_or_a_log(lab: Lab, platform: Platform) -> None:
    macs = [file.read_text().rpartition(".")[2].encode() for file in file_of(lab.state_folder, "x").parent.iterdir()]
    assert len(macs) == len(set(macs)) > 6
    told = [file.read_bytes() for file in (lab.state_folder / "logs").iterdir()]
    for part in lab.client.status()["components"].values():
        told += subprocess.run(
            lab.command("root", ["cat", f"/proc/{part['pid']}/cmdline", f"/proc/{part['pid']}/environ"]),
            capture_output=True, check=True,
        ).stdout.split(b"\0")  # fmt: skip
    assert len(told) > 50
    assert [mac for mac in macs for text in told if mac in text] == []
    assert file_of(lab.state_folder, "operator").stat().st_mode & 0o077 == 0


def test_every_component_is_given_its_own_credential_and_those_who_check_the_key(lab: Lab) -> None:
    own, key = set(), set()
    for name, part in lab.client.status()["components"].items():
        files = lab.command("root", ["cat", f"/proc/{part['pid']}/cmdline", f"/proc/{part['pid']}/environ"])
        told = subprocess.run(files, capture_output=True, check=True).stdout.decode().split("\0")
        own |= {(name, one.rpartition("/")[2]) for one in told if one.startswith("TESTBED_CREDENTIAL=")}
        key |= {name for one in told if one.endswith("/lab-key")}
    assert own == {(name, name) for name in ("controller", "scaler", "gateway", "agent2", "agent3")}
    assert key == {"apiserver", "controller", "scaler"}
