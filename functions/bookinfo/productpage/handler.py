"""The page of a book: what details and reviews know of it, for people and as JSON.

    GET  /productpage                     the page, of product 0
    GET  /api/v1/products                 all products; calls nobody
    GET  /api/v1/products/{id}            details
    GET  /api/v1/products/{id}/reviews    reviews, with the ratings that reviews asks for
    GET  /api/v1/products/{id}/ratings    ratings, where RATINGS_URL says who knows them; 500 otherwise
    GET  /, /index.html, /health, /metrics
    POST /login, GET /logout              a name in a cookie, passed on as end-user

Calls are made one after the other, each on a connection of its own and for at most 3 s. reviews is tried twice.
A part that fails is said on the page, which is 200; on the API its status is passed on, or 500 without one.
"""

import json
import os
import re
import threading
from collections import Counter
from urllib.parse import parse_qs, quote, unquote

import requests

from . import page

CALLEES = {name: os.environ.get(f"{name.upper()}_URL", "").rstrip("/") for name in ("details", "reviews", "ratings")}
TIMEOUT_S = 3.0
PASSED_ON = (
    "x-request-id", "x-b3-traceid", "x-b3-spanid", "x-b3-parentspanid", "x-b3-sampled", "x-b3-flags",
    "x-ot-span-context", "traceparent", "tracestate", "x-datadog-trace-id", "x-datadog-parent-id",
    "x-datadog-sampling-priority", "x-cloud-trace-context", "grpc-trace-bin", "sw8", "user-agent", "cookie",
    "authorization", "jwt", "x-call-id",
)  # fmt: skip
PRODUCTS = [
    {
        "id": 0,
        "title": "The Comedy of Errors",
        "descriptionHtml": '<a href="https://en.wikipedia.org/wiki/The_Comedy_of_Errors">The Comedy of Errors</a>, '
        "written in the 1590s, is <b>William Shakespeare</b>'s shortest play: two pairs of twins, parted at birth, are "
        "taken for one another for a whole day in Ephesus.",
    }
]
API = re.compile(r"/api/v1/products/([^/]+)(?:/(reviews|ratings))?")

_answers = Counter()
_answers_lock = threading.Lock()


def handle(event, context):
    if event.path == "/login" and event.method == "POST":
        return login(event)
    if event.method not in ("GET", "HEAD"):
        return as_json(405, {"error": f"{event.method} is not possible here"})
    if match := API.fullmatch(event.path):
        return as_json(*ask(match[2] or "details", match[1], event))
    if event.path in PAGES:
        return PAGES[event.path](event)
    return as_json(404, {"error": "there is no such page"})


def product_page(event):
    product = PRODUCTS[0]
    details = ask("details", product["id"], event)
    reviews = ask("reviews", product["id"], event)
    return as_html(page.product(product, details, reviews, user_of(event)))


def ask(callee, product_id, event):
    """(status, JSON) of the callee's answer about a product."""
    answer = None
    for _ in range(2 if callee == "reviews" else 1):
        answer = call(callee, product_id, event)
        if answer is not None and answer.status_code == 200:
            return 200, answer.json()
    status = answer.status_code if answer is not None else 500
    return status, {"error": f"the {callee} of this product are not available at the moment"}


def call(callee, product_id, event):
    """One answer, None when there is none in time."""
    url = CALLEES[callee]
    if not url:
        return None
    try:
        answer = requests.get(f"{url}/{callee}/{product_id}", headers=headers_for(event), timeout=TIMEOUT_S)
    except requests.RequestException as error:
        print(f"{callee}: {error}", flush=True)
        answer = None
    with _answers_lock:
        _answers[callee, answer.status_code if answer is not None else 500] += 1
    return answer


def headers_for(event):
    """What a callee is told of the request: its traces, who asked, and by whom."""
    headers = {name: event.headers[name] for name in PASSED_ON if name in event.headers}
    if user := user_of(event):
        headers["end-user"] = quote(user)
    return {**headers, "X-Caller": os.environ.get("FUNCTION_NAME", "productpage")}


def login(event):
    user = parse_qs(event.body.decode("utf-8", "replace")).get("username", [""])[0]
    return "", 302, {"Location": "productpage", "Set-Cookie": f"user={quote(user)}; HttpOnly; SameSite=Lax"}


def logout(event):
    return "", 302, {"Location": "productpage", "Set-Cookie": "user=; Max-Age=0; HttpOnly; SameSite=Lax"}


def user_of(event):
    """Who has signed in, "" for nobody."""
    match = re.search(r"(?:^|;\s*)user=([^;]*)", event.headers.get("Cookie", ""))
    return unquote(match[1]) if match else ""


def metrics(event):
    lines = ["# HELP request_result Results of requests to other functions", "# TYPE request_result counter"]
    with _answers_lock:
        answers = sorted(_answers.items())
    lines += [
        f'request_result{{destination_app="{callee}",response_code="{status}"}} {n}' for (callee, status), n in answers
    ]
    return "\n".join(lines) + "\n", 200, {"Content-Type": "text/plain; version=0.0.4"}


def as_json(status, value):
    return json.dumps(value, ensure_ascii=False), status, {"Content-Type": "application/json"}


def as_html(text):
    return text, 200, {"Content-Type": "text/html; charset=utf-8"}


def front_page(event):
    return as_html(page.index(PRODUCTS))


PAGES = {
    "/": front_page,
    "/index.html": front_page,
    "/productpage": product_page,
    "/api/v1/products": lambda event: as_json(200, PRODUCTS),
    "/health": lambda event: as_html("Product page is healthy"),
    "/metrics": metrics,
    "/logout": logout,
}
