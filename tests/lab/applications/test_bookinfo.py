"""Bookinfo on both routes of one lab: the same page and API, variants, failures, and exactly its calls."""

from __future__ import annotations

import http.client
import json
import re
from collections.abc import Iterator

import pytest

from testbed.model import addressing
from testbed.model.cluster import Route
from testbed.model.stack import stack_file
from testbed.network.lab import Lab
from testbed.platform.client.platform import Platform
from tests.lab.applications.hello_retail_lab import records
from tests.lab.conftest import CHECKOUT, command_line
from tests.lab.traffic import in_host

BOOKINFO = CHECKOUT / "functions" / "bookinfo"
SHELVES = {"books-gateway": Route.GATEWAY, "books-direct": Route.DIRECT}
REPETITIONS = 10
STARS = [{"stars": stars, "color": "black"} for stars in (5, 4)]
POD = re.compile(rb"reviews\.books-(gateway|direct)\.\d+")

Answer = tuple[int, bytes]


def deploy(lab: Lab, file: str = "stack.yaml", **variables: str) -> None:
    application = stack_file.load(BOOKINFO / file, variables)
    with lab.inside():
        platform = Platform(lab)
        for shelf, route in SHELVES.items():
            platform.deploy(application, shelf, route, "spread", timeout_s=120)


@pytest.fixture(scope="module")
def books(lab: Lab) -> Iterator[Lab]:
    deploy(lab)
    yield lab
    with lab.inside():
        for shelf in SHELVES:
            Platform(lab).remove(shelf)


def get(lab: Lab, shelf: str, path: str, **headers: str) -> Answer:
    """(status, body) of productpage's answer, asked for by the client; an instance's name is POD in it."""

    def exchange() -> Answer:
        connection = http.client.HTTPConnection(addressing.vip(addressing.GATEWAY_ID), 8080, timeout=30)
        try:
            connection.request("GET", f"/function/productpage.{shelf}{path}", None, headers)
            answer = connection.getresponse()
            return answer.status, POD.sub(b"POD", answer.read())
        finally:
            connection.close()

    return in_host(lab, "client", exchange)


def both(lab: Lab, path: str) -> Answer:
    """The answer, which must be the same on both routes."""
    by_gateway, directly = (get(lab, shelf, path) for shelf in SHELVES)
    assert by_gateway == directly
    return by_gateway


def ratings_in(answer: Answer) -> list[object]:
    assert answer[0] == 200, answer
    return [one.get("rating") for one in json.loads(answer[1])["reviews"]]


def test_page_and_api_are_the_same_on_both_routes_as_often_as_asked(books: Lab) -> None:
    pages = {both(books, "/productpage") for _ in range(REPETITIONS)}
    assert len(pages) == 1
    status, page = pages.pop()
    assert (status, page.count(b"<svg"), b"POD" in page, b'class="failed"' in page) == (200, 10, True, False)
    assert [one["id"] for one in json.loads(both(books, "/api/v1/products")[1])] == [0]
    assert json.loads(both(books, "/api/v1/products/0")[1])["year"] == 1595
    assert ratings_in(both(books, "/api/v1/products/0/reviews")) == STARS


@pytest.mark.parametrize(
    ("path", "status"), [("/x", 400), ("/x/reviews", 400), ("/0/ratings", 500)], ids=["id", "reviews-id", "no-call"]
)
def test_wrong_ids_are_400_and_a_call_outside_the_graph_is_500(books: Lab, path: str, status: int) -> None:
    found, body = both(books, f"/api/v1/products{path}")
    assert (found, list(json.loads(body))) == (status, ["error"])


def test_every_call_keeps_the_id_and_names_its_caller(books: Lab) -> None:
    for shelf in SHELVES:
        assert get(books, shelf, "/productpage", **{"X-Call-Id": f"id-{shelf}"})[0] == 200
        found = {
            name: record["caller"]
            for name, kept in records(books, shelf).items()
            for record in kept
            if record["call_id"] == f"id-{shelf}"
        }
        assert found == {"productpage": "", "details": "productpage", "reviews": "productpage", "ratings": "reviews"}


def test_exactly_the_papers_calls_pass_and_the_store_is_ratings_own(books: Lab) -> None:
    result = command_line("app", "matrix", "bookinfo", "-n", "books-direct", "--name", books.name)
    assert result.returncode == 0, result.stdout + result.stderr
    assert "exactly the 4 calls of the call graph pass" in result.stdout


def test_variants_and_failures_give_the_same_on_both_routes(books: Lab) -> None:
    late = {"RATINGS_VERSION": "v-delayed", "FAULT_SHARE": "1", "DELAY_S": "4", "RATINGS_STORE": "memory"}
    deploy(books, REVIEWS_VERSION="v3", **late)
    assert [list(rating) for rating in ratings_in(both(books, "/api/v1/products/0/reviews"))] == [["error"]] * 2
    deploy(books, **late)
    before = {shelf: len(records(books, shelf)["reviews"]) for shelf in SHELVES}
    status, page = both(books, "/productpage")
    assert (status, page.count(b'class="failed"'), b"paperback" in page) == (200, 1, True)
    deploy(books, RATINGS_VERSION="v-faulty", FAULT_SHARE="1")
    assert [list(rating) for rating in ratings_in(both(books, "/api/v1/products/0/reviews"))] == [["error"]] * 2
    status, page = both(books, "/productpage")
    assert (status, page.count(b"<svg"), b"paperback" in page) == (200, 0, True)
    assert {record["status"] for shelf in SHELVES for record in records(books, shelf)["ratings"][-2:]} == {503}
    deploy(books, REVIEWS_VERSION="v1", **late)
    assert ratings_in(both(books, "/api/v1/products/0/reviews")) == [None, None]
    for shelf in SHELVES:  # an instance is drained before it goes, so that its answers are on record
        assert len(records(books, shelf)["reviews"]) >= before[shelf] + 2


def test_the_apis_own_call_to_ratings_is_a_stack_of_its_own(books: Lab) -> None:
    deploy(books, "ratings-api.yaml")
    status, body = both(books, "/api/v1/products/0/ratings")
    assert (status, json.loads(body)) == (200, {"id": 0, "ratings": {"Reviewer1": 5, "Reviewer2": 4}})
