"""Who may order what: the table in the documents, and that it gives nobody more than a glance at it should allow."""

from __future__ import annotations

from pathlib import Path

import pytest

from testbed.model import audiences
from testbed.model.audiences import ROUTES, Own, Server, concerned

PAGE = Path(__file__).resolve().parents[3] / "docs" / "platform.md"


def test_the_documents_table_is_the_one_that_decides() -> None:
    """To write it anew: python -c "from testbed.model import audiences; print(audiences.markdown())"."""
    assert f"\n\n{audiences.markdown()}\n\n" in PAGE.read_text()


def test_no_route_stands_twice() -> None:
    rows = [(one.server, method, one.path) for one in ROUTES for method in one.methods]
    assert len(rows) == len(set(rows))


def test_anybody_is_answered_where_nothing_is_told_or_changed() -> None:
    open_to_all = {one.path for one in ROUTES if one.audience.anybody}
    assert open_to_all == {"/healthz", "/function/{name}", "/", "/api/v1/query"}


def test_a_namespace_changes_nothing_but_its_policies() -> None:
    changes = {(one.server, one.path) for one in ROUTES if one.audience.own is not None and set(one.methods) - {"GET"}}
    assert changes == {(Server.CONTROLLER, "/policies"), (Server.CONTROLLER, "/policies/{name}")}


def test_secrets_are_given_to_agents_alone() -> None:
    [secrets] = [one for one in ROUTES if one.path.endswith("/secrets") and one.path.startswith("/instances")]
    assert str(secrets.audience) == "the agent"


@pytest.mark.parametrize(
    ("own", "path", "query", "namespace"),
    [
        (Own.QUERY, {}, {"namespace": "a"}, "a"),
        (Own.QUERY, {}, {}, "openfaas-fn"),
        (Own.LOG, {}, {"name": "f", "namespace": "a"}, "a"),
        (Own.LOG, {}, {"name": "f.b", "namespace": "a"}, "b"),
        (Own.NAME, {"name": "a"}, {"name": "b"}, "a"),
        (Own.INSTANCE, {"id": "f.a.1"}, {}, "a"),
        (Own.INSTANCE, {"id": "f.a"}, {}, ""),
        (Own.INSTANCE, {"id": "f.a.b.1"}, {}, ""),
        (Own.FUNCTION, {}, {"function": "f.a"}, "a"),
        (Own.FUNCTION, {}, {"function": "f"}, ""),
        (Own.FUNCTION, {}, {}, ""),
        (Own.FUNCTION, {"function": "f.b"}, {"function": "f.a"}, "b"),
        (Own.BODY, {}, {"namespace": "a"}, None),
        (Own.ANSWER, {}, {}, None),
    ],
)
def test_what_a_request_concerns(own: Own, path: dict[str, str], query: dict[str, str], namespace: str | None) -> None:
    assert concerned(own, path, query, "openfaas-fn") == namespace
