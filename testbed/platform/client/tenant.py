"""What a tenant asks of the apiserver beside deploying: secrets, namespaces, a function's status, logs, tokens.

For commands, through `Platform.provider`. It never shows or keeps a secret's value.
"""

from __future__ import annotations

import json
import re
from base64 import b64encode
from collections.abc import Iterator, Mapping
from typing import Any, Protocol

import requests

from testbed.model.annotations import GATEWAY_TOKEN, ROUTE_ANNOTATION
from testbed.model.cluster import Phase
from testbed.model.errors import PlatformError, UsageError

_TOKEN = re.compile(r"[A-Za-z0-9._~+/-]+=*")


class Caller(Protocol):
    """Sends a request to the apiserver; PlatformError when it is refused with a status not in `accept`."""

    def __call__(
        self,
        method: str,
        path: str,
        body: Mapping[str, Any] | None = None,
        accept: tuple[int, ...] = (),
        **options: Any,
    ) -> requests.Response: ...


class ProviderClient:
    """The faas-provider contract, as far as commands use it."""

    def __init__(self, call: Caller) -> None:
        self._call = call

    # Secrets

    def secrets(self, namespace: str) -> list[str]:
        """The names of a namespace's secrets."""
        answer = self._call("GET", f"/system/secrets?namespace={namespace}")
        return [secret["name"] for secret in answer.json()]

    def create_secret(self, name: str, namespace: str, value: bytes) -> None:
        self._call("POST", "/system/secrets", _secret(name, namespace, value))

    def update_secret(self, name: str, namespace: str, value: bytes) -> None:
        """Give a secret another value: instances of functions that read it are replaced."""
        self._call("PUT", "/system/secrets", _secret(name, namespace, value))

    def remove_secret(self, name: str, namespace: str) -> None:
        self._call("DELETE", "/system/secrets", {"name": name, "namespace": namespace})

    def set_token(self, namespace: str, token: str) -> None:
        """Set what callers of the namespace's functions by the gateway must present; UsageError for a bad one."""
        if not _TOKEN.fullmatch(token):
            raise UsageError("the token must consist of letters, digits and ._~+/- (no space), as a Bearer token does")
        body = _secret(GATEWAY_TOKEN, namespace, token.encode())
        if self._call("PUT", "/system/secrets", body, accept=(404,)).status_code == 404:
            self._call("POST", "/system/secrets", body)

    # Namespaces

    def namespaces(self) -> list[str]:
        return list(self._call("GET", "/system/namespaces").json())

    def namespace(self, name: str) -> dict[str, Any]:
        """Its name, annotations and labels."""
        return dict(self._call("GET", f"/system/namespace/{name}").json())

    def set_route(self, namespace: str, route: str) -> None:
        """Make a namespace, or change its route; what else it was given stays."""
        answer = self._call("GET", f"/system/namespace/{namespace}", accept=(404,))
        body: dict[str, Any] = {"name": namespace} if answer.status_code == 404 else answer.json()
        body["annotations"] = {**body.get("annotations", {}), ROUTE_ANNOTATION: route}
        path = f"/system/namespace/{namespace}"
        if self._call("PUT", path, body, accept=(404,)).status_code == 404:
            self._call("POST", path, body)

    def credential(self, namespace: str) -> str:
        """What proves to be this namespace, to apiserver, controller and scaler, until it is removed."""
        return str(self._call("GET", f"/credentials/{namespace}").json()["credential"])

    # Functions

    def function(self, name: str, namespace: str) -> dict[str, Any]:
        """The FunctionStatus, with what its instances use."""
        return dict(self._call("GET", f"/system/function/{name}?namespace={namespace}&usage=1").json())

    def instance(self, instance_id: str) -> dict[str, Any]:
        """The instance and the times of its start; empty when it has just gone."""
        answer = self._call("GET", f"/instances/{instance_id}", accept=(404,))
        return dict(answer.json()) if answer.status_code == 200 else {}

    def set_phase(self, instance_id: str, phase: Phase) -> None:
        """Say in its agent's place how an instance is; the agent says what is so at its next change."""
        self._call("PUT", f"/instances/{instance_id}/phase", {"phase": phase.value})

    def logs(self, name: str, namespace: str, **query: str) -> Iterator[dict[str, Any]]:
        """Log messages; `query` as in the contract: instance, since, tail, follow ("true": until the lab ends)."""
        answer = self._call(
            "GET",
            "/system/logs",
            params={"name": name, "namespace": namespace, **query},
            stream=True,
            timeout=(10, None),
        )
        try:
            for line in answer.iter_lines(chunk_size=None):
                yield json.loads(line)
        except requests.RequestException as error:
            raise PlatformError(f"the apiserver has ended the log ({type(error).__name__}); ask again") from error


def count_invocations(text: str, function: str) -> int:
    """The gateway's invocations of one function, all codes together, in the text of its metrics."""
    start = "gateway_function_invocation_total{"
    wanted = f'function_name="{function}"'
    lines = [line for line in text.splitlines() if line.startswith(start) and wanted in line]
    return sum(int(float(line.rpartition(" ")[2])) for line in lines)


def _secret(name: str, namespace: str, value: bytes) -> dict[str, str]:
    # The contract takes rawValue for any bytes; an empty one stands for an empty value.
    return {"name": name, "namespace": namespace, "rawValue": b64encode(value).decode()}
