"""The cluster state survives its wire form, and events bring it from one version to the next."""

from __future__ import annotations

import json

from testbed.model.cluster import ClusterState, Deployment, Function, Host, Instance, Phase, Role, Route

FUNCTION = Function(
    "tenant", "one", 256, "10.96.1.0", "one:latest", 2, True, ("two",), {"A": "b"}, {"c": "d"}, {"e": "f"}, revision=3
)
INSTANCE = Instance("one.tenant.1", "tenant", "one", 2, "10.202.0.5", Phase.READY, revision=3)
STATE = ClusterState(
    7,
    (1, 2, 3),
    {"tenant": Deployment("tenant", Route.DIRECT)},
    {"one.tenant": FUNCTION},
    {"one.tenant.1": INSTANCE},
    {"gateway": Host("gateway", Role.GATEWAY, 1, 1, "10.201.0.1")},
)


def test_a_state_survives_its_wire_form() -> None:
    assert ClusterState.from_json(json.loads(json.dumps(STATE.to_json()))) == STATE


def test_a_put_replaces_and_a_delete_removes_one_object() -> None:
    ready = {"type": "PUT", "version": 8, "kind": "instance", "object": {**INSTANCE.to_json(), "phase": "Draining"}}
    drained = STATE.apply(ready)
    assert (drained.version, drained.instances["one.tenant.1"].phase) == (8, Phase.DRAINING)
    gone = drained.apply({**ready, "type": "DELETE", "version": 9})
    assert (gone.version, gone.instances, gone.functions) == (9, {}, STATE.functions)
    assert STATE.instances["one.tenant.1"].phase is Phase.READY


def test_a_snapshot_replaces_everything_and_a_heartbeat_nothing() -> None:
    snapshot = {"type": "SNAPSHOT", "version": 7, "object": STATE.to_json()}
    assert ClusterState(version=99).apply(snapshot) == STATE
    assert STATE.apply({"type": "HEARTBEAT", "version": 7}) is STATE


def test_what_was_written_without_a_revision_is_the_first() -> None:
    old = {key: value for key, value in INSTANCE.to_json().items() if key != "revision"}
    assert Instance.from_json(old).revision == 1


def test_a_namespace_that_is_not_known_goes_by_the_gateway() -> None:
    assert (STATE.route("tenant"), STATE.route("other")) == (Route.DIRECT, Route.GATEWAY)
    assert (FUNCTION.full_name, INSTANCE.function_name) == ("one.tenant", "one.tenant")
