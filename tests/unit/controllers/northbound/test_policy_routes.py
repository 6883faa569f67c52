"""POST, GET and DELETE /policies: status codes, and that what cannot be saved is not taken."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from controllers import sdn
from controllers.northbound.policies import Policies, PolicyRoutes
from controllers.policy.book import Book
from controllers.policy.file import PolicyStore
from controllers.switch.crew import Confirmation, Crew
from tests.unit.controllers.clusters import small, snapshot
from tests.unit.controllers.northbound.requests_rig import asked
from tests.unit.controllers.switch.crew_rig import FakeChannel, Rig

DENY = {"name": "shut", "kind": "deny", "namespace": "d", "from": "a", "to": "b"}


@pytest.fixture
def routes(small_rig: Rig, works: None, tmp_path: Path) -> PolicyRoutes:
    policies = Policies(small_rig.crew, PolicyStore(tmp_path / "policies.json"))
    return PolicyRoutes(None, None, {"policies": policies})


@pytest.fixture
def works(small_rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    """While somebody waits, time passes and workers work."""
    monkeypatch.setattr(sdn.hub.Event, "wait", lambda _, seconds: small_rig.later(min(seconds, 0.5)))
    monkeypatch.setattr(small_rig.crew, "readings", lambda: {})


def post(routes: PolicyRoutes, body: Any, own: str = "") -> tuple[int, Any]:
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    answer = routes.add(asked(own, body=data))
    return answer.status_int, json.loads(answer.body)


def listed(routes: PolicyRoutes) -> list[str]:
    return [policy["name"] for policy in json.loads(routes.index(asked()).body)["policies"]]


def test_a_policy_is_taken_listed_and_removed(routes: PolicyRoutes, small_rig: Rig) -> None:
    status, policy = post(routes, DENY)
    assert (status, policy["state"], policy["hits"]) == (201, "in force on 1 call", 0)
    assert json.loads(routes.one(asked(), name="shut").body) == policy
    assert not small_rig.fleet.generator.allows(256, 257)
    removed = routes.remove(asked(), name="shut")
    assert (removed.status_int, json.loads(removed.body), listed(routes)) == (200, {"removed": "shut"}, [])
    assert small_rig.fleet.generator.allows(256, 257)


def test_a_tenants_policies_go_with_its_namespace_and_an_operators_stay(
    routes: PolicyRoutes, small_rig: Rig, tmp_path: Path
) -> None:
    assert post(routes, DENY, own="d")[0] == 201
    assert post(routes, {**DENY, "name": "kept", "operator": True})[0] == 201
    routes._policies.namespace_gone("another")
    assert listed(routes) == ["shut", "kept"]
    routes._policies.namespace_gone("d")
    assert listed(routes) == ["kept"] == list(PolicyStore(tmp_path / "policies.json").load())


def test_a_body_that_is_too_deep_is_refused(routes: PolicyRoutes) -> None:
    status, answer = post(routes, b"[" * 100_000)
    assert (status, answer["error"].startswith("the body is not JSON, or too deep")) == (400, True)


def test_what_a_switch_has_not_confirmed_is_taken_with_202_and_names_it(routes: PolicyRoutes, small_rig: Rig) -> None:
    small_rig.crew.workers[2].step = lambda: False  # type: ignore[method-assign]
    waiting = "node2's switch has not confirmed it"
    status, policy = post(routes, DENY)
    assert (status, policy["state"], listed(routes)) == (202, f"taken; {waiting}", ["shut"])
    (shown,) = json.loads(routes.index(asked()).body)["policies"]
    assert shown["state"] == f"not in force everywhere: {waiting}"
    removed = routes.remove(asked(), name="shut")
    assert (removed.status_int, json.loads(removed.body)["state"], listed(routes)) == (202, f"taken; {waiting}", [])


def test_a_switch_that_is_away_is_named(routes: PolicyRoutes, small_rig: Rig) -> None:
    small_rig.disconnect(small_rig.channels[2])
    status, policy = post(routes, DENY)
    assert (status, policy["state"]) == (202, "taken; node2's switch is away, and gets it when it is back")
    small_rig.connect(FakeChannel(2, small_rig.channels[2].numbers))
    (shown,) = json.loads(routes.index(asked()).body)["policies"]
    assert shown["state"] == "in force on 1 call"


def test_nothing_is_in_force_before_the_cluster_is_known(
    rig: Rig, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(sdn.hub.Event, "wait", lambda _, seconds: rig.later(seconds))
    routes = PolicyRoutes(None, None, {"policies": Policies(rig.crew, PolicyStore(tmp_path / "policies.json"))})
    status, policy = post(routes, DENY)
    nobody = "no switch has it, because the apiserver has not said yet which functions there are"
    assert (status, policy["state"]) == (202, f"taken; {nobody}")
    (shown,) = json.loads(routes.index(asked()).body)["policies"]
    assert shown["state"] == f"not in force: {nobody}"


@pytest.mark.parametrize(
    ("body", "status", "says"),
    [
        (b"{", 400, "the body is not JSON"),
        ({**DENY, "kind": "no"}, 400, "choose one of"),
        ({**DENY, "to": "b.g", "operator": False}, 400, "outside namespace d"),
        (DENY, 409, "there is a policy shut already"),
    ],
)
def test_a_wrong_body_is_answered_with_its_status(routes: PolicyRoutes, body: Any, status: int, says: str) -> None:
    post(routes, DENY)
    found, answer = post(routes, body)
    assert found == status
    assert says in answer["error"]
    assert listed(routes) == ["shut"]


def test_a_name_that_is_not_there_is_404(routes: PolicyRoutes) -> None:
    post(routes, DENY)
    for answer in (routes.one(asked(), name="other"), routes.remove(asked(), name="other")):
        assert answer.status_int == 404
        assert json.loads(answer.body)["error"] == "there is no policy other; there are: shut"


def test_what_cannot_be_saved_changes_nothing(
    routes: PolicyRoutes, small_rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    post(routes, DENY)

    def full(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(PolicyStore, "save", full)
    status, answer = post(routes, {**DENY, "name": "more"})
    assert (status, answer["error"]) == (
        500,
        "the policy cannot be saved (No space left on device), so it is not taken; free some space",
    )
    assert routes.remove(asked(), name="shut").status_int == 500
    assert listed(routes) == ["shut"]
    assert not small_rig.fleet.generator.allows(256, 257)


def test_a_name_is_taken_as_soon_as_it_is_saved(
    routes: PolicyRoutes, small_rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another request may run while the switches are told of this one."""
    meanwhile: list[int] = []

    def told(policies: Book) -> Confirmation:
        if not meanwhile:
            meanwhile.append(0)
            meanwhile.append(post(routes, DENY)[0])
        return Confirmation()

    monkeypatch.setattr(small_rig.crew, "set_policies", told)
    assert post(routes, DENY)[0] == 201
    assert meanwhile[1] == 409


def test_a_controller_that_starts_again_has_its_policies(small_rig: Rig, works: None, tmp_path: Path) -> None:
    store = PolicyStore(tmp_path / "policies.json")
    post(PolicyRoutes(None, None, {"policies": Policies(small_rig.crew, store)}), DENY)
    restarted = Crew()
    Policies(restarted, store)
    restarted.fleet.event(snapshot(small()))
    assert restarted.fleet.desired(2) == small_rig.fleet.desired(2)
