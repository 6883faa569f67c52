"""Whom the controller answers: every route that it really has, asked by everybody; and a namespace of its own only."""

from __future__ import annotations

import io
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from controllers import sdn
from controllers.northbound.access import LARGEST_BODY_BYTES, Guarded
from controllers.northbound.counters import of_namespace
from controllers.northbound.policies import Policies, PolicyRoutes
from controllers.northbound.read import Northbound
from controllers.policy.file import PolicyStore
from testbed.model import audiences
from testbed.model.audiences import Server
from testbed.model.cluster import Deployment
from testbed.model.credentials import namespace
from tests.authority import AS_OPERATOR, BASIC_AUTH, KEYRING, sent_by
from tests.unit.access.walk import OTHER, OWN, askers, expected, routes, seen, target
from tests.unit.controllers.switch.crew_rig import Rig

DEPLOYMENTS = {name: Deployment(name, born=number) for number, name in enumerate((OWN, OTHER, "d"), 5)}
AS_D = sent_by(namespace(DEPLOYMENTS["d"]))
DENY = {"name": "shut", "kind": "deny", "from": "a", "to": "b"}


@pytest.fixture
def server(small_rig: Rig, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Guarded:
    """Its cluster has the namespaces d and g, and the functions a.d and b.d."""
    monkeypatch.setattr(sdn.hub.Event, "wait", lambda _, seconds: small_rig.later(min(seconds, 0.5)))
    monkeypatch.setattr(small_rig.crew, "readings", lambda: {})
    made = Guarded()
    made.register(Northbound, {"crew": small_rig.crew, "holding": small_rig.holding})
    policies = Policies(small_rig.crew, PolicyStore(tmp_path / "policies.json"))
    made.register(PolicyRoutes, {"policies": policies})
    made.guard(KEYRING, lambda: DEPLOYMENTS)
    return made


class Body(io.BytesIO):
    """Says whether it was read."""

    touched = False

    def read(self, *size: Any) -> bytes:
        self.touched = True
        return super().read(*size)


def ask(
    server: Guarded, method: str, target: str, headers: Mapping[str, str], body: Any = None
) -> tuple[int, dict[str, str], Any]:
    """Status, headers and body of an answer; nothing of the body of a request that is refused is read."""
    path, _, query = target.partition("?")
    data = Body(body if isinstance(body, bytes) else json.dumps(body).encode())
    environ = {
        **{"REQUEST_METHOD": method, "PATH_INFO": path, "QUERY_STRING": query, "SCRIPT_NAME": ""},
        **{"SERVER_NAME": "c", "SERVER_PORT": "80", "wsgi.url_scheme": "http", "wsgi.input": data},
        **{f"HTTP_{name.upper()}": value for name, value in headers.items()},
        "CONTENT_LENGTH": str(len(data.getvalue())),
    }
    told: list[Any] = []
    answer = b"".join(server(environ, lambda status, lines, *_: told.extend((status, lines))))
    status = int(told[0].split()[0])
    assert not (status == 401 and data.touched)
    return status, dict(told[1]), answer


def test_every_route_answers_whom_it_should(server: Guarded) -> None:
    assert set(server.routes()) == set(audiences.of(Server.CONTROLLER))
    wrong = []
    for asker in askers(DEPLOYMENTS):
        for method, path, audience in routes(Server.CONTROLLER):
            found = ask(server, method, target(path), asker.headers, b"{")[0]
            if seen(found) != expected(audience, asker):
                wrong.append(f"{asker.name}: {method} {path}: {found}")
    assert wrong == []


def test_who_is_nobody_learns_nothing(server: Guarded) -> None:
    ask(server, "POST", "/policies", AS_OPERATOR, {**DENY, "namespace": "d"})
    paths = ("/policies/shut", "/policies/none", "/nothing", "/flows/1", "/flows/77")
    answers = [ask(server, "GET", path, {}) for path in paths]
    assert {(status, body) for status, _, body in answers} == {(401, answers[0][2])}
    assert answers[0][1]["WWW-Authenticate"] == 'Bearer realm="testbed"'
    assert ask(server, "GET", "/nothing", AS_OPERATOR)[0] == 404
    assert ask(server, "GET", "/version", {"Authorization": BASIC_AUTH})[0] == 200  # where the keyring takes it


def test_nobody_is_let_in_before_the_key_is_known() -> None:
    server = Guarded()
    server.register(Northbound, {"crew": None, "holding": None})
    assert ask(server, "GET", "/version", AS_OPERATOR)[0] == 401


def test_a_route_without_an_audience_is_not_served() -> None:
    class New(sdn.ControllerBase):
        @sdn.route("new", "/new", methods=["GET"])
        def new(self, req: Any, **_: Any) -> Any: ...

    server = Guarded()
    server.register(New)
    with pytest.raises(KeyError, match="/new"):
        server.guard(KEYRING, dict)


def test_a_namespace_makes_sees_and_removes_its_own_policies(server: Guarded) -> None:
    status, _, body = ask(server, "POST", "/policies", AS_D, DENY)
    policy = json.loads(body)
    assert (status, policy["namespace"], policy["from"], policy["operator"]) == (201, "d", "a.d", False)
    assert ask(server, "GET", "/policies/shut", AS_D)[0] == 200
    assert ask(server, "DELETE", "/policies/shut", sent_by(namespace(DEPLOYMENTS[OTHER])))[0] == 404
    assert ask(server, "DELETE", "/policies/shut", AS_D)[0] == 200


@pytest.mark.parametrize(
    ("more", "says"),
    [
        ({"operator": True}, '"operator" is true'),
        ({"namespace": "g"}, "\"namespace\" is 'g'"),
        ({"namespace": ""}, "\"namespace\" is ''"),
        ({"to": "b.g"}, "\"to\" is 'b.g'"),
        ({"from": "*.g"}, "\"from\" is '*.g'"),
        ({"from": "gateway"}, "\"from\" is 'gateway'"),
        ({"namespace": "g", "operator": True}, '"operator" is true'),
    ],
)
def test_a_namespaces_policy_reaches_no_further_whatever_it_says(
    server: Guarded, more: dict[str, Any], says: str
) -> None:
    status, _, body = ask(server, "POST", "/policies", AS_D, {**DENY, **more})
    assert status == 403
    assert says in json.loads(body)["error"]
    assert "is for the lab's operator" in json.loads(body)["error"]
    assert json.loads(ask(server, "GET", "/policies", AS_OPERATOR)[2]) == {"policies": []}


def test_a_rule_is_the_operators_by_what_it_reaches_and_who_made_it(server: Guarded) -> None:
    def made(**more: Any) -> Any:
        body = {"name": f"p{len(more)}", "kind": "deny", "namespace": "d", **more}
        status, _, answer = ask(server, "POST", "/policies", AS_OPERATOR, body)
        ask(server, "DELETE", f"/policies/{body['name']}", AS_OPERATOR)
        return json.loads(answer).get("operator") if status == 201 else status

    assert made() is False
    assert made(to="b.g") is True
    assert made(**{"from": "gateway"}) is True
    assert made(operator=True) is True
    assert made(to="b.g", operator=False) == 400  # it was not meant to reach so far


def test_the_operators_rule_within_a_namespace_is_none_of_its_business(server: Guarded) -> None:
    ask(server, "POST", "/policies", AS_OPERATOR, {**DENY, "namespace": "d", "operator": True})
    assert json.loads(ask(server, "GET", "/policies", AS_D)[2]) == {"policies": []}
    for method in ("GET", "DELETE"):
        status, _, body = ask(server, method, "/policies/shut", AS_D)
        assert (status, json.loads(body)["error"]) == (404, "there is no policy shut; there are: none")
    assert len(json.loads(ask(server, "GET", "/policies", AS_OPERATOR)[2])["policies"]) == 1


def test_a_namespace_is_told_its_own_counters_only() -> None:
    found: dict[str, list[dict[str, Any]]] = {
        "calls": [
            {"caller": "a.d", "callee": "b.d"},
            {"caller": "gateway", "callee": "a.d"},
            {"caller": "a.g", "callee": "a.d"},
            {"caller": "a.g", "callee": "b.g"},
            {"caller": "client", "callee": "gateway"},
        ],
        "services": [{"function": "a.d"}, {"function": "a.dd"}],
        "endpoints": [{"instance": "a.d.1"}, {"instance": "d.g.1"}, {"instance": ""}],
        "drops": [{"reason": "spoofed"}, {"reason": "denied", "caller": "a.d", "function": "b.d"}],
        "holds": [{"function": "a.d"}, {"function": "a.g"}],
    }
    own = of_namespace(found, "d")
    kept = {"calls": [0, 1], "services": [0], "endpoints": [0], "drops": [1], "holds": [0]}
    assert own == {section: [found[section][place] for place in places] for section, places in kept.items()}


def test_a_long_body_is_not_read(server: Guarded) -> None:
    status, _, answer = ask(server, "POST", "/policies", AS_D, b" " * (LARGEST_BODY_BYTES + 1))
    assert (status, b"send less" in answer) == (413, True)
    status, _, answer = ask(
        server, "POST", "/policies", {**AS_D, "Transfer_Encoding": "chunked"}, b"1\r\na\r\n0\r\n\r\n"
    )
    assert status == 413
