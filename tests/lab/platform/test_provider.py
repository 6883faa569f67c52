"""The provider in a real lab: secrets reach functions as files, logs are followed, a killed apiserver loses nothing."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests

from testbed.model import addressing
from testbed.model.cluster import Phase
from testbed.model.errors import PlatformError
from testbed.network.lab import Lab
from testbed.platform.client.platform import Platform
from tests.lab.calls import of_apiserver
from tests.lab.conftest import command_line
from tests.lab.custom import deploy
from tests.waiting import until

NAMESPACE = "provider"
PLANTED = "planted-in-a-lab-41c9"
HANDLER = """
import sys

def handle(event, context):
    what = event.query.get("what")
    if what == "say":
        print(event.query["word"], flush=True)
        return "said"
    return open("/var/openfaas/secrets/" + event.query["name"]).read()
"""


@pytest.fixture(scope="module")
def platform(lab: Lab, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Platform]:
    with lab.inside():
        platform = Platform(lab)
        platform.provider.create_secret("password", NAMESPACE, PLANTED.encode())
        deploy(platform, tmp_path_factory.mktemp("stack"), NAMESPACE, HANDLER, secrets=("password",))
        yield platform
        platform.remove(NAMESPACE)


def ask(**query: str) -> str:
    """Call the function by the gateway."""
    url = f"http://{addressing.GATEWAY_MANAGEMENT_IP}:8080/function/f.{NAMESPACE}"
    answer = requests.get(url, params=query, timeout=20)
    assert answer.status_code == 200, answer.text
    return answer.text


def test_a_secret_is_a_file_and_another_value_comes_with_other_instances(lab: Lab, platform: Platform) -> None:
    assert ask(name="password") == PLANTED
    before = set(platform.state().instances)
    platform.provider.update_secret("password", NAMESPACE, f"{PLANTED}-2".encode())
    platform.wait_ready(namespace=NAMESPACE)
    assert ask(name="password") == f"{PLANTED}-2"
    ready = {one.id for one in platform.state().instances.values() if one.phase is Phase.READY}
    assert ready.isdisjoint(before)


def test_no_file_of_the_lab_and_no_verb_tells_the_value(lab: Lab, platform: Platform) -> None:
    assert ask(name="password").startswith(PLANTED)
    for file in lab.state_folder.rglob("*"):
        if file.is_file() and not file.name.startswith("apiserver.db"):
            assert PLANTED.encode() not in file.read_bytes(), file
    for verb in (("describe", f"f.{NAMESPACE}", "--json"), ("status", "--json"), ("secret", "list", "-n", NAMESPACE)):
        result = command_line(*verb, "--name", lab.name)
        assert result.returncode == 0, result.stderr
        assert PLANTED not in result.stdout + result.stderr
    described = json.loads(command_line("describe", f"f.{NAMESPACE}", "--json", "--name", lab.name).stdout)
    assert (described["secrets"], described["status"]) == (["password"], "Ready")
    assert described["invocations"] >= 1


def test_the_log_of_a_function_is_followed(lab: Lab, platform: Platform) -> None:
    ask(what="say", word="before")
    messages = platform.provider.logs("f", NAMESPACE, follow="true")
    next(message for message in messages if message["text"] == "before")
    ask(what="say", word="while-reading")
    found = next(message for message in messages if message["text"] == "while-reading")
    assert platform.state().instances[found["instance"]].function == "f"
    messages.close()  # type: ignore[attr-defined]
    shown = command_line("logs", f"f.{NAMESPACE}", "--since", "1h", "--name", lab.name).stdout
    assert "while-reading" in shown


def kept(platform: Platform) -> dict[str, object]:
    state = platform.state()
    return {
        "functions": state.functions,
        "deployments": state.deployments,
        "instances": {
            one.id: (one.eip, platform.provider.instance(one.id)["timings"]) for one in state.instances.values()
        },
        "secrets": platform.provider.secrets(NAMESPACE),
        "tokens": of_apiserver(platform, "/tokens").json(),
    }


def scale_requests(platform: Platform) -> float:
    wanted = 'provider_http_requests_total{code="202",method="POST",path="/system/scale-function"}'
    lines = of_apiserver(platform, "/metrics").text.splitlines()
    return sum(float(line.rpartition(" ")[2]) for line in lines if line.startswith(wanted))


def test_a_killed_apiserver_loses_nothing(lab: Lab, platform: Platform) -> None:
    platform.scale("f", NAMESPACE, 2)
    platform.wait_ready(namespace=NAMESPACE)
    before, scaled = kept(platform), scale_requests(platform)
    part = lab.client.status()["components"]["apiserver"]
    subprocess.run(lab.command("root", ["kill", "-KILL", str(part["pid"])]), check=True)
    assert ask(name="password").startswith(PLANTED)  # nobody needs the apiserver for a call

    def answers() -> bool:
        try:
            return all(one.phase is Phase.READY for one in platform.state().instances.values())
        except PlatformError:
            return False

    until(answers, "an apiserver again", within_s=60)
    assert lab.client.status()["components"]["apiserver"]["restarts"] > part["restarts"]
    assert kept(platform) == before
    assert scale_requests(platform) == scaled > 0
    platform.scale("f", NAMESPACE, 1)
    platform.wait_ready(namespace=NAMESPACE)


def test_limits_are_kept_and_usage_is_told(platform: Platform, lab: Lab, tmp_path: Path) -> None:
    try:
        deploy(platform, tmp_path, "provider-b", HANDLER, limits={"memory": "128Mi", "cpu": "500m"})
        status = platform.provider.function("f", "provider-b")
        assert status["limits"] == {"memory": "128Mi", "cpu": "500m"}
        assert 1 << 20 < status["usage"]["totalMemoryBytes"] < 128 << 20
        assert 0 <= status["usage"]["cpu"] <= 600
    finally:
        platform.remove("provider-b")
