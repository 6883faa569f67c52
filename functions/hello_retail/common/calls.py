"""Calls of other functions: JSON by POST. Functions that call none do without this module, whose imports take time.

Its environment:
    CONNECTION      per-call (a new connection for each call, as the shop's original has it) or keepalive
    CALL_TIMEOUT_S  how long a call may take

Where a secret named gateway-token is mounted, calls carry it as a bearer token.
"""

import os
from pathlib import Path

import requests

from .wire import JSON_HEADERS, Failed, compact

NAME = os.environ.get("FUNCTION_NAME", "")
KEEPALIVE = os.environ.get("CONNECTION", "per-call") == "keepalive"
TIMEOUT_S = float(os.environ.get("CALL_TIMEOUT_S") or 30)
TOKEN_FILE = Path("/var/openfaas/secrets/gateway-token")
MOST_CONNECTIONS = 64


def new_session():
    session = requests.Session()
    session.trust_env = False  # a function's environment names no proxy; looking for one takes time
    session.mount("http://", requests.adapters.HTTPAdapter(pool_maxsize=MOST_CONNECTIONS))
    if TOKEN_FILE.is_file():
        session.headers["Authorization"] = f"Bearer {TOKEN_FILE.read_text().strip()}"
    return session


_kept = new_session() if KEEPALIVE else None


def call(url, value, event, error):
    """The JSON answer of another function; raises Failed with `error` when it gives none."""
    headers = {**JSON_HEADERS, "X-Caller": NAME, "X-Call-Id": event.headers.get("X-Call-Id", "")}
    try:
        if _kept is not None:
            answer = _kept.post(url, data=compact(value), headers=headers, timeout=TIMEOUT_S)
        else:
            with new_session() as session:
                headers["Connection"] = "close"
                answer = session.post(url, data=compact(value), headers=headers, timeout=TIMEOUT_S)
        answer.raise_for_status()
        return answer.json()
    except (requests.RequestException, ValueError) as cause:
        raise Failed(error) from cause
