"""Hello, Retail! with other settings, each in a shop of its own; without what it needs; and what it does not load."""

from __future__ import annotations

import threading
from collections import Counter
from pathlib import Path

import pytest

from tests.ports import free_port
from tests.unit.functions.hello_retail.questions import ask, error, sizes
from tests.unit.functions.hello_retail.retail_rig import FUNCTIONS, RETAIL, shop
from tests.unit.functions.mariadb_rig import MariaDb


def test_pooled_connections_are_used_again_and_replaced_when_dead(database: MariaDb, tmp_path: Path) -> None:
    functions = ("product-purchase-get-price", "product-purchase-authorize-cc")
    with shop(tmp_path, database, functions, DB_CONNECTIONS="pooled") as pooled:
        pooled.seed()
        order = {"id": "4579874", "creditCard": "1234-5678-9", "user": "prabkumar"}
        database.start_recording()
        for _ in range(5):
            assert pooled.gateway.ask(functions[0], order).status == 200
        counted = Counter(one.command for one in database.stop_recording())
        assert (counted["Connect"], counted["Query"], counted["Quit"]) == (1, 15, 0)
        for (number,) in database.execute("SELECT id FROM information_schema.processlist WHERE user = 'app'"):
            database.execute(f"KILL {number}")
        assert pooled.gateway.ask(functions[0], order).status == 200


def test_parallel_purchase_asks_for_price_and_authorisation_at_the_same_time(database: MariaDb, tmp_path: Path) -> None:
    functions = tuple(name for name in FUNCTIONS if name.startswith("product-purchase"))
    with shop(tmp_path, database, functions, PURCHASE_PARALLEL="true") as parallel:
        parallel.seed()
        both_under_way = threading.Barrier(2)
        parallel.gateway.before = dict.fromkeys(functions[1:3], lambda: both_under_way.wait(10))
        outside = ask(parallel, "product-purchase")
        hop = parallel.gateway.hop
        price, card, publish = (hop(name) for name in functions[1:])
        assert max(price.ended_s, card.ended_s) <= publish.started_s
        assert [sizes(one) for one in (price, card, publish, outside)] == [(62, 92), (62, 111), (141, 98), (62, 98)]
        assert error(ask(parallel, "product-purchase", user="nobody")) == (500, "failed to authorize credit card")


@pytest.mark.parametrize(("connection", "connections"), [("per-call", 9), ("keepalive", 1)])
def test_calls_open_a_connection_each_unless_kept(
    database: MariaDb, tmp_path: Path, connection: str, connections: int
) -> None:
    functions = tuple(name for name in FUNCTIONS if name.startswith("product-purchase"))
    with shop(tmp_path, database, functions, CONNECTION=connection) as retail:
        retail.seed()
        for _ in range(3):
            assert ask(retail, "product-purchase").status == 200
        assert retail.gateway.connections == 3 + connections


def test_without_database_and_callees_the_errors_say_so(database: MariaDb, tmp_path: Path) -> None:
    functions = ("product-purchase", "product-purchase-get-price")
    with shop(tmp_path, database, functions, DB_PORT=str(free_port())) as retail:
        assert error(ask(retail, "product-purchase")) == (500, "failed to get price")
        status, text = error(retail.gateway.hop("product-purchase-get-price"))
        assert (status, text.startswith("the database cannot be reached")) == (500, True)


def test_functions_that_call_none_import_no_http_client() -> None:
    """Its import takes a tenth of a second of every cold start."""
    callers = {name for name in FUNCTIONS if "common.calls" in (RETAIL / name / "handler.py").read_text()}
    assert callers == {"photo-request", "photo-acquire", "product-purchase"}
    for shared in ("wire", "keyvalue"):
        assert "requests" not in (RETAIL / "common" / f"{shared}.py").read_text().split("import", 1)[1]
