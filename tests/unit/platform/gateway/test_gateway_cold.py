"""Calls to functions without a ready instance: one scale request however many wait, and none is lost."""

from __future__ import annotations

import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import pytest

from testbed.model.cluster import Phase
from testbed.platform.gateway.service.waking import ScalingLabels, after_alert
from tests.unit.platform.gateway.gateway_rig import Rig, rig
from tests.unit.platform.gateway.loopback import wait_until
from tests.unit.platform.gateway.scripted_backend import Backend, echo

SCALE = "/system/scale-function/"


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rig]:
    with rig(tmp_path_factory.mktemp("gateway")) as one:
        yield one


@pytest.fixture(scope="module")
def never(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rig]:
    with rig(tmp_path_factory.mktemp("gateway"), {"scale_from_zero": "false"}) as one:
        yield one


def cold(lab: Rig, name: str, **settings: Any) -> str:
    """Deploy a function at zero; returns its address."""
    address = lab.address()
    lab.apiserver.answers[("POST", SCALE + name)] = [(202, "")]
    lab.apiserver.function(name, address, phase=None, **{"replicas": 0, **settings})
    lab.gateway.wait_for(lab.apiserver)
    return address


def warm_up(lab: Rig, name: str, address: str) -> Backend:
    """What the provider does after a scale request: replicas, then an instance that becomes ready."""
    backend = Backend(address, lab.function_port, echo)
    lab.apiserver.function(name, address, phase=None)
    lab.apiserver.instance(f"{name}.openfaas-fn.1", Phase.PENDING)
    time.sleep(0.05)
    lab.apiserver.instance(f"{name}.openfaas-fn.1", Phase.READY)
    return backend


def test_fifty_first_calls_make_one_scale_request_and_get_fifty_answers(lab: Rig) -> None:
    address = cold(lab, "many")
    with ThreadPoolExecutor(50) as pool:
        calls = [pool.submit(lab.gateway.request, "POST", f"/function/many/{n}", b"x" * n) for n in range(50)]
        wait_until(lambda: bool(lab.apiserver.asked("POST", SCALE + "many")))
        time.sleep(0.3)
        assert not any(call.done() for call in calls)
        backend = warm_up(lab, "many", address)
        answers = [call.result() for call in calls]
    backend.stop()
    assert [status for status, _, _ in answers] == [200] * 50
    wanted = {"serviceName": "many", "namespace": "openfaas-fn", "replicas": 1}
    assert lab.apiserver.asked("POST", SCALE + "many") == [wanted]
    assert lab.counted("many", 200) == 50


def test_the_wait_is_no_part_of_the_functions_time(lab: Rig) -> None:
    address = cold(lab, "timed")
    call = in_background(lab, "/function/timed")
    waited_s = 1.5
    time.sleep(waited_s)
    backend = warm_up(lab, "timed", address)
    assert call.result()[0] == 200
    backend.stop()
    labels = {"function_name": "timed.openfaas-fn", "code": "200"}
    assert lab.gateway.metric("gateway_functions_seconds_sum", **labels) < waited_s


def in_background(lab: Rig, path: str, body: bytes | None = None) -> Future[Any]:
    pool = ThreadPoolExecutor(1)
    future = pool.submit(lab.gateway.request, "POST" if body else "GET", path, body)
    pool.shutdown(wait=False)
    return future


def test_the_minimum_label_says_how_many_are_asked_for(lab: Rig) -> None:
    address = cold(lab, "three", labels={"com.openfaas.scale.min": "3"})
    call = in_background(lab, "/function/three.openfaas-fn")
    wait_until(lambda: bool(lab.apiserver.asked("POST", SCALE + "three")))
    backend = warm_up(lab, "three", address)
    assert call.result()[0] == 200
    backend.stop()
    assert [body["replicas"] for body in lab.apiserver.asked("POST", SCALE + "three")] == [3]


def test_a_starting_function_is_waited_for_and_not_scaled(lab: Rig) -> None:
    address = cold(lab, "starting", replicas=1)
    call = in_background(lab, "/function/starting")
    time.sleep(0.3)
    backend = warm_up(lab, "starting", address)
    assert call.result()[0] == 200
    backend.stop()
    assert lab.apiserver.asked("POST", SCALE + "starting") == []


def test_a_large_body_waits_with_its_call(lab: Rig) -> None:
    address = cold(lab, "large")
    body = b"abcdefgh" * 200_000
    call = in_background(lab, "/function/large", body)
    time.sleep(0.3)
    backend = warm_up(lab, "large", address)
    status, _, answer = call.result()
    backend.stop()
    assert status == 200
    assert body in answer


def test_a_request_that_the_provider_refuses_is_repeated(lab: Rig) -> None:
    address = cold(lab, "stubborn")
    lab.apiserver.answers[("POST", SCALE + "stubborn")] = [(500, ""), (500, ""), (202, "")]
    call = in_background(lab, "/function/stubborn")
    wait_until(lambda: len(lab.apiserver.asked("POST", SCALE + "stubborn")) == 3)
    backend = warm_up(lab, "stubborn", address)
    assert call.result()[0] == 200
    backend.stop()


def test_a_request_that_has_no_effect_is_repeated(lab: Rig) -> None:
    address = cold(lab, "forgotten")
    call = in_background(lab, "/function/forgotten")
    wait_until(lambda: len(lab.apiserver.asked("POST", SCALE + "forgotten")) == 2)
    backend = warm_up(lab, "forgotten", address)
    assert call.result()[0] == 200
    backend.stop()


def test_twenty_refusals_are_500_with_openfaas_text(lab: Rig) -> None:
    cold(lab, "refused")
    lab.apiserver.answers[("POST", SCALE + "refused")] = [(503, "")]
    status, _, body = lab.gateway.request("GET", "/function/refused")
    assert (status, body.decode()) == (
        500,
        "error finding function refused.openfaas-fn: unable to scale function [refused], err: error scaling HTTP "
        f"code 503, http://127.0.0.1:{lab.apiserver.port}/system/scale-function/refused?namespace=openfaas-fn",
    )
    assert len(lab.apiserver.asked("POST", SCALE + "refused")) == 20


def test_a_function_that_is_removed_meanwhile_is_404(lab: Rig) -> None:
    cold(lab, "removed")
    call = in_background(lab, "/function/removed")
    wait_until(lambda: bool(lab.apiserver.asked("POST", SCALE + "removed")))
    lab.apiserver.change("function", lab.apiserver.state.functions["removed.openfaas-fn"], delete=True)
    assert call.result()[0] == 404


def test_a_client_that_leaves_is_forgotten(lab: Rig) -> None:
    address = cold(lab, "left")
    with lab.gateway.connect() as connection:
        connection.sendall(b"GET /function/left HTTP/1.1\r\nHost: g\r\n\r\n")
        wait_until(lambda: bool(lab.apiserver.asked("POST", SCALE + "left")))
    time.sleep(0.1)
    backend = warm_up(lab, "left", address)
    assert lab.gateway.request("GET", "/function/left")[0] == 200
    backend.stop()
    assert backend.accepted == 1


@pytest.mark.parametrize("phase", [None, Phase.PENDING, Phase.NOT_READY, Phase.DRAINING])
def test_without_scale_from_zero_the_providers_503_is_given(never: Rig, phase: Phase | None) -> None:
    name = f"cold-{phase.value.lower() if phase else 'none'}"
    never.apiserver.function(name, never.address(), phase=phase)
    never.gateway.wait_for(never.apiserver)
    status, headers, body = never.gateway.request("POST", f"/function/{name}", b"x")
    assert (status, body.decode()) == (503, f"No endpoints available for: {name}.")
    assert headers["X-OpenFaaS-Internal"] == "proxy"
    assert never.counted(name, 503) == 1
    assert never.apiserver.asked("POST", SCALE + name) == []


@pytest.mark.parametrize("name", ["paused", "maxReplicaCount"])
def test_a_function_that_may_not_be_scaled_is_503_at_once(lab: Rig, name: str) -> None:
    value = "true" if name == "paused" else "0"
    cold(lab, name.lower(), annotations={f"autoscaling.keda.sh/{name}": value})
    assert lab.gateway.request("GET", f"/function/{name.lower()}")[0] == 503
    assert lab.apiserver.asked("POST", SCALE + name.lower()) == []


def test_a_provider_that_is_away_is_500_after_the_tries(tmp_path_factory: pytest.TempPathFactory) -> None:
    with rig(tmp_path_factory.mktemp("gateway")) as one:
        cold(one, "orphan")
        one.apiserver.stop()
        status, _, body = one.gateway.request("GET", "/function/orphan")
        assert (status, body.endswith(b"connect: connection refused")) == (500, True)


@pytest.mark.parametrize(
    ("status", "replicas", "labels", "wanted"),
    [
        ("firing", 1, {}, 5),  # 20 % of 20, as OpenFaaS 0.23.0 was seen doing it
        ("firing", 18, {}, 20),
        ("firing", 1, {"com.openfaas.scale.max": "3"}, 2),
        ("firing", 1, {"com.openfaas.scale.max": "7", "com.openfaas.scale.factor": "50"}, 5),
        ("firing", 1, {"com.openfaas.scale.factor": "101"}, 5),
        ("firing", 4, {"com.openfaas.scale.factor": "0"}, 1),
        ("resolved", 9, {}, 1),
        ("resolved", 9, {"com.openfaas.scale.min": "2"}, 2),
        ("resolved", 9, {"com.openfaas.scale.min": "two"}, 1),
    ],
)
def test_alerts_scale_by_openfaas_formula(status: str, replicas: int, labels: dict[str, str], wanted: int) -> None:
    assert after_alert(status, replicas, ScalingLabels.of(labels)) == wanted
