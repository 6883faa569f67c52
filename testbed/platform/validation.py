"""What the apiserver accepts: requests read into values, and refused with one sentence when wrong.

Pure. It knows nothing of HTTP; every refusal is a UsageError, which the apiserver answers with 400.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from testbed.errors import UsageError
from testbed.model import ClusterState, Route
from testbed.platform import rewrite
from testbed.platform.scheduler import allowed_nodes
from testbed.scaling import MAX_REPLICAS, PRESETS
from testbed.scaling_annotations import read as read_scaling
from testbed.stack import INGRESS_ANNOTATION, NODE_ANNOTATION, find_cycle, is_name, parse_calls

ROUTE_ANNOTATION = "directfaas/route"
MIN_SCALE_LABEL = "com.openfaas.scale.min"
MAX_SCALE_LABEL = "com.openfaas.scale.max"

_ECHOED = ("envProcess", "constraints", "secrets", "limits", "requests", "readOnlyRootFilesystem")


@dataclass(frozen=True)
class FunctionRequest:
    """A FunctionDeployment of the faas-provider contract, read. `extra` holds fields that are only given back."""

    namespace: str
    name: str
    image: str
    environment: Mapping[str, str] = field(default_factory=dict)
    labels: Mapping[str, str] = field(default_factory=dict)
    annotations: Mapping[str, str] = field(default_factory=dict)
    ingress: bool = False
    calls: tuple[str, ...] = ()
    min_replicas: int = 1
    extra: Mapping[str, Any] = field(default_factory=dict)


def function_request(body: Mapping[str, Any], default_namespace: str) -> FunctionRequest:
    """Read a FunctionDeployment; raises UsageError."""
    name = check_name(_text(body, "service"), "function")
    namespace = check_name(_text(body, "namespace") or default_namespace, "namespace")
    image = _text(body, "image")
    if not image:
        raise UsageError(f'function {name} has no image; give "image" a name')
    labels, annotations = _texts(body, "labels", name), _texts(body, "annotations", name)
    environment = _texts(body, "envVars", name)
    extra = {key: body[key] for key in _ECHOED if body.get(key)}
    if "envProcess" in extra:
        environment["fprocess"] = _text(body, "envProcess")
    return FunctionRequest(
        namespace,
        name,
        image,
        environment,
        labels,
        annotations,
        ingress=_ingress(name, annotations),
        calls=_calls(name, annotations),
        min_replicas=_scale_label(name, labels, annotations),
        extra=extra,
    )


def check(request: FunctionRequest, state: ClusterState, build_of: Callable[[str], str]) -> None:
    """Raise UsageError when the request cannot be deployed into `state`.

    `build_of` answers with an image's build, "" when there is none.
    """
    if not build_of(request.image):
        raise UsageError(
            f"image {request.image} of function {request.name} is not built; deploy it with testbed deploy"
        )
    try:
        allowed_nodes(request.annotations.get(NODE_ANNOTATION, ""), state.nodes)
    except ValueError as error:
        raise UsageError(f"annotation {NODE_ANNOTATION} of function {request.name} is wrong: {error}") from None
    rewrite.check(request.name, request.namespace, request.environment, request.calls, state.route(request.namespace))
    _check_graph(request, state)


def scale_request(body: Mapping[str, Any], name: str) -> int:
    """The replicas that a scale request asks for; raises UsageError."""
    replicas = body.get("replicas")
    if not isinstance(replicas, int) or isinstance(replicas, bool) or not 0 <= replicas <= MAX_REPLICAS:
        raise UsageError(f'"replicas" of function {name} must be a whole number from 0 to {MAX_REPLICAS}')
    return replicas


def route_request(body: Mapping[str, Any], namespace: str) -> Route:
    """The route that a namespace request asks for (gateway, when it does not say); raises UsageError."""
    annotations = body.get("annotations") or {}
    value = annotations.get(ROUTE_ANNOTATION, Route.GATEWAY.value) if isinstance(annotations, dict) else annotations
    if value not in [route.value for route in Route]:
        raise UsageError(f'annotation {ROUTE_ANNOTATION} of namespace {namespace} must be "direct" or "gateway"')
    return Route(value)


def check_name(name: str, kind: str) -> str:
    """`name`, when it can name a function or namespace; raises UsageError."""
    if not is_name(name):
        raise UsageError(
            f'"{name}" cannot name a {kind}; use at most 63 lower-case letters, digits and "-", a letter or digit at '
            "both ends"
        )
    return name


def _check_graph(request: FunctionRequest, state: ClusterState) -> None:
    if request.name in request.calls:
        raise UsageError(f"function {request.name} calls itself; take it out of its directfaas/calls")
    graph = {
        function.name: function.calls
        for function in state.functions.values()
        if function.namespace == request.namespace
    }
    cycle = find_cycle({**graph, request.name: request.calls})
    if cycle:
        raise UsageError(
            f"the calls {' -> '.join(cycle)} in namespace {request.namespace} form a cycle; take one of them out"
        )


def _text(body: Mapping[str, Any], key: str) -> str:
    value = body.get(key) or ""
    if not isinstance(value, str):
        raise UsageError(f'"{key}" must be text')
    return value


def _texts(body: Mapping[str, Any], key: str, name: str) -> dict[str, str]:
    value = body.get(key) or {}
    if not isinstance(value, dict) or not all(isinstance(one, str) for one in value.values()):
        raise UsageError(f'"{key}" of function {name} must map names to texts')
    return dict(value)


def _ingress(name: str, annotations: Mapping[str, str]) -> bool:
    value = annotations.get(INGRESS_ANNOTATION, "false")
    if value not in ("true", "false"):
        raise UsageError(f'annotation {INGRESS_ANNOTATION} of function {name} must be "true" or "false", not "{value}"')
    return value == "true"


def _calls(name: str, annotations: Mapping[str, str]) -> tuple[str, ...]:
    calls = parse_calls(annotations)
    for callee in calls:
        check_name(callee, "function")
        if calls.count(callee) > 1:
            raise UsageError(f"function {name} names {callee} twice in its directfaas/calls; take one of them out")
    return calls


def _scale_label(name: str, labels: Mapping[str, str], annotations: Mapping[str, str]) -> int:
    """The replicas to begin with; all that says how to scale is checked."""
    for label in (MIN_SCALE_LABEL, MAX_SCALE_LABEL):
        value = labels.get(label, "1")
        if not re.fullmatch(r"\d{1,9}", value):
            raise UsageError(f'label {label} of function {name} must be a whole number, not "{value}"')
    smallest = int(labels.get(MIN_SCALE_LABEL, "1"))
    if smallest > MAX_REPLICAS:
        raise UsageError(f"label {MIN_SCALE_LABEL} of function {name} is {smallest}; at most {MAX_REPLICAS} can run")
    if MAX_SCALE_LABEL in labels and smallest > int(labels[MAX_SCALE_LABEL]):
        raise UsageError(f"label {MIN_SCALE_LABEL} of function {name} is greater than its {MAX_SCALE_LABEL}")
    read_scaling(name, labels, annotations, PRESETS["keda"])  # what is a mistake does not depend on the preset
    return smallest
