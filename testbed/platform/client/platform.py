"""The platform from the outside: deploy, scale and remove applications, and wait until they are there.

For commands and experiments, in a process that is in the lab's root network namespace. It builds the
images and talks to apiserver and controller over HTTP; it never invokes a function.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import requests

from testbed.model import addressing
from testbed.model.annotations import GATEWAY_TOKEN, NODE_ANNOTATION
from testbed.model.application import Application, FunctionSpec, callees_first, with_secret
from testbed.model.checkout import TEMPLATES
from testbed.model.cluster import ClusterState, Function, Instance, Phase, Route
from testbed.model.credentials import bearer
from testbed.model.errors import PlatformError
from testbed.model.placement import place
from testbed.network.switching import appctl
from testbed.platform.client import datastore_setup, lab_http
from testbed.platform.client.tenant import ProviderClient, count_invocations
from testbed.platform.images import build

CALL_TIMEOUT_S = 10.0
CONTROLLER_TIMEOUT_S = 20.0
"""Longer than the controller waits for its switches."""
METRICS_TIMEOUT_S = 5.0
POLL_S = 0.04

LOG = logging.getLogger(__name__)

Progress = Callable[[int, int], None]
"""Is told (instances that are ready, instances wanted) whenever that changes."""


class RunningLab(Protocol):
    """The part of a lab that is needed here."""

    @property
    def state_folder(self) -> Path: ...


class Platform:
    """The control plane of one lab. Every failure is a PlatformError with one sentence."""

    def __init__(
        self,
        lab: RunningLab,
        apiserver_url: str = addressing.APISERVER_URL,
        controller_url: str = addressing.CONTROLLER_URL,
        note: Callable[[str], None] = LOG.warning,
        credential: str | None = None,
    ) -> None:
        """`note` is told, in a sentence, what a user should know although nothing failed.

        All that is asked is asked with `credential`, by default the operator's.
        """
        self.state_folder = Path(lab.state_folder)
        self._note = note
        self._apiserver = apiserver_url
        self._controller = controller_url
        self._session = lab_http.session(bearer(credential) if credential else lab_http.operator(self.state_folder))
        self.provider = ProviderClient(self._call)

    def deploy(
        self,
        application: Application,
        namespace: str,
        route: Route,
        placement: str | None = None,
        *,
        token: str | None = None,
        templates_dir: Path = TEMPLATES,
        progress: Progress | None = None,
        timeout_s: float = 60.0,
    ) -> None:
        """Make `namespace` hold this application and nothing else, and wait until it is ready.

        `placement` is one of PLACEMENTS; None leaves it to the functions' own annotations. The same
        application and placement give the same function -> node map in every namespace. `token`: callers
        by the gateway must present it from now on; where a namespace has one, all its functions can read it.
        """
        nodes = place(application, placement, self.state().nodes)
        datastore_setup.check(application)
        build.build(application, templates_dir, self.state_folder / "images")
        self.provider.set_route(namespace, route.value)
        datastore_setup.prepare(application, namespace, self.state_folder, self.provider, self.state().functions)
        if token is not None:
            self.provider.set_token(namespace, token)
        if GATEWAY_TOKEN in self.provider.secrets(namespace):
            application = with_secret(application, GATEWAY_TOKEN)
        names = {spec.name for spec in application.functions}
        for function in self.state().functions.values():
            if function.namespace == namespace and function.name not in names and not function.store:
                self.remove_function(function.name, namespace)
        deadline = time.monotonic() + timeout_s
        for spec in callees_first(application):
            self._deploy_function(spec, namespace, nodes[spec.name], deadline)
        self.wait_ready(timeout_s, namespace, progress)

    def remove(self, namespace: str, timeout_s: float = 60.0) -> None:
        """Remove a namespace and all its functions; returns when their instances are gone."""
        self._call("DELETE", f"/system/namespace/{namespace}")
        deadline = time.monotonic() + timeout_s
        while True:
            state = self.state()
            if namespace not in state.deployments:
                datastore_setup.clear(self.state_folder, namespace)
                self._await_applied(state.version, deadline)
                return
            if time.monotonic() > deadline:
                left = ", ".join(one.id for one in state.instances.values() if one.namespace == namespace)
                raise PlatformError(f"instances {left} are not gone after {timeout_s:.0f} s; see the node agents' logs")
            time.sleep(POLL_S)

    def remove_function(self, name: str, namespace: str) -> None:
        """Begin to remove one function; does not wait."""
        self._call("DELETE", "/system/functions", {"functionName": name, "namespace": namespace})

    def scale(self, name: str, namespace: str, replicas: int) -> None:
        """Ask for that many replicas; does not wait (see `wait_ready`)."""
        body = {"serviceName": name, "namespace": namespace, "replicas": replicas}
        self._call("POST", f"/system/scale-function/{name}", body)

    def state(self) -> ClusterState:
        """The cluster as the apiserver knows it now."""
        return ClusterState.from_json(self._call("GET", "/state").json())

    def wait_ready(
        self, timeout_s: float = 60.0, namespace: str | None = None, progress: Progress | None = None
    ) -> ClusterState:
        """Wait until exactly the wanted replicas are ready and every switch knows; returns that state.

        Looks at one namespace, or at all. Gives up when for `timeout_s` nothing more has become ready: thirty
        instances take a few seconds on one machine and two minutes in the lab kernel. Raises PlatformError
        that names what is missing and where its log is.
        """
        deadline = time.monotonic() + timeout_s
        told: tuple[int, int] | None = None
        most = 0
        while True:
            state = self.state()
            functions = [one for one in state.functions.values() if namespace in (None, one.namespace)]
            ready = sum(min(_ready(state, one), one.replicas) for one in functions)
            wanted = sum(one.replicas for one in functions)
            if progress and (ready, wanted) != told:
                told = (ready, wanted)
                progress(ready, wanted)
            if ready > most:
                most, deadline = ready, time.monotonic() + timeout_s
            late = [one for one in functions if not _settled(state, one)]
            if not late:
                self._await_applied(state.version, deadline)
                return state
            if time.monotonic() > deadline:
                raise PlatformError(self._complaint(state, late[0], timeout_s))
            time.sleep(POLL_S)

    def applied(self) -> int:
        """The newest version whose rows every switch has confirmed."""
        return int(self._ask_controller("/version")["applied"])

    def switches(self) -> dict[str, dict[str, Any]]:
        """Each switch by its node's number, read now: connected, digest, desired_digest (GET /version)."""
        switches: dict[str, dict[str, Any]] = self._ask_controller("/version?digest=now")["switches"]
        return switches

    def rows_agree(self) -> bool:
        """Whether every switch is connected and holds exactly what the controller computes, read now."""
        switches = self.switches().values()
        return bool(switches) and all(one["connected"] and one["digest"] == one["desired_digest"] for one in switches)

    def flows(self, node: int) -> dict[str, Any]:
        """A node's flow rows and groups with their counters and what each is for (the controller's GET /flows)."""
        return self._ask_controller(f"/flows/{node}")

    def counters(self, *, exact: bool = False) -> dict[str, Any]:
        """What the switches have counted, read from them now (see the controller's GET /counters).

        Their datapaths' newest counts come in up to a second late; `exact` has them handed up first.
        """
        if exact:
            appctl.hand_up_counters(self.state_folder)
        return self._ask_controller("/counters")

    def policies(self) -> list[dict[str, Any]]:
        """A provider's own policies with what they do and have counted (the controller's GET /policies)."""
        return self._ask_controller("/policies")["policies"]

    def add_policy(self, body: Mapping[str, Any]) -> dict[str, Any]:
        """Add a policy; returns it as `policies` shows it. PlatformError says what is wrong with it."""
        return self._ask_controller("/policies", "POST", body)

    def remove_policy(self, name: str) -> str | None:
        """Remove a policy; None, or in words why it may still be in force for a while."""
        return self._ask_controller(f"/policies/{name}", "DELETE").get("state")

    def latencies(self) -> list[dict[str, Any]]:
        """The last changes and how long each took (the controller's GET /latency)."""
        return list(self._ask_controller("/latency"))

    def cold_starts(self) -> list[dict[str, Any]]:
        """When each step of the last starts ended (the apiserver's GET /coldstarts)."""
        return list(self._call("GET", "/coldstarts").json())

    def gateway_metrics(self) -> str | None:
        """The text of the gateway's own metrics; None while it does not answer."""
        url = f"http://{addressing.GATEWAY_MANAGEMENT_IP}:{addressing.GATEWAY_METRICS_PORT}/metrics"
        try:
            answer = lab_http.get(url, METRICS_TIMEOUT_S, lab_http.operator_at_gateway(self.state_folder))
        except requests.RequestException:
            return None
        return answer.text if answer.ok else None

    def invocations(self, function: str) -> int | None:
        """How often `name.namespace` was invoked by the gateway, as it says itself; None while it does not answer."""
        text = self.gateway_metrics()
        return None if text is None else count_invocations(text, function)

    def ask_scaler(self, method: str, path: str, **options: Any) -> requests.Response:
        """A request to the scaler; PlatformError with what it says when it refuses."""
        try:
            answer = self._session.request(method, f"{addressing.SCALER_URL}{path}", timeout=CALL_TIMEOUT_S, **options)
        except requests.RequestException as error:
            raise PlatformError(
                "the scaler does not answer; `testbed status` says whether the lab has one (up --scaler off has none)"
            ) from error
        if not answer.ok:
            raise PlatformError(_json_object(answer).get("error") or f"the scaler answered with {answer.status_code}")
        return answer

    def _deploy_function(self, spec: FunctionSpec, namespace: str, nodes: str, deadline: float) -> None:
        """Update the function, or create it; one that is still being removed is waited for."""
        body: dict[str, Any] = {
            "service": spec.name,
            "image": spec.image,
            "namespace": namespace,
            "envVars": dict(spec.environment),
            "labels": dict(spec.labels),
            "annotations": {**spec.annotations, NODE_ANNOTATION: nodes},
            "secrets": list(spec.secrets),
            "limits": dict(spec.limits),
            "requests": dict(spec.requests),
            "constraints": list(spec.constraints),
            "readOnlyRootFilesystem": spec.read_only_root_filesystem,
            **({"envProcess": spec.fprocess} if spec.fprocess else {}),
        }
        while True:
            if self._call("PUT", "/system/functions", body, accept=(404,)).status_code != 404:
                return
            if self._call("POST", "/system/functions", body, accept=(409,)).status_code != 409:
                return
            if time.monotonic() > deadline:
                raise PlatformError(f"an earlier {spec.name}.{namespace} is not gone yet; see the node agents' logs")
            time.sleep(POLL_S)

    def _await_applied(self, version: int, deadline: float) -> None:
        """Wait for every switch but those that have answered nothing for a while: they are named, and get it later."""
        while not self._is_applied(version):
            if time.monotonic() > deadline:
                raise PlatformError(
                    f"the switches have not confirmed version {version}; see {self.state_folder}/logs/controller.out"
                )
            time.sleep(POLL_S)

    def _is_applied(self, version: int) -> bool:
        answer = self._ask_controller("/version")
        behind = {node: one for node, one in answer["switches"].items() if one["applied"] < version}
        if answer["seen"] < version or any(one["answers"] for one in behind.values()):
            return False
        for node, one in behind.items():
            self._note(f"node{node}'s switch has not answered for {one['silent_s']:.0f} s; it follows when it does")
        return True

    def _complaint(self, state: ClusterState, function: Function, timeout_s: float) -> str:
        instances = [one for one in state.instances.values() if one.function_name == function.full_name]
        bad = next((one for one in instances if one.phase is not Phase.READY), None)
        what = f"{function.full_name} has {_ready(state, function)} of {function.replicas} instances ready"
        if bad is None:
            return f"{what} after {timeout_s:.0f} s; see {self.state_folder}/logs/apiserver.out"
        file = self.state_folder / "functions" / f"{bad.id}.log"
        return (
            f"{what} after {timeout_s:.0f} s; {bad.id} on node{bad.node} is {bad.phase.value}: "
            f"{_last_line(file, bad.id) or 'it wrote nothing'}; see {file}"
        )

    def _call(
        self,
        method: str,
        path: str,
        body: Mapping[str, Any] | None = None,
        accept: Sequence[int] = (),
        **options: Any,
    ) -> requests.Response:
        try:
            url, options = f"{self._apiserver}{path}", {"timeout": CALL_TIMEOUT_S, **options}
            answer = self._session.request(method, url, json=body, **options)
        except requests.RequestException as error:
            raise PlatformError(
                f"the apiserver at {self._apiserver} does not answer ({type(error).__name__}); is the lab running?"
            ) from error
        if answer.status_code >= 400 and answer.status_code not in accept:
            raise PlatformError(
                answer.text.strip() or f"the apiserver answered {method} {path} with {answer.status_code}"
            )
        return answer

    def _ask_controller(self, path: str, method: str = "GET", body: Mapping[str, Any] | None = None) -> Any:
        try:
            answer = self._session.request(method, f"{self._controller}{path}", json=body, timeout=CONTROLLER_TIMEOUT_S)
            if answer.status_code >= 400 and "error" in (refusal := _json_object(answer)):
                raise PlatformError(refusal["error"])
            answer.raise_for_status()
            return answer.json()
        except requests.RequestException as error:
            raise PlatformError(
                f"the controller at {self._controller} does not answer {path} ({type(error).__name__}); "
                f"see {self.state_folder}/logs/controller.out"
            ) from error


def _json_object(answer: requests.Response) -> dict[str, Any]:
    try:
        found = answer.json()
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def _alive(state: ClusterState, function: Function) -> list[Instance]:
    return [
        one
        for one in state.instances.values()
        if one.function_name == function.full_name and one.phase is not Phase.DRAINING
    ]


def _ready(state: ClusterState, function: Function) -> int:
    return sum(one.phase is Phase.READY and one.revision == function.revision for one in _alive(state, function))


def _settled(state: ClusterState, function: Function) -> bool:
    return _ready(state, function) == function.replicas == len(_alive(state, function))


def _last_line(file: Path, instance_id: str) -> str:
    """What an instance wrote last; what the agent has added about how it ended says less."""
    try:
        lines = file.read_text(errors="replace").strip().splitlines()
    except OSError:
        return ""
    own = [line for line in lines if f"Z instance {instance_id} " not in line]
    return (own or lines)[-1].strip() if lines else ""
