"""Bookinfo's four functions as real servers on loopback: pages, JSON, bytes, failures, retries, headers passed on."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest

from testbed.model.stack.stack_file import load
from tests.unit.functions.function_rig import CHECKOUT, Server, build

BOOKINFO = CHECKOUT / "functions" / "bookinfo"
POD = "reviews-v2-0123456789-abcd"
LANGUAGES = {"productpage": "python3-http", "details": "ruby", "reviews": "java17", "ratings": "node20"}

Start = Callable[..., Server]


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Each function's image, made once."""
    made: dict[str, Path] = {}

    def one(name: str) -> Path:
        if name not in made:
            made[name] = build(tmp_path_factory.mktemp(name), BOOKINFO / name, LANGUAGES[name])
        return made[name]

    return one


@pytest.fixture
def start(tmp_path: Path, image: Callable[[str], Path]) -> Iterator[Start]:
    """Start a function of Bookinfo with this environment; it is stopped after the test."""
    servers: list[Server] = []

    def one(name: str, **environment: str) -> Server:
        folder = tmp_path / f"{len(servers)}" / name
        servers.append(Server(folder, "", environment, language=LANGUAGES[name], image=image(name)))
        return servers[-1]

    yield one
    for server in servers:
        server.stop()


class Recorder:
    """A callee that records what it is asked and answers as it is told: (status, body, seconds to wait)."""

    def __init__(self, *answers: tuple[int, bytes, float]) -> None:
        self.asked: list[tuple[str, dict[str, str]]] = []
        self.connections: set[Any] = set()
        recorder = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                recorder.asked.append((self.path, {name.lower(): value for name, value in self.headers.items()}))
                recorder.connections.add(self.client_address)
                status, body, wait_s = answers[min(len(recorder.asked), len(answers)) - 1]
                time.sleep(wait_s)
                self.send_response(status)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, format: str, *arguments: Any) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        Thread(target=self.server.serve_forever, daemon=True).start()


RATINGS = b'{"id":0,"ratings":{"Reviewer1":5,"Reviewer2":4}}'


@pytest.mark.parametrize(("version", "size", "color"), [("v1", 358, None), ("v2", 442, "black"), ("v3", 438, "red")])
def test_reviews_have_the_originals_size_in_every_version(
    start: Start, version: str, size: int, color: str | None
) -> None:
    ratings = Recorder((200, RATINGS, 0))
    reviews = start("reviews", SERVICE_VERSION=version, RATINGS_URL=ratings.url, HOSTNAME=POD)
    status, headers, body = reviews.ask("GET", "/reviews/0")
    assert (status, headers["Content-Type"], len(body)) == (200, "application/json", size)
    answer = json.loads(body)
    assert [answer[key] for key in ("id", "podname", "clustername")] == ["0", POD, "null"]
    stars = [{"stars": stars, "color": color} for stars in (5, 4)] if color else [None, None]
    assert [one.get("rating") for one in answer["reviews"]] == stars
    assert [path for path, _ in ratings.asked] == (["/ratings/0"] if color else [])


@pytest.mark.parametrize(
    ("path", "status"), [("/reviews/x", 400), ("/reviews/", 400), ("/", 404), ("/reviews/1/2", 404), ("/health", 200)]
)
def test_other_paths_of_reviews(start: Start, path: str, status: int) -> None:
    found, _, body = start("reviews", SERVICE_VERSION="v1").ask("GET", path)
    assert (found, list(json.loads(body))) == (status, ["status" if status == 200 else "error"])


@pytest.mark.parametrize(
    "answer", [(503, b"no", 0.0), (200, b"no JSON", 0.0), (200, b"[]", 0.0), (200, RATINGS, 4.0)],
    ids=["status", "text", "list", "late"],
)  # fmt: skip
def test_reviews_say_so_where_ratings_fails(start: Start, answer: tuple[int, bytes, float]) -> None:
    ratings = Recorder(answer)
    reviews = start("reviews", SERVICE_VERSION="v3", RATINGS_URL=ratings.url)
    status, _, body = reviews.ask("GET", "/reviews/0")
    assert status == 200
    assert [list(one["rating"]) for one in json.loads(body)["reviews"]] == [["error"], ["error"]]


def test_black_stars_are_worth_waiting_for(start: Start) -> None:
    ratings = Recorder((200, RATINGS, 3.0))
    reviews = start("reviews", SERVICE_VERSION="v2", RATINGS_URL=ratings.url)
    assert json.loads(reviews.ask("GET", "/reviews/0")[2])["reviews"][0]["rating"] == {"stars": 5, "color": "black"}


TRACE = {"X-Request-Id": "r", "traceparent": "t", "X-B3-TraceId": "b", "X-Call-Id": "c", "User-Agent": "me"}


def test_traces_are_passed_on_and_every_call_has_a_connection(start: Start) -> None:
    ratings = Recorder((200, RATINGS, 0))
    reviews = start("reviews", RATINGS_URL=ratings.url, FUNCTION_NAME="reviews")
    details = Recorder((200, b'{"id": 0}', 0))
    page = start("productpage", DETAILS_URL=details.url, REVIEWS_URL=reviews.url, FUNCTION_NAME="productpage")
    for _ in range(3):
        headers = {**TRACE, "Cookie": "user=j%20r", "X-Other": "o"}
        assert page.ask("GET", "/productpage", None, headers)[0] == 200
    assert [len(details.asked), len(details.connections)] == [3, 3]
    assert [len(ratings.asked), len(ratings.connections)] == [3, 3]
    for callee, caller in ((details, "productpage"), (ratings, "reviews")):
        told = callee.asked[-1][1]
        assert {name.lower(): value for name, value in TRACE.items()}.items() <= told.items()
        assert (told["end-user"], told["x-caller"], "x-other" in told) == ("j%20r", caller, False)
    assert [record["caller"] for record in reviews.records()] == ["productpage"] * 3
    assert [record["call_id"] for record in reviews.records()] == ["c"] * 3


def test_all_four_make_the_page_and_the_api(start: Start) -> None:
    ratings = start("ratings")
    reviews = start("reviews", RATINGS_URL=ratings.url, HOSTNAME=POD)
    details = start("details")
    urls = {"DETAILS_URL": details.url, "REVIEWS_URL": reviews.url, "RATINGS_URL": ratings.url}
    page = start("productpage", **urls)
    status, headers, body = page.ask("GET", "/productpage")
    text = body.decode()
    assert (status, headers["Content-Type"]) == (200, "text/html; charset=utf-8")
    for piece in ("The Comedy of Errors", "William Shakespeare", "paperback", "Reviewer1", "Reviewer2", POD):
        assert piece in text
    assert (text.count("<svg"), text.count('fill="black"')) == (10, 9)
    assert 9_000 < len(body) < 12_000
    products = json.loads(page.ask("GET", "/api/v1/products")[2])
    assert [list(one) for one in products] == [["id", "title", "descriptionHtml"]]
    assert json.loads(page.ask("GET", "/api/v1/products/0")[2])["pages"] == 200
    assert json.loads(page.ask("GET", "/api/v1/products/0/reviews")[2])["podname"] == POD
    assert json.loads(page.ask("GET", "/api/v1/products/0/ratings")[2]) == json.loads(RATINGS)
    assert [page.ask("GET", f"/api/v1/products/x{rest}")[0] for rest in ("", "/reviews", "/ratings")] == [400] * 3
    metrics = page.ask("GET", "/metrics")[2].decode()
    assert 'request_result{destination_app="details",response_code="200"} 2' in metrics
    assert page.ask("GET", "/health")[0] == page.ask("GET", "/index.html")[0] == 200


def test_a_page_without_stars_is_smaller(start: Start) -> None:
    urls = {"DETAILS_URL": start("details").url, "REVIEWS_URL": start("reviews", SERVICE_VERSION="v1").url}
    body = start("productpage", **urls).ask("GET", "/productpage")[2]
    assert body.count(b"<svg") == 0
    assert 4_000 < len(body) < 6_000


def test_reviews_is_tried_twice_and_details_once(start: Start) -> None:
    details, reviews = Recorder((503, b"", 0)), Recorder((500, b"", 0), (200, b'{"id":"0","reviews":[]}', 0))
    page = start("productpage", DETAILS_URL=details.url, REVIEWS_URL=reviews.url)
    assert page.ask("GET", "/api/v1/products/0/reviews")[0] == 200
    assert page.ask("GET", "/api/v1/products/0")[0] == 503
    assert [len(reviews.asked), len(details.asked)] == [2, 1]


def test_reviews_that_are_too_slow_are_given_up_after_twice_three_seconds(start: Start) -> None:
    details, reviews = Recorder((200, b'{"id": 0}', 0)), Recorder((200, b"{}", 5.0))
    page = start("productpage", DETAILS_URL=details.url, REVIEWS_URL=reviews.url)
    started_s = time.monotonic()
    status, _, body = page.ask("GET", "/productpage")
    assert 6 <= time.monotonic() - started_s < 10
    assert (status, b"The reviews cannot be shown" in body, len(reviews.asked)) == (200, True, 2)


def test_the_api_says_500_for_a_callee_that_is_not_there(start: Start) -> None:
    page = start("productpage", DETAILS_URL="http://127.0.0.1:1", REVIEWS_URL="http://127.0.0.1:1")
    for rest in ("", "/reviews", "/ratings"):
        status, _, body = page.ask("GET", f"/api/v1/products/0{rest}")
        assert (status, list(json.loads(body))) == (500, ["error"])
    assert page.ask("GET", "/productpage")[2].count(b'class="failed"') == 2


def test_signing_in_and_out(start: Start) -> None:
    page = start("productpage")
    status, headers, _ = page.ask("POST", "/login", b"username=j+r&passwd=x")
    assert (status, headers["Location"]) == (302, "productpage")
    cookie = headers["Set-Cookie"].partition(";")[0]
    assert b"j r (<a" in page.ask("GET", "/productpage", None, {"Cookie": f"a=b; {cookie}"})[2]
    assert page.ask("GET", "/logout")[1]["Set-Cookie"].startswith("user=;")
    assert page.ask("POST", "/productpage")[0] == 405
    assert page.ask("GET", "/none")[0] == 404


def test_the_stacks_edges_are_the_three_of_the_page_and_one_more_for_the_api() -> None:
    def edges(file: str) -> set[tuple[str, str]]:
        functions = load(BOOKINFO / file, {}).functions
        assert [function.name for function in functions if function.ingress] == ["productpage"]
        return {(function.name, callee) for function in functions for callee in function.calls}

    page = {("productpage", "details"), ("productpage", "reviews"), ("reviews", "ratings")}
    assert edges("stack.yaml") == page
    assert edges("ratings-api.yaml") == page | {("productpage", "ratings")}
    plain, api = load(BOOKINFO / "stack.yaml", {}), load(BOOKINFO / "ratings-api.yaml", {})
    assert plain.functions[1:] == api.functions[1:]
    assert {function.name: function.language for function in plain.functions} == LANGUAGES


def test_variants_are_chosen_at_deployment() -> None:
    given = {"REVIEWS_VERSION": "v3", "RATINGS_VERSION": "v-delayed", "RATINGS_STORE": "memory", "DELAY_S": "3"}
    application = load(BOOKINFO / "stack.yaml", given)
    assert application.function("reviews").environment["SERVICE_VERSION"] == "v3"
    ratings = application.function("ratings").environment
    assert [ratings[name] for name in ("SERVICE_VERSION", "RATINGS_STORE", "DELAY_S")] == ["v-delayed", "memory", "3"]
    assert load(BOOKINFO / "stack.yaml", {}).function("reviews").environment["SERVICE_VERSION"] == "v2"
