"""What the apiserver accepts: requests read into values, and refused with one sentence when wrong.

Pure. It knows nothing of HTTP; every refusal is a UsageError, which the apiserver answers with 400.
"""

from __future__ import annotations

import re
from base64 import b64decode, b64encode
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

from testbed.model import datastores, quantities, rewrite
from testbed.model.annotations import (
    CALLS_ANNOTATION,
    INGRESS_ANNOTATION,
    MAX_SCALE_LABEL,
    MIN_SCALE_LABEL,
    NODE_ANNOTATION,
    ROUTE_ANNOTATION,
)
from testbed.model.application import find_cycle, is_name, is_secret_name, parse_calls
from testbed.model.cluster import ClusterState, Route
from testbed.model.errors import UsageError
from testbed.model.placement import allowed_nodes, constrained_node
from testbed.model.scaling.annotations import read_settings
from testbed.model.scaling.settings import MAX_REPLICAS, PRESETS

LARGEST_SECRET_BYTES = 1 << 20
"""As in Kubernetes."""

_ECHOED = ("envProcess", "constraints", "requests", "readOnlyRootFilesystem")


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
    secrets: tuple[str, ...] = ()
    limits: Mapping[str, str] = field(default_factory=dict)
    stores: tuple[str, ...] = ()
    read_only_root_filesystem: bool = False
    extra: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, repr=False)
class SecretRequest:
    """A Secret of the faas-provider contract, read; `value` is base64. It has no repr: no traceback shows it."""

    namespace: str
    name: str
    value: str


def function_request(body: Mapping[str, Any], default_namespace: str) -> FunctionRequest:
    """Read a FunctionDeployment; raises UsageError."""
    name = check_name(text(body, "service"), "function")
    if name in datastores.KINDS:
        raise UsageError(f"{name} is the name of a store; give the function another")
    namespace = check_name(text(body, "namespace") or default_namespace, "namespace")
    image = text(body, "image")
    if not image:
        raise UsageError(f'function {name} has no image; give "image" a name')
    labels, annotations = _texts(body, "labels", name), _texts(body, "annotations", name)
    environment = _texts(body, "envVars", name)
    resources = {key: _resources(body, key, name) for key in ("limits", "requests")}
    _place(annotations, _names(body, "constraints", name), name)
    if not isinstance(body.get("readOnlyRootFilesystem") or False, bool):
        raise UsageError(f'"readOnlyRootFilesystem" of function {name} must be true or false')
    extra = {key: body[key] for key in _ECHOED if body.get(key)}
    if "envProcess" in extra:
        environment["fprocess"] = text(body, "envProcess")
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
        secrets=_names(body, "secrets", name),
        limits=resources["limits"],
        stores=_stores(name, annotations),
        read_only_root_filesystem=bool(body.get("readOnlyRootFilesystem")),
        extra=extra,
    )


def check(
    request: FunctionRequest, state: ClusterState, build_of: Callable[[str], str], secrets: Collection[str] = ()
) -> None:
    """Raise UsageError when the request cannot be deployed into `state`.

    `build_of` answers with an image's build, "" when there is none; `secrets` are the names of the
    namespace's secrets.
    """
    if not build_of(request.image):
        raise UsageError(
            f"image {request.image} of function {request.name} is not built; deploy it with testbed deploy"
        )
    try:
        allowed_nodes(request.annotations.get(NODE_ANNOTATION, ""), state.nodes)
    except ValueError as error:
        raise UsageError(f"annotation {NODE_ANNOTATION} of function {request.name} is wrong: {error}") from None
    unknown = [name for name in request.secrets if name not in secrets]
    if unknown:
        raise UsageError(
            f"there is no secret {unknown[0]} in namespace {request.namespace}, which function {request.name} names; "
            "create it first"
        )
    for store in request.stores:
        secret = datastores.KINDS[store].secret
        if secret and secret not in secrets:
            raise UsageError(
                f"function {request.name} names the store {store}, whose password is the secret {secret}, which "
                f"namespace {request.namespace} does not have; create it first"
            )
    rewrite.check(request.name, request.namespace, request.environment, request.calls, state.route(request.namespace))
    _check_graph(request, state)


def scale_request(body: Mapping[str, Any], name: str) -> int:
    """The replicas that a scale request asks for; raises UsageError."""
    replicas = body.get("replicas")
    if not isinstance(replicas, int) or isinstance(replicas, bool) or not 0 <= replicas <= MAX_REPLICAS:
        raise UsageError(f'"replicas" of function {name} must be a whole number from 0 to {MAX_REPLICAS}')
    return replicas


def metadata_request(body: Mapping[str, Any], namespace: str) -> dict[str, dict[str, str]]:
    """The labels and annotations that a namespace request brings; raises UsageError."""
    return {key: _texts(body, key, namespace, "namespace") for key in ("labels", "annotations")}


def route_request(body: Mapping[str, Any], namespace: str) -> Route:
    """The route that a namespace request asks for (gateway, when it does not say); raises UsageError."""
    annotations = body.get("annotations") or {}
    value = annotations.get(ROUTE_ANNOTATION, Route.GATEWAY.value) if isinstance(annotations, dict) else annotations
    if value not in [route.value for route in Route]:
        raise UsageError(f'annotation {ROUTE_ANNOTATION} of namespace {namespace} must be "direct" or "gateway"')
    return Route(value)


def secret_name(body: Mapping[str, Any]) -> str:
    """The name that a request about a secret gives; raises UsageError."""
    name = text(body, "name")
    if not is_secret_name(name):
        raise UsageError(
            f'"{name}" cannot name a secret; use lower-case letters, digits, "-" and ".", a letter or digit at '
            "both ends"
        )
    return name


def secret_request(body: Mapping[str, Any], namespace: str) -> SecretRequest:
    """Read a Secret: `rawValue` (base64) if it is there, else `value`; raises UsageError that tells no value."""
    name = secret_name(body)
    raw = text(body, "rawValue")
    try:
        value = b64decode(raw, validate=True) if raw else text(body, "value").encode()
    except ValueError:
        raise UsageError(f"the value of secret {name} is not {'base64' if raw else 'UTF-8 text'}") from None
    if len(value) > LARGEST_SECRET_BYTES:
        raise UsageError(f"secret {name} is longer than {LARGEST_SECRET_BYTES} bytes")
    return SecretRequest(namespace, name, b64encode(value).decode())


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
        raise UsageError(f"function {request.name} calls itself; take it out of its {CALLS_ANNOTATION}")
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


def text(body: Mapping[str, Any], key: str) -> str:
    """A field's text, "" when it is not there; raises UsageError."""
    value = body.get(key) or ""
    if not isinstance(value, str):
        raise UsageError(f'"{key}" must be text')
    return value


def _texts(body: Mapping[str, Any], key: str, name: str, kind: str = "function") -> dict[str, str]:
    value = body.get(key) or {}
    if not isinstance(value, dict) or not all(isinstance(one, str) for one in value.values()):
        raise UsageError(f'"{key}" of {kind} {name} must map names to texts')
    return dict(value)


def _names(body: Mapping[str, Any], key: str, name: str) -> tuple[str, ...]:
    value = body.get(key) or []
    if not isinstance(value, list) or not all(isinstance(one, str) for one in value):
        raise UsageError(f'"{key}" of function {name} must be a list of texts')
    return tuple(dict.fromkeys(value))


def _place(annotations: dict[str, str], constraints: tuple[str, ...], name: str) -> None:
    """A constraint on the node's name narrows the annotation that says where instances may run."""
    for constraint in constraints:
        try:
            node = constrained_node(constraint)
        except ValueError as error:
            raise UsageError(f"function {name}: {error}") from None
        if node is None:
            continue
        allowed = annotations.get(NODE_ANNOTATION, "")
        if allowed and node not in [one.strip() for one in allowed.split(",")]:
            raise UsageError(
                f'constraint "{constraint}" of function {name} leaves no node: its {NODE_ANNOTATION} allows {allowed}'
            )
        annotations[NODE_ANNOTATION] = node


def _resources(body: Mapping[str, Any], key: str, name: str) -> dict[str, str]:
    found = {resource: value for resource, value in _texts(body, key, name).items() if value}
    try:
        quantities.parse_limits(found)
    except UsageError as error:
        raise UsageError(f"{key} of function {name} are wrong: {error}") from None
    return found


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
            raise UsageError(f"function {name} names {callee} twice in its {CALLS_ANNOTATION}; take one of them out")
    return calls


def _stores(name: str, annotations: Mapping[str, str]) -> tuple[str, ...]:
    names = datastores.parse_stores(annotations)
    datastores.check(name, names)
    return names


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
    read_settings(name, labels, annotations, PRESETS["keda"])  # what is a mistake does not depend on the preset
    return smallest
