"""POST, GET and DELETE /policies: status codes, and that what cannot be saved is not taken."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from controllers.conductor import Conductor, NewPolicies
from controllers.northbound.policies import UNCONFIRMED, Policies, PolicyRoutes
from controllers.policy.file import PolicyStore
from tests.unit.controllers.clusters import small, snapshot

DENY = {"name": "shut", "kind": "deny", "namespace": "d", "from": "a", "to": "b"}


@pytest.fixture
def conductor(monkeypatch: pytest.MonkeyPatch) -> Conductor:
    """One that deals at once with what it is told; no switch is connected."""
    conductor = Conductor()
    conductor.fleet.events([snapshot(small())])
    monkeypatch.setattr(conductor, "tell", lambda item: conductor._deal_with([item]))
    return conductor


@pytest.fixture
def routes(conductor: Conductor, tmp_path: Path) -> PolicyRoutes:
    policies = Policies(conductor, PolicyStore(tmp_path / "policies.json"))
    return PolicyRoutes(None, None, {"policies": policies})


def post(routes: PolicyRoutes, body: Any) -> tuple[int, Any]:
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    answer = routes.add(SimpleNamespace(body=data))
    return answer.status_int, json.loads(answer.body)


def listed(routes: PolicyRoutes) -> list[str]:
    return [policy["name"] for policy in json.loads(routes.index(None).body)["policies"]]


def test_a_policy_is_taken_listed_and_removed(routes: PolicyRoutes, conductor: Conductor) -> None:
    status, policy = post(routes, DENY)
    assert (status, policy["state"], policy["hits"]) == (201, "in force on 1 call", 0)
    assert json.loads(routes.one(None, name="shut").body) == policy
    assert not conductor.fleet.generator.allows(256, 257)
    removed = routes.remove(None, name="shut")
    assert (removed.status_int, json.loads(removed.body), listed(routes)) == (200, {"removed": "shut"}, [])
    assert conductor.fleet.generator.allows(256, 257)


def test_what_the_switches_have_not_confirmed_is_taken_with_202(
    routes: PolicyRoutes, conductor: Conductor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("controllers.conductor.POLICIES_S", 0.01)
    monkeypatch.setattr(conductor, "tell", lambda item: None)
    status, policy = post(routes, DENY)
    assert (status, policy["state"], listed(routes)) == (202, UNCONFIRMED, ["shut"])
    removed = routes.remove(None, name="shut")
    assert (removed.status_int, json.loads(removed.body)["state"], listed(routes)) == (202, UNCONFIRMED, [])


@pytest.mark.parametrize(
    ("body", "status", "says"),
    [
        (b"{", 400, "the body is not JSON"),
        ({**DENY, "kind": "no"}, 400, "choose one of"),
        ({**DENY, "to": "b.g"}, 400, "outside namespace d"),
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
    for answer in (routes.one(None, name="other"), routes.remove(None, name="other")):
        assert answer.status_int == 404
        assert json.loads(answer.body)["error"] == "there is no policy other; there are: shut"


def test_what_cannot_be_saved_changes_nothing(
    routes: PolicyRoutes, conductor: Conductor, monkeypatch: pytest.MonkeyPatch
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
    assert routes.remove(None, name="shut").status_int == 500
    assert listed(routes) == ["shut"]
    assert not conductor.fleet.generator.allows(256, 257)


def test_a_name_is_taken_as_soon_as_it_is_saved(
    routes: PolicyRoutes, conductor: Conductor, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another request may run while the switches are told of this one."""
    meanwhile: list[int] = []

    def tell(item: NewPolicies) -> None:
        if not meanwhile:
            meanwhile.append(0)
            meanwhile.append(post(routes, DENY)[0])
        item.done.set()

    monkeypatch.setattr(conductor, "tell", tell)
    assert post(routes, DENY)[0] == 201
    assert meanwhile[1] == 409


def test_a_controller_that_starts_again_has_its_policies(conductor: Conductor, tmp_path: Path) -> None:
    store = PolicyStore(tmp_path / "policies.json")
    post(PolicyRoutes(None, None, {"policies": Policies(conductor, store)}), DENY)
    restarted = Conductor()
    Policies(restarted, store)
    restarted.fleet.events([snapshot(small())])
    assert restarted.fleet.desired(2) == conductor.fleet.desired(2)
