"""The application's requests, asked of a shop; sizes and statements as they are without what is random."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any

from experiments.application_requests import Request, load
from tests.unit.functions.hello_retail.retail_rig import Hop, Shop, until

REQUESTS = load("hello_retail")
PUT = ["BEGIN", "DELETE", "INSERT", "COMMIT"]
SHOW = "SHOW TABLES LIKE"
AUTHORIZATION = re.compile(rb'"authorization":\d+')


def ask(retail: Shop, name: str, answer: Any = None, **changes: Any) -> Hop:
    """One of the application's requests, with some of its fields changed."""
    request: Request = REQUESTS[name]
    value = json.loads(request.content(number=0, previous=answer))
    return retail.gateway.ask(request.function, {**value, **changes}, request.path)


def photo_request(retail: Shop) -> Any:
    hop = ask(retail, "photo-request")
    assert hop.status == 200, hop.answer
    return json.loads(hop.answer)


def sizes(hop: Hop) -> tuple[int, int]:
    """Bytes of request and answer, with an authorisation of sixteen digits and elapsed times of one digit."""
    return nominal(hop.request), nominal(hop.answer)


def nominal(body: bytes) -> int:
    body = re.sub(rb'Elapse":\d+', b'Elapse":1', body)
    return len(AUTHORIZATION.sub(b'"authorization":1234567890123456', body))


def error(hop: Hop) -> tuple[int, str]:
    return hop.status, json.loads(hop.answer)["error"]


def recorded(retail: Shop, action: Callable[[], Any], connections: int) -> list[list[str]]:
    """The statements that `action` made, for each of the connections that it is expected to make."""
    retail.database.start_recording()
    action()
    until(
        lambda: sum(one.command == "Quit" for one in retail.database.recorded()) >= connections, "all connections end"
    )
    statements = retail.database.stop_recording()
    by_connection: dict[int, list[str]] = {}
    for one in statements:
        by_connection.setdefault(one.connection, []).append(one.command if one.command != "Query" else verb(one.text))
    found = list(by_connection.values())
    assert all((one[0], one[-1]) == ("Connect", "Quit") for one in found), found
    return [one[1:-1] for one in found]


def verb(statement: str) -> str:
    return SHOW if statement.startswith(SHOW) else statement.split(maxsplit=1)[0]
