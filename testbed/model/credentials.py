"""Who asks, and the text that proves it: the lab's operator, one of its components, or one namespace. Pure.

A credential names its owner and carries an HMAC-SHA256 of the name under the lab's key. So whoever holds the key
checks it without asking anybody, and nobody else can make one. Which routes answer whom stands in `audiences`.

    operator..0.MAC                 everything that an operator may
    component.scaler.0.MAC          what this component needs
    component.agent.2.MAC           the agent of node 2
    namespace.tenant-a.17.MAC       the namespace tenant-a that came with version 17 of the cluster state
"""

from __future__ import annotations

import base64
import hmac
import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from pathlib import Path

from testbed.model.cluster import Deployment
from testbed.model.errors import EnvironmentProblem

KEY_BYTES = 32
LAB_KEY = "lab-key"
"""The name of the key's file, among the files of credentials."""
CREDENTIAL_VARIABLE = "TESTBED_CREDENTIAL"
"""The environment variable that names the file with a component's own credential."""
BASIC_AUTH_FILES = ("basic-auth-user", "basic-auth-password")
"""Where OpenFaaS's gateways read the operator's name and password, in a folder of secrets."""
_NAME = re.compile(r"[-a-z0-9]*")


class Kind(str, Enum):
    """What sort of owner a credential has."""

    OPERATOR = "operator"
    COMPONENT = "component"
    NAMESPACE = "namespace"


@dataclass(frozen=True)
class Caller:
    """Whose credential a request carries.

    `number`: of an agent its node; of a namespace the version of the cluster state with which it came, so that a
    later one of its name is somebody else.
    """

    kind: Kind
    name: str = ""
    number: int = 0

    def __str__(self) -> str:
        if self.kind is Kind.OPERATOR:
            return "the operator"
        if self.kind is Kind.NAMESPACE:
            return f"namespace {self.name}"
        return f"the {self.name} of node{self.number}" if self.number else f"the {self.name}"

    @property
    def own_namespace(self) -> str | None:
        """The one namespace that this caller may speak of; None: it is not bound to one."""
        return self.name if self.kind is Kind.NAMESPACE else None


OPERATOR = Caller(Kind.OPERATOR)


def component(name: str, node: int = 0) -> Caller:
    return Caller(Kind.COMPONENT, name, node)


def namespace(deployment: Deployment) -> Caller:
    return Caller(Kind.NAMESPACE, deployment.namespace, deployment.born)


def credential(key: bytes, caller: Caller) -> str:
    """The text that proves to be this caller; it fits into an Authorization header of scheme Bearer."""
    if not _NAME.fullmatch(caller.name):
        raise ValueError(f"{caller.name!r} is no name of a component or namespace")
    claim = f"{caller.kind.value}.{caller.name}.{caller.number}"
    return f"{claim}.{_mac(key, claim.encode())}"


def verify(key: bytes, text: str) -> Caller | None:
    """Whose credential this text is; None when it is nobody's."""
    claim, _, given = text.rpartition(".")
    if not _same(given, _mac(key, _bytes(claim))):
        return None
    kind, name, number = claim.split(".")  # made by `credential`: nobody else knows the key
    return Caller(Kind(kind), name, int(number))


def _mac(key: bytes, claim: bytes) -> str:
    return hmac.digest(key, claim, "sha256").hex()


def _same(given: str, wanted: str) -> bool:
    """Takes as long wherever they differ."""
    return hmac.compare_digest(_bytes(given), _bytes(wanted))


def _bytes(text: str) -> bytes:
    return text.encode(errors="replace")  # a header may hold bytes that are no text


def file_of(state_folder: Path, owner: str) -> Path:
    """Where a lab keeps the credential of "operator" or a component; only root may read it."""
    return state_folder / "credentials" / owner


def bearer(text: str) -> str:
    """The value of the Authorization header that carries a credential."""
    return f"Bearer {text}"


def basic(user: str, password: str) -> str:
    """The same for OpenFaaS's basic auth."""
    return f"Basic {base64.b64encode(f'{user}:{password}'.encode()).decode()}"


@dataclass(frozen=True)
class Keyring:
    """What a server checks credentials with: the lab's key, and for OpenFaaS's own clients the operator's `basic_auth`.

    That is the whole value of the header; "" accepts none. EnvironmentProblem for a key that anybody could guess.
    """

    key: bytes
    basic_auth: str = ""

    def __post_init__(self) -> None:
        if len(self.key) != KEY_BYTES:
            raise EnvironmentProblem(
                f"the lab's key has {len(self.key)} bytes instead of {KEY_BYTES}; start the lab anew"
            )

    def caller(self, authorization: str | None, deployments: Mapping[str, Deployment]) -> Caller | None:
        """Who sent this Authorization header, of the namespaces there are now; None: nobody that is known."""
        scheme, _, text = (authorization or "").partition(" ")
        if scheme.lower() == "basic":
            wanted = self.basic_auth.partition(" ")[2]
            return OPERATOR if wanted and _same(text.strip(), wanted) else None
        if scheme.lower() != "bearer":
            return None
        caller = verify(self.key, text.strip())
        if caller is not None and caller.kind is Kind.NAMESPACE:
            deployment = deployments.get(caller.name)
            return caller if deployment is not None and 0 < deployment.born == caller.number else None
        return caller
