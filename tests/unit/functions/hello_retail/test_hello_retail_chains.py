"""Hello, Retail!: what its functions say to each other to the byte, what they ask the database, and how they fail."""

from __future__ import annotations

import base64
import json
import re
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from function_rig import Server
from mariadb_rig import MariaDb, free_port
from retail_rig import FUNCTIONS, OPERATORS, RETAIL, Hop, Shop, eventually, shop

from experiments.application_requests import Request, load

REQUESTS = load("hello_retail")
PUT = ["BEGIN", "DELETE", "INSERT", "COMMIT"]
SHOW = "SHOW TABLES LIKE"
AUTHORIZATION = re.compile(rb'"authorization":\d+')


@pytest.fixture(scope="module")
def running(database: MariaDb, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shop]:
    with shop(tmp_path_factory.mktemp("shop"), database) as started:
        yield started


@pytest.fixture
def retail(running: Shop) -> Shop:
    """The shop with nine free photographers."""
    running.seed()
    running.gateway.before.clear()
    running.mailbox.mails.clear()
    return running


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
    eventually(lambda: sum(one.command == "Quit" for one in retail.database.recorded()) >= connections)
    statements = retail.database.stop_recording()
    by_connection: dict[int, list[str]] = {}
    for one in statements:
        by_connection.setdefault(one.connection, []).append(one.command if one.command != "Query" else verb(one.text))
    found = list(by_connection.values())
    assert all((one[0], one[-1]) == ("Connect", "Quit") for one in found), found
    return [one[1:-1] for one in found]


def verb(statement: str) -> str:
    return SHOW if statement.startswith(SHOW) else statement.split(maxsplit=1)[0]


# ---- Chain 3


def test_chain_3_asks_for_price_then_authorisation_then_publication(retail: Shop) -> None:
    outside = ask(retail, "product-purchase")
    hops = retail.gateway.hops
    names = ["get-price", "authorize-cc", "publish"]
    assert [hop.callee for hop in hops] == [*(f"product-purchase-{name}" for name in names), "product-purchase"]
    assert {hop.caller for hop in hops[:3]} == {"product-purchase"}
    assert [sizes(hop) for hop in hops] == [(62, 92), (92, 141), (141, 98), (62, 98)]
    for earlier, later in pairwise(hops[:3]):
        assert later.started_s >= earlier.ended_s
        assert later.request == earlier.answer
    answer = json.loads(outside.answer)
    assert list(answer) == ["productId", "productPrice", "userId", "authorization"]
    assert (answer["productId"], answer["productPrice"], answer["userId"]) == ("4579874", "499", "prabkumar")
    assert 0 <= answer["authorization"] < 2**53


def test_chain_3_makes_two_connections_and_five_statements(retail: Shop) -> None:
    found = recorded(retail, lambda: ask(retail, "product-purchase"), 2)
    assert found == [[SHOW, "SELECT", "SELECT"], [SHOW, "SELECT"]]


def test_chain_3_may_be_repeated(retail: Shop) -> None:
    answers = {AUTHORIZATION.sub(b"", ask(retail, "product-purchase").answer) for _ in range(20)}
    assert len(answers) == 1


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"creditCard": "0000-0000-0"}, "failed to publish"),
        ({"user": "nobody"}, "failed to authorize credit card"),
        ({"id": "0000000"}, "failed to publish"),
    ],
)
def test_a_purchase_that_cannot_be_made_is_500_and_says_where(retail: Shop, changes: Any, text: str) -> None:
    assert error(ask(retail, "product-purchase", **changes)) == (500, text)
    callee = "authorize-cc" if "user" in changes else "publish"
    assert retail.gateway.hop(f"product-purchase-{callee}").status == 500
    if callee == "publish":
        refused = error(retail.gateway.hop("product-purchase-publish"))
        assert refused == (500, "the purchase has no price or was not approved")
    if "id" in changes:
        priced = retail.gateway.hop("product-purchase-get-price")
        assert (priced.status, json.loads(priced.answer)["gotPrice"]) == (200, False)


def test_a_body_that_is_no_json_object_is_500(retail: Shop) -> None:
    assert error(retail.gateway.ask("product-purchase", [1])) == (500, "the request's body must be a JSON object")
    assert error(retail.gateway.ask("photo-register", {}))[0] == 500
    assert error(retail.gateway.ask("product-catalog-builder", {"data": {"id": "1"}}, "/product")) == (
        500,
        "there is no 'category'",
    )


# ---- Chain 1


def test_chain_1_assigns_then_sends_message_and_record_at_the_same_time(retail: Shop) -> None:
    both_under_way = threading.Barrier(2)
    retail.gateway.before = dict.fromkeys(("photo-message", "photo-record"), lambda: both_under_way.wait(10))
    outside = ask(retail, "photo-request")
    hop = retail.gateway.hop
    assign, message, record = hop("photo-assign"), hop("photo-message"), hop("photo-record")
    assert min(message.started_s, record.started_s) >= assign.ended_s
    assert [sizes(one) for one in (outside, assign, record)] == [(358, 677), (358, 600), (677, 677)]
    assert len(message.request) == 644
    assert outside.answer == record.answer == record.request


def test_the_answer_of_chain_1_waits_for_the_record_only(retail: Shop) -> None:
    answered = threading.Event()
    retail.gateway.before = {"photo-message": lambda: answered.wait(10)}
    assert ask(retail, "photo-request").status == 200
    assert "photo-message" not in [hop.callee for hop in retail.gateway.hops]
    answered.set()
    assert retail.gateway.hop("photo-message").status == 200


def test_a_message_that_fails_is_told_in_the_log_only(retail: Shop) -> None:
    ports = retail.gateway.ports
    retail.gateway.ports = {**ports, "photo-message": ports["photo-success"]}
    try:
        assert ask(retail, "photo-request").status == 200
        assert retail.gateway.hop("photo-message").status == 500
    finally:
        retail.gateway.ports = ports
    eventually(lambda: "Failed in photo-message" in retail.servers["photo-request"].log.read_text())


def test_chain_1_speaks_of_its_assignment_in_strings(retail: Shop) -> None:
    data = photo_request(retail)["data"]
    assert (data["assigned"], data["assignmentComplete"]) == ("true", "false")
    assert data["photographers"] == [{"id": "1", "phone": "200494", "registrations": 3, "assignments": 0}]
    assert data["photographer"] == {
        **data["photographers"][0], "assignment": "4579874", "state": "busy", "name": "Anna",
    }  # fmt: skip
    assert (data["merchantName"], data["tasks"]) == ("Hello Retail", {"taskToken": "20210327"})
    echo = json.loads(retail.gateway.hop("photo-message").answer)
    assert (echo["method"], echo["path"], echo["body"]["data"]["merchantName"]) == ("POST", "/", "Hello Retail")
    assert echo["headers"]["X-Caller"] == "photo-request"


def test_chain_1_makes_three_connections_and_twelve_statements(retail: Shop) -> None:
    found = recorded(retail, lambda: ask(retail, "photo-request"), 3)
    assert found == [[SHOW, "SELECT"], [SHOW, *PUT], [SHOW, *PUT]]


def test_a_photographer_takes_one_photo_and_then_nobody_is_free(retail: Shop) -> None:
    retail.seed(photographers=2)
    assert [photo_request(retail)["data"]["photographer"]["id"] for _ in range(2)] == ["1", "2"]
    found = recorded(
        retail, lambda: error(ask(retail, "photo-request")) == (500, "Failed in photo-assign") or pytest.fail(), 5
    )
    assert found == [[SHOW, "SELECT"]] * 5
    assigned = retail.gateway.hop("photo-assign")
    assert (assigned.status, json.loads(assigned.answer)["assigned"]) == (200, "false")
    assert {hop.callee for hop in retail.gateway.hops} == {"photo-assign", "photo-request"}


def test_those_with_fewest_assignments_come_first_and_registrations_bound_them(retail: Shop) -> None:
    retail.database.execute("DELETE FROM photographerRegistry")
    for key, assignments, registrations in (("1", 2, 3), ("2", 1, 1), ("3", 4, 5), ("4", 5, 9)):
        value = {"id": key, "phone": "0", "registrations": registrations, "assignments": assignments}
        retail.database.execute("INSERT INTO photographerRegistry VALUES (%s, %s)", key, json.dumps(value))
    assert [photo_request(retail)["data"]["photographer"]["id"] for _ in range(2)] == ["1", "3"]
    assert error(ask(retail, "photo-request")) == (500, "Failed in photo-assign")


def test_the_mail_arrives_and_is_not_waited_for(retail: Shop) -> None:
    retail.mailbox.release.clear()
    photo_request(retail)
    assert retail.gateway.hop("photo-message").status == 200
    assert retail.mailbox.mails == []
    retail.mailbox.release.set()
    eventually(lambda: retail.mailbox.mails)
    (mail,) = retail.mailbox.mails
    assert mail.recipients == ("1@hello-retail.example",)
    assert b"Subject: Hello Retail: please photograph Striped Wool Socks, Three Pair" in mail.content


# ---- Chain 2


def test_chain_2_receives_completes_and_reports_one_after_the_other(retail: Shop) -> None:
    outside = ask(retail, "photo-acquire", photo_request(retail))
    hops = retail.gateway.hops
    assert [hop.callee for hop in hops] == ["photo-receive", "photo-success", "photo-report", "photo-acquire"]
    assert [sizes(hop) for hop in hops] == [(84, 263), (263, 290), (290, 314), (84, 314)]
    for earlier, later in pairwise(hops[:3]):
        assert later.started_s >= earlier.ended_s
        assert later.request == earlier.answer
    answer = json.loads(outside.answer)
    assert (answer["received"], answer["assignmentComplete"], answer["outcome"]) == (True, True, "photo taken")
    assert answer["assignment"]["status"] == "complete"
    assert json.loads(hops[0].answer)["assignment"]["status"] == "pending"


def test_chain_2_makes_three_connections_and_ten_statements_and_stores_the_photo_by_one_more(retail: Shop) -> None:
    before = photo_request(retail)
    found = recorded(retail, lambda: ask(retail, "photo-acquire", before), 4)
    expected = [[SHOW, "SELECT"], [SHOW, "SELECT", *PUT], [SHOW, "DELETE"], [SHOW, *PUT]]
    assert sorted(found) == sorted(expected)
    ((key, value),) = retail.database.execute("SELECT * FROM storedPhotos")
    assert (key, json.loads(value)["url"]) == ("4579874", "https://photos.example/4579874/1")


def test_the_photo_is_stored_without_being_waited_for(retail: Shop) -> None:
    before = photo_request(retail)
    retail.database.execute("INSERT INTO storedPhotos VALUES ('4579874', 'locked')")
    with retail.database.locked("SELECT * FROM storedPhotos FOR UPDATE"):
        assert ask(retail, "photo-acquire", before).status == 200
        assert retail.database.execute("SELECT rowvalues FROM storedPhotos") == [("locked",)]
    eventually(lambda: "url" in retail.database.execute("SELECT rowvalues FROM storedPhotos")[0][0])


def test_chain_2_uses_the_assignment_up_and_its_photographer_with_it(retail: Shop) -> None:
    retail.seed(photographers=1)
    before = photo_request(retail)
    assert ask(retail, "photo-acquire", before).status == 200
    assert error(ask(retail, "photo-acquire", before)) == (500, "failed to receive photo")
    assert retail.database.execute("SELECT COUNT(*) FROM photoAssignments") == [(0,)]
    ((entry,),) = retail.database.execute("SELECT rowvalues FROM photographerRegistry")
    assert "assignments" not in json.loads(entry)
    assert error(ask(retail, "photo-request")) == (500, "Failed in photo-assign")


@pytest.mark.parametrize(("number", "size"), [(0, 51_965), (1, 34_718), (2, 51_965)])
def test_photo_bytes_stay_where_they_are_received(retail: Shop, number: int, size: int) -> None:
    request = REQUESTS["photo-acquire-bytes"]
    body = json.loads(request.content(number=number, previous=photo_request(retail)))
    outside = retail.gateway.ask("photo-acquire", body)
    assert outside.status == 200
    assert len(base64.b64decode(json.loads(retail.gateway.hop("photo-receive").request)["photo"])) == size
    assert b'photo":' not in retail.gateway.hop("photo-success").request
    assert request.request_bytes[0] <= len(outside.request) <= request.request_bytes[1]
    assert request.answer_bytes[0] <= len(outside.answer) <= request.answer_bytes[1]
    ((stored,),) = eventually(lambda: retail.database.execute("SELECT rowvalues FROM storedPhotos"))
    assert json.loads(stored)["photo"] == body["photo"]


def test_chains_1_and_2_pair_up_as_often_as_there_are_photographers(retail: Shop) -> None:
    retail.seed(photographers=12)
    photographers, lengths = [], set()
    for _ in range(12):
        before = photo_request(retail)
        photographers.append(before["data"]["photographer"]["id"])
        lengths.add(nominal(ask(retail, "photo-acquire", before).answer))
    assert photographers == [f"{number:02}" for number in range(1, 13)]
    assert lengths == {315}


# ---- The other ways in


@pytest.mark.parametrize("name", sorted(REQUESTS))
def test_every_described_request_has_its_status_and_sizes(retail: Shop, name: str) -> None:
    request = REQUESTS[name]
    before = photo_request(retail) if request.after else None
    hop = ask(retail, name, before)
    assert hop.status == request.status
    assert request.request_bytes[0] <= len(hop.request) <= request.request_bytes[1]
    assert request.answer_bytes[0] <= len(hop.answer) <= request.answer_bytes[1]
    assert request.measured == (name in ("photo-request", "photo-acquire", "product-purchase"))


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("list-categories", [[SHOW, "SELECT"]]),
        ("list-products", [[SHOW, "SELECT"]]),
        ("create-product", [[SHOW, *PUT]] * 3),
        ("register-photographer", [[SHOW, *PUT]]),
    ],
)
def test_statements_of_the_other_ways_in(retail: Shop, name: str, expected: list[list[str]]) -> None:
    assert recorded(retail, lambda: ask(retail, name), len(expected)) == expected


def test_a_product_is_written_in_two_branches_at_the_same_time(retail: Shop) -> None:
    """A catalogue that is held up does not hold the price up."""
    retail.database.execute("UPDATE productPrice SET rowvalues = 'old'")
    with (
        ThreadPoolExecutor(1) as pool,
        retail.database.locked("SELECT * FROM productCategory FOR UPDATE") as unlock,
    ):
        answer = pool.submit(ask, retail, "create-product")
        eventually(lambda: retail.database.execute("SELECT rowvalues FROM productPrice") == [('{"price":"499"}',)])
        assert not answer.done()
        unlock()
        assert answer.result().status == 200


def test_an_empty_shop_makes_its_tables_as_it_is_filled(retail: Shop) -> None:
    seeded = retail.database.definitions()
    contents = retail.database.contents(("productCategory", "productCatalog", "productPrice", "creditCardAuthority"))
    retail.database.empty()
    assert ask(retail, "create-product").status == 200
    assert ask(retail, "register-photographer").status == 200
    card = {"user": "prabkumar", "creditCard": "1234-5678-9"}
    added = retail.gateway.ask(OPERATORS, card)
    assert (added.status, added.answer, len(added.request)) == (200, b"", 47)
    assert ask(retail, "product-purchase").status == 200
    assert retail.database.contents(tuple(contents)) == contents, "the seed is what these requests make"
    ((entry,),) = retail.database.execute("SELECT rowvalues FROM photographerRegistry")
    assert (len(entry), json.loads(entry)["assignments"]) == (61, 0)
    assert ask(retail, "photo-acquire", photo_request(retail)).status == 200
    eventually(lambda: retail.database.definitions() == seeded)


def test_a_product_may_be_given_an_image(retail: Shop) -> None:
    image = {"data": {"id": "4579874", "image": "https://photos.example/4579874/1"}}
    assert retail.gateway.ask("product-catalog-builder", image, "/image").status == 200
    (product,) = json.loads(ask(retail, "list-products").answer)
    assert product["image"] == image["data"]["image"]
    unknown = retail.gateway.ask("product-catalog-builder", {"data": {"id": "0"}}, "/image")
    assert error(unknown) == (500, "there is no product 0")


# ---- Settings and faults


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


def test_servers_keep_call_ids(running: Shop) -> None:
    server: Server = running.servers["product-purchase"]
    running.seed()
    body = REQUESTS["product-purchase"].content()
    assert server.ask("POST", "/", body, {"X-Call-Id": "the-id"})[0] == 200
    for name in ("get-price", "authorize-cc", "publish"):
        record = running.servers[f"product-purchase-{name}"].records()[-1]
        assert (record["call_id"], record["caller"]) == ("the-id", "product-purchase")
