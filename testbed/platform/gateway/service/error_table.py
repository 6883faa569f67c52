"""What the gateway answers where a request goes nowhere: OpenFaaS's statuses, headers and texts. Pure.

They are gateway 0.23.0's with scale_from_zero=true for unknown functions, faas-provider's proxy's for the rest,
text by text. What any proxy answers (no HTTP, no answer from the upstream) is in `http.answers`.
"""

from __future__ import annotations

from testbed.platform.gateway.http.answers import INTERNAL, TEXT, Answer

NOT_FOUND = Answer(404, b"404 page not found\n", (TEXT, b"X-Content-Type-Options: nosniff"))
METHOD_NOT_ALLOWED = Answer(405)
UNAUTHORIZED = Answer(401, b"invalid credentials", (b'Www-Authenticate: Basic realm="Restricted"', TEXT))
BAD_ALERT = Answer(400, b"Unable to parse alert, bad format.", (TEXT,))
UNREADABLE_LIST = Answer(500, b"Unable to parse list of functions from provider\n", (TEXT,))
TOKEN_NOT_KNOWN = Answer(503, b"the namespace's token is not known yet; try again\n", (TEXT, b"Retry-After: 1"))


def token_needed(namespace: str, *, presented: bool) -> Answer:
    """The call carries no bearer token (or, when one was presented, not this namespace's)."""
    error = ', error="invalid_token"' if presented else ""
    challenge = f'WWW-Authenticate: Bearer realm="{namespace}"{error}'
    text = f"calls of namespace {namespace} need its token: Authorization: Bearer TOKEN\n"
    return Answer(401, text.encode(), (challenge.encode(), TEXT))


def unknown_function(name: str, namespace: str) -> Answer:
    """The function was never deployed here, or nobody may know of it here (see `functions`)."""
    text = (
        f"error finding function {name}.{namespace}: server returned non-200 status code (404) "
        f"for function, {name}, body: "
    )
    return Answer(404, text.encode(), (TEXT,))


def no_endpoints(name: bytes) -> Answer:
    """The function has no instance that is ready."""
    return Answer(503, b"No endpoints available for: %b." % name, (INTERNAL, TEXT))


def cannot_scale(name: str, namespace: str, problem: str) -> Answer:
    """The apiserver did not take the request for a first instance."""
    text = f"error finding function {name}.{namespace}: unable to scale function [{name}], err: {problem}"
    return Answer(500, text.encode(), (TEXT,))


def instead_of_log(status: int) -> Answer | None:
    """What OpenFaaS's log proxy makes of the provider's status (0: it did not answer); None: pass it on."""
    if status == 200:
        return None
    if status in (404, 501):
        return Answer(501)
    text = f"unknown log request error ({status})\n" if status else "log request failed\n"
    return Answer(500, text.encode(), (TEXT,))
