"""A function of a chain: works a little, calls what comes after it, and tells who was visited.

Its environment:
    NEXT_URL       the next function's URL; the last function has none
    CALLEE_URLS    for the first function of a star: the URLs of all others, separated by commas
    CHAIN_SHAPE    nested (each calls the next) or star (the first calls all others, one by one)
    PAYLOAD_BYTES  answers are padded to at least this size
    SERVICE_MS     service time; SERVICE_KIND says how it is spent: sleep, or busy (this much CPU time)
    CONNECTION     per-call (a new TCP connection for each call) or keepalive (one a thread and callee)
    CALL_TIMEOUT_S how long a call may take

Where a secret named gateway-token is mounted (TOKEN_FILE says where), calls carry it as a bearer token.

`?length=N` asks for the first N functions only. A body is passed on along the chain. The answer is
{"functions": [names in the order of their invocation], "padding": "xx…"}.

Calls are made with http.client and not with the requests library, whose half millisecond a call
and tenth of a second at import would hide the network that a chain is meant to show.
"""

import http.client
import json
import os
import threading
import time
from urllib.parse import urlsplit

NAME = os.environ.get("FUNCTION_NAME") or os.environ.get("HOSTNAME", "function")
NEXT_URL = os.environ.get("NEXT_URL", "").strip()
CALLEE_URLS = os.environ.get("CALLEE_URLS", "").replace(",", " ").split()
STAR = os.environ.get("CHAIN_SHAPE", "nested") == "star"
PAYLOAD_BYTES = int(os.environ.get("PAYLOAD_BYTES") or 0)
SERVICE_MS = float(os.environ.get("SERVICE_MS") or 0)
BUSY = os.environ.get("SERVICE_KIND", "sleep") == "busy"
KEEPALIVE = os.environ.get("CONNECTION", "per-call") == "keepalive"
CALL_TIMEOUT_S = float(os.environ.get("CALL_TIMEOUT_S") or 30)

TOKEN_FILE = os.environ.get("TOKEN_FILE") or "/var/openfaas/secrets/gateway-token"

_kept = threading.local()


class CallFailed(Exception):
    """A call gave no good answer; `status` is what to answer then."""

    def __init__(self, status, reason):
        super().__init__(reason)
        self.status = status


def read_token():
    """The namespace's token for calls through the gateway; "" where there is none."""
    try:
        with open(TOKEN_FILE) as file:  # noqa: PTH123 - importing pathlib would slow the cold start
            return file.read().strip()
    except FileNotFoundError:
        return ""


TOKEN = read_token()


def handle(event, context):
    try:
        length = wanted_length(event.query)
        serve(SERVICE_MS)
        visited = [NAME]
        for url, callee_length in callees(length):
            visited += call(url, callee_length, event)
    except CallFailed as failure:
        return {"statusCode": failure.status, "body": {"error": str(failure), "function": NAME}}
    return {"statusCode": 200, "headers": {"Content-Type": "application/json"}, "body": answer(visited)}


def wanted_length(query):
    """The asked number of functions, this one included; None: as many as there are."""
    asked = query.get("length")
    if asked is None:
        return None
    if not asked.isdecimal() or int(asked) < 1:
        raise CallFailed(400, f"length={asked} is no chain length; ask for 1 or more")
    return int(asked)


def callees(length):
    """(URL, length to ask for) of every call to make."""
    urls = CALLEE_URLS if STAR else [NEXT_URL] if NEXT_URL else []
    if STAR:
        if length is not None and length - 1 > len(urls):
            raise CallFailed(400, f"length={length}, but only {len(urls) + 1} functions are deployed")
        return [(url, 1) for url in (urls if length is None else urls[: length - 1])]
    if length is None:
        return [(url, None) for url in urls]
    if length > 1 and not urls:
        raise CallFailed(400, f"{NAME} is the last function deployed, but {length - 1} more were asked for")
    return [(url, length - 1) for url in urls] if length > 1 else []


def serve(service_ms):
    """Spend the service time: asleep, or by using this much CPU time of the thread."""
    if service_ms <= 0:
        return
    if not BUSY:
        time.sleep(service_ms / 1000)
        return
    end_ns = time.thread_time_ns() + int(service_ms * 1e6)
    while time.thread_time_ns() < end_ns:
        pass


def call(url, length, event):
    """Invoke the callee; returns the names that it visited."""
    parts = urlsplit(url)
    query = "&".join(filter(None, (parts.query, f"length={length}" if length is not None else "")))
    target = (parts.path or "/") + (f"?{query}" if query else "")
    headers = {"X-Caller": NAME, "X-Call-Id": event.headers.get("X-Call-Id", "")}
    if TOKEN:
        headers["Authorization"] = f"Bearer {TOKEN}"
    if not KEEPALIVE:
        headers["Connection"] = "close"
    try:
        status, body = exchange(parts.netloc, event.method if event.body else "GET", target, event.body, headers)
    except (OSError, http.client.HTTPException) as error:
        raise CallFailed(502, f"calling {url} failed: {error or type(error).__name__}") from error
    if status != 200:
        text = body[:300].decode("utf-8", "replace")
        raise CallFailed(400 if status == 400 else 502, f"{url} answered {status}: {text}")
    try:
        return json.loads(body)["functions"]
    except (ValueError, KeyError, TypeError) as error:
        raise CallFailed(502, f"{url} gave an answer that is not a chain's") from error


def exchange(address, method, target, body, headers):
    """(status, body) of one request. A kept connection that the callee has closed is replaced once."""
    if not KEEPALIVE:
        connection = http.client.HTTPConnection(address, timeout=CALL_TIMEOUT_S)
        try:
            return request(connection, method, target, body, headers)
        finally:
            connection.close()
    connections = _kept.__dict__.setdefault("connections", {})
    fresh = address not in connections
    if fresh:
        connections[address] = http.client.HTTPConnection(address, timeout=CALL_TIMEOUT_S)
    try:
        return request(connections[address], method, target, body, headers)
    except (http.client.RemoteDisconnected, ConnectionResetError, BrokenPipeError):
        connections.pop(address).close()
        if fresh:
            raise
        return exchange(address, method, target, body, headers)
    except (OSError, http.client.HTTPException):
        connections.pop(address).close()
        raise


def request(connection, method, target, body, headers):
    connection.request(method, target, body or None, headers)
    response = connection.getresponse()
    return response.status, response.read()


def answer(visited):
    """The JSON answer, padded to PAYLOAD_BYTES."""
    text = json.dumps({"functions": visited, "padding": ""})
    missing = PAYLOAD_BYTES - len(text)
    return text if missing <= 0 else json.dumps({"functions": visited, "padding": "x" * missing})
