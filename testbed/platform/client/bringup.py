"""Starts a lab and waits until its control plane answers: apiserver, controller with every switch, gateway, scaler."""

from __future__ import annotations

import os
import time
from functools import partial
from typing import Any

import requests

from testbed.model import addressing
from testbed.model.errors import LabError
from testbed.network.lab import Lab
from testbed.network.process.namespaces import call_within
from testbed.platform.client import lab_http

ANSWER_TIMEOUT_S = 120.0


def start_lab(**options: Any) -> Lab:
    """`Lab.start(**options)`, returned when it is ready for deployments. Errors leave nothing behind."""
    lab = Lab.start(**options)
    try:
        await_control_plane(lab)
    except BaseException:
        lab.stop()
        raise
    return lab


def await_control_plane(lab: Lab, timeout_s: float = ANSWER_TIMEOUT_S) -> None:
    """Wait until every part of the control plane answers. LabError names the one that does not."""
    deadline = time.monotonic() + timeout_s
    namespace = lab.client.netns("root")
    scaled = "scaler" in lab.client.status()["components"]
    try:
        while True:
            silent = call_within(namespace, partial(_first_silent_part, lab)) or _silent_gateway(lab)
            if silent is None and scaled:
                silent = call_within(namespace, _silent_scaler)
            if silent is None:
                return
            if time.monotonic() > deadline:
                logs = lab.state_folder / "logs" / f"{silent}.out"
                tail = "\n".join(logs.read_text(errors="replace").splitlines()[-10:]) if logs.exists() else ""
                raise LabError(f"the {silent} did not answer within {timeout_s:.0f} s; the end of its log:\n{tail}")
            time.sleep(0.03)
    finally:
        os.close(namespace)


def _first_silent_part(lab: Lab) -> str | None:
    if _get(f"{addressing.APISERVER_URL}/healthz") is None:
        return "apiserver"
    version = _get(f"{addressing.CONTROLLER_URL}/version", lab_http.operator(lab.state_folder))
    if version is None or version.json()["applied"] < 0:
        return "controller"
    switches = version.json()["switches"].values()
    return None if switches and all(switch["connected"] for switch in switches) else "controller"


def _silent_gateway(lab: Lab) -> str | None:
    return "gateway" if _get(f"{lab.gateway_url}/healthz") is None else None


def _silent_scaler() -> str | None:
    return "scaler" if _get(f"{addressing.SCALER_URL}/healthz") is None else None


def _get(url: str, authorization: str = "") -> requests.Response | None:
    try:
        answer = lab_http.get(url, 2, authorization)
    except requests.RequestException:
        return None
    return answer if answer.ok else None
