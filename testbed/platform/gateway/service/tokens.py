"""Bearer tokens on /function: a namespace that has one is invoked with it, or not at all.

The cluster state says which namespaces have a token and when it changes; its SHA-256 is read from the
apiserver. Until it is known, nobody gets in. When a token is replaced, the old one holds until the new
one's digest has been read. Nothing but the Authorization header decides.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import json
import logging
from collections.abc import Sequence

from testbed.model.cluster import ClusterState
from testbed.model.errors import PlatformError
from testbed.platform.gateway.http.answers import Answer
from testbed.platform.gateway.service import error_table
from testbed.platform.gateway.service.apiserver_client import ApiserverClient

FIRST_PAUSE_S = 0.05
LONGEST_PAUSE_S = 2.0

log = logging.getLogger(__name__)


class Tokens:
    """The namespaces with a token. `digests` is empty when there is none."""

    def __init__(self, apiserver: ApiserverClient) -> None:
        self.digests: dict[str, bytes] = {}
        """Namespace -> SHA-256 of its token in hex; b"" while it is not known."""
        self._apiserver = apiserver
        self._revisions: dict[str, int] = {}
        self._reading: asyncio.Task[None] | None = None

    def follow(self, state: ClusterState) -> None:
        """Follow the cluster state; reads the digests again when a token has changed."""
        revisions = {one.namespace: one.token_revision for one in state.deployments.values() if one.token_revision}
        if revisions == self._revisions:
            return
        self._revisions = revisions
        self.digests = {namespace: self.digests.get(namespace, b"") for namespace in revisions}
        if revisions and (self._reading is None or self._reading.done()):
            self._reading = asyncio.get_running_loop().create_task(self._read())

    def refusal(self, namespace: str, lines: Sequence[bytes]) -> Answer | None:
        """What to answer to a call of this namespace with these header lines; None: it may pass."""
        digest = self.digests.get(namespace)
        if digest is None:
            return None
        if not digest:
            return error_table.TOKEN_NOT_KNOWN
        given = [line[14:].strip() for line in lines if line[:14].lower() == b"authorization:"]
        scheme, _, token = given[0].partition(b" ") if len(given) == 1 else (b"", b"", b"")
        presented = hashlib.sha256(token.strip()).hexdigest().encode()
        if hmac.compare_digest(presented, digest) and scheme.lower() == b"bearer":
            return None
        return error_table.token_needed(namespace, presented=scheme.lower() == b"bearer")

    async def _read(self) -> None:
        """Read until what was read is as new as what the cluster state announced."""
        pause_s = FIRST_PAUSE_S
        while True:
            revisions = self._revisions
            try:
                digests = await self._ask()
            except PlatformError as error:
                log.warning("the namespaces' tokens cannot be read: %s", error)
            else:
                self.digests = {name: digests.get(name, b"") for name in self._revisions}
                if revisions == self._revisions and all(self.digests.values()):
                    return
            await asyncio.sleep(pause_s)
            pause_s = min(2 * pause_s, LONGEST_PAUSE_S)

    async def _ask(self) -> dict[str, bytes]:
        status, body = await self._apiserver.call("GET", "/tokens")
        if status != 200:
            raise PlatformError(f"the apiserver answered /tokens with status {status}")
        try:
            return {namespace: digest.encode() for namespace, digest in json.loads(body).items()}
        except (ValueError, AttributeError):
            raise PlatformError("the apiserver's answer to /tokens is no object of digests") from None
