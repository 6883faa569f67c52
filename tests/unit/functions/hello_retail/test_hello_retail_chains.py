"""The three chains of Hello, Retail!: what functions say to each other to the byte, and what they ask the database."""

from __future__ import annotations

import base64
import json
import threading
from itertools import pairwise
from typing import Any

import pytest

from tests.unit.functions.function_rig import Server
from tests.unit.functions.hello_retail.questions import (
    AUTHORIZATION,
    PUT,
    REQUESTS,
    SHOW,
    ask,
    error,
    nominal,
    photo_request,
    recorded,
    sizes,
)
from tests.unit.functions.hello_retail.retail_rig import Shop, until

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
    until(lambda: "Failed in photo-message" in retail.servers["photo-request"].log.read_text(), "the log says so")


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
    until(lambda: retail.mailbox.mails, "the mail is there")
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
    until(lambda: "url" in retail.database.execute("SELECT rowvalues FROM storedPhotos")[0][0], "the photo is stored")


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
    ((stored,),) = until(lambda: retail.database.execute("SELECT rowvalues FROM storedPhotos"), "it is stored")
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


# ---- All three


def test_servers_keep_call_ids(running: Shop) -> None:
    server: Server = running.servers["product-purchase"]
    running.seed()
    body = REQUESTS["product-purchase"].content()
    assert server.ask("POST", "/", body, {"X-Call-Id": "the-id"})[0] == 200
    for name in ("get-price", "authorize-cc", "publish"):
        record = running.servers[f"product-purchase-{name}"].records()[-1]
        assert (record["call_id"], record["caller"]) == ("the-id", "product-purchase")
