"""What the apiserver refuses, and in which words."""

from __future__ import annotations

from typing import Any

import pytest

from testbed.model.cluster import ClusterState, Deployment, Function, Route
from testbed.model.errors import UsageError
from testbed.platform.apiserver import validation

URL = "http://gateway.openfaas:8080/function"


def state(route: Route = Route.DIRECT) -> ClusterState:
    two = Function("t", "two", 256, "10.96.1.0", "i", 1, calls=("three",))
    three = Function("t", "three", 257, "10.96.1.1", "i", 1, calls=())
    return ClusterState(1, (1, 2, 3), {"t": Deployment("t", route)}, {one.full_name: one for one in (two, three)})


def check(body: dict[str, Any], route: Route = Route.DIRECT) -> validation.FunctionRequest:
    request = validation.function_request({"service": "one", "image": "i", "namespace": "t", **body}, "openfaas-fn")
    validation.check(request, state(route), lambda image: "build" if image == "i" else "")
    return request


def annotated(**annotations: str) -> dict[str, Any]:
    return {"annotations": {f"directfaas/{key}": value for key, value in annotations.items()}}


def test_a_deployment_is_read() -> None:
    request = check(
        {
            "envProcess": "python x.py",
            "envVars": {"A": f"{URL}/two"},
            "labels": {"com.openfaas.scale.min": "0", "com.openfaas.scale.max": "500"},
            "limits": {"memory": "64Mi"},
            **annotated(ingress="true", calls="two, three", node="node3"),
        }
    )
    assert (request.ingress, request.calls, request.min_replicas) == (True, ("two", "three"), 0)
    assert request.environment == {"A": f"{URL}/two", "fprocess": "python x.py"}
    assert request.extra == {"envProcess": "python x.py"}
    assert request.limits == {"memory": "64Mi"}


def test_without_a_namespace_the_default_one_is_meant() -> None:
    assert validation.function_request({"service": "one", "image": "i"}, "openfaas-fn").namespace == "openfaas-fn"


def test_settings_of_the_scaler_are_checked_at_deployment() -> None:
    with pytest.raises(UsageError, match="threshold of function one must be a number"):
        check({"annotations": {"autoscaling.keda.sh/threshold": "many"}})


NAME = 'use at most 63 lower-case letters, digits and "-", a letter or digit at both ends'


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ({"service": "One"}, f'"One" cannot name a function; {NAME}'),
        ({"service": ""}, f'"" cannot name a function; {NAME}'),
        ({"service": "a" * 64}, f'"{"a" * 64}" cannot name a function; {NAME}'),
        ({"namespace": "a.b"}, f'"a.b" cannot name a namespace; {NAME}'),
        ({"image": ""}, 'function one has no image; give "image" a name'),
        ({"image": "j"}, "image j of function one is not built; deploy it with testbed deploy"),
        ({"service": 7}, '"service" must be text'),
        ({"envVars": {"A": 1}}, '"envVars" of function one must map names to texts'),
        ({"labels": [1]}, '"labels" of function one must map names to texts'),
        (
            annotated(ingress="yes"),
            'annotation directfaas/ingress of function one must be "true" or "false", not "yes"',
        ),
        (annotated(calls="one"), "function one calls itself; take it out of its directfaas/calls"),
        (annotated(calls="two,two"), "function one names two twice in its directfaas/calls; take one of them out"),
        (annotated(calls="a/b"), f'"a/b" cannot name a function; {NAME}'),
        (
            {"service": "three", **annotated(calls="two")},
            "the calls two -> three -> two in namespace t form a cycle; take one of them out",
        ),
        (
            annotated(node="node1"),
            'annotation directfaas/node of function one is wrong: "node1" is not a worker; there are node2, node3',
        ),
        (
            {"labels": {"com.openfaas.scale.min": "many"}},
            'label com.openfaas.scale.min of function one must be a whole number, not "many"',
        ),
        (
            {"labels": {"com.openfaas.scale.min": "201"}},
            "label com.openfaas.scale.min of function one is 201; at most 200 can run",
        ),
        (
            {"labels": {"com.openfaas.scale.min": "3", "com.openfaas.scale.max": "2"}},
            "label com.openfaas.scale.min of function one is greater than its com.openfaas.scale.max",
        ),
        (
            {"envVars": {"A": f"{URL}/two"}},
            "environment value A of function one names function two, which is not among its directfaas/calls; "
            "add it there or take the value out",
        ),
    ],
)
def test_a_wrong_deployment_is_refused_with_one_sentence(body: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError) as caught:
        check(body)
    assert str(caught.value) == message


def test_the_gateway_in_another_form_is_allowed_on_the_gateway_route_alone() -> None:
    body = {"envVars": {"gateway_hostname": "gateway"}}
    assert check(body, Route.GATEWAY).environment == body["envVars"]
    with pytest.raises(UsageError, match="contains the gateway"):
        check(body, Route.DIRECT)


@pytest.mark.parametrize("replicas", [-1, 201, 1.5, "3", None, True])
def test_only_a_sensible_number_of_replicas_is_accepted(replicas: Any) -> None:
    with pytest.raises(UsageError) as caught:
        validation.scale_request({"replicas": replicas}, "one")
    assert str(caught.value) == '"replicas" of function one must be a whole number from 0 to 200'


def test_replicas_are_read() -> None:
    assert [validation.scale_request({"replicas": replicas}, "one") for replicas in (0, 200)] == [0, 200]


def test_a_route_is_direct_or_gateway() -> None:
    assert validation.route_request({}, "t") is Route.GATEWAY
    assert validation.route_request({"annotations": {"directfaas/route": "direct"}}, "t") is Route.DIRECT
    with pytest.raises(UsageError) as caught:
        validation.route_request({"annotations": {"directfaas/route": "fast"}}, "t")
    assert str(caught.value) == 'annotation directfaas/route of namespace t must be "direct" or "gateway"'


@pytest.mark.parametrize(
    ("annotation", "constraints", "node"),
    [
        ("", ["kubernetes.io/hostname=node3"], "node3"),
        ("node2, node3", ["kubernetes.io/hostname == node3", "kubernetes.io/os=linux"], "node3"),
        ("node2,node3", ["kubernetes.io/os=linux"], "node2,node3"),
    ],
)
def test_a_constraint_narrows_where_instances_run(annotation: str, constraints: list[str], node: str) -> None:
    body = {"service": "one", "image": "i", "constraints": constraints, "annotations": {"directfaas/node": annotation}}
    assert validation.function_request(body, "t").annotations["directfaas/node"] == node


@pytest.mark.parametrize("asked", [None, False, True])
def test_a_read_only_root_file_system_is_taken_and_given_back(asked: bool | None) -> None:
    request = validation.function_request({"service": "one", "image": "i", "readOnlyRootFilesystem": asked}, "t")
    assert request.read_only_root_filesystem is bool(asked)
    assert request.extra == ({"readOnlyRootFilesystem": True} if asked else {})


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (
            {"constraints": ["kubernetes.io/hostname=node2"], "annotations": {"directfaas/node": "node3"}},
            'constraint "kubernetes.io/hostname=node2" of function one leaves no node: its '
            "directfaas/node allows node3",
        ),
        ({"secrets": "db"}, '"secrets" of function one must be a list of texts'),
        ({"readOnlyRootFilesystem": "yes"}, '"readOnlyRootFilesystem" of function one must be true or false'),
        (
            {"limits": {"memory": "lots"}},
            'limits of function one are wrong: memory limit "lots" is not a Kubernetes quantity; write it like "128Mi"',
        ),
    ],
)
def test_what_a_function_cannot_run_with_is_refused(body: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError) as caught:
        validation.function_request({"service": "one", "image": "i", **body}, "t")
    assert str(caught.value) == message


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ({"name": ""}, '"" cannot name a secret; use lower-case letters, digits, "-" and ".", a letter or digit at '
         "both ends"),
        ({"name": "a", "rawValue": "hunter2!"}, "the value of secret a is not base64"),
        ({"name": "a", "value": "hunter2\ud800"}, "the value of secret a is not UTF-8 text"),
        ({"name": "a", "value": "x" * (1 << 20) + "y"}, "secret a is longer than 1048576 bytes"),
    ],
)  # fmt: skip
def test_a_secret_that_cannot_be_kept_is_refused_without_its_value(body: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError) as caught:
        validation.secret_request(body, "t")
    assert str(caught.value) == message
    assert caught.value.__suppress_context__ or "hunter2" not in repr(caught.value.__context__)


def test_a_secret_is_its_raw_value_or_its_text() -> None:
    assert validation.secret_request({"name": "a", "rawValue": "AAE=", "value": "x"}, "t").value == "AAE="
    assert validation.secret_request({"name": "a", "value": "x"}, "t").value == "eA=="
